"""glTF animations: channels and samplers become tracks, those with the same keys bundled into one."""

from collections import defaultdict

import numpy as np
import pygltflib
from jaxtyping import Float64

from genrender.scene.animation import Interpolation, Property, Track
from genrender.scene.gltf_accessor import read_floats
from genrender.scene.gltf_file import GltfFile, is_index
from genrender.scene.gltf_mesh import Budget

OUTPUT_TYPES: dict[Property, str] = {
    "translation": "VEC3",
    "rotation": "VEC4",
    "scale": "VEC3",
    "weights": "SCALAR",
}
INTERPOLATIONS: tuple[Interpolation, ...] = ("STEP", "LINEAR", "CUBICSPLINE")


def read_animation(
    file: GltfFile, index: int, weight_counts: dict[int, int], budget: Budget
) -> tuple[str, float, tuple[Track, ...]]:
    """Name, duration in seconds and tracks of an animation.

    Args:
        weight_counts: number of morph targets of every node that shows a mesh.

    Raises:
        SceneError: a channel or sampler is broken.
    """
    animation: pygltflib.Animation = file.item("animations", index)
    where = f"animation {index}" + (f" ({animation.name})" if animation.name else "")
    times: dict[str, np.ndarray] = {}
    bundles = defaultdict(list)
    for channel in animation.channels or []:
        target = getattr(channel, "target", None)
        node, path = getattr(target, "node", None), getattr(target, "path", None)
        if node is None or not isinstance(path, str) or path not in OUTPUT_TYPES:
            continue  # extensions animate other things than nodes
        file.item("nodes", node)
        if path == "weights" and not weight_counts.get(node):
            continue
        if not is_index(channel.sampler, len(animation.samplers or [])):
            raise file.error(
                f"{where} refers to sampler {channel.sampler!r}, which does not exist; export it again"
            )
        sampler = animation.samplers[channel.sampler]
        interpolation = getattr(sampler, "interpolation", None) or "LINEAR"
        if interpolation not in INTERPOLATIONS:
            raise file.error(
                f"{where} has the interpolation {interpolation!r}, expected {', '.join(INTERPOLATIONS)}"
            )
        if repr(sampler.input) not in times:
            times[repr(sampler.input)] = _read_times(file, where, sampler.input, budget)
        n_keys = len(times[repr(sampler.input)])
        width = weight_counts[node] if path == "weights" else int(OUTPUT_TYPES[path][-1])
        n_values = n_keys * (3 if interpolation == "CUBICSPLINE" else 1)
        budget.spend("animation values", n_values * width)
        n_elements = n_values * (width if path == "weights" else 1)
        values = read_floats(file, sampler.output, (OUTPUT_TYPES[path],), n_elements)
        if not np.isfinite(values).all():
            raise file.error(f"{where} has values that are no finite numbers; export it again")
        # Widths of morph weights differ between nodes, so their channels stay apart.
        key = (repr(sampler.input), interpolation, path, node if path == "weights" else -1)
        bundles[key].append((node, values.reshape(n_keys, -1, width).astype(np.float64)))
    tracks = tuple(_bundle(times[key[0]], key[1], key[2], channels) for key, channels in bundles.items())
    duration_s = max((float(track.times_s[-1]) for track in tracks), default=0.0)
    return str(animation.name or f"animation_{index}"), duration_s, tracks


def _read_times(file: GltfFile, where: str, index: object, budget: Budget) -> Float64[np.ndarray, "K"]:
    times = read_floats(file, index, ("SCALAR",))[:, 0].astype(np.float64)
    budget.spend("animation keys", len(times))
    if not len(times) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise file.error(f"{where} has key times that do not rise or are no finite numbers; export it again")
    return times


def _bundle(
    times_s: Float64[np.ndarray, "K"], interpolation: Interpolation, target: Property, channels: list
) -> Track:
    """Stacks channels; of a node that is named twice the last channel counts, as later writes win."""
    by_node = dict(channels)
    values = np.stack(list(by_node.values()), axis=2)  # K, 1 or 3, C, width
    tangents = (values[:, 0], values[:, 2]) if interpolation == "CUBICSPLINE" else None
    middle = values[:, 1] if interpolation == "CUBICSPLINE" else values[:, 0]
    return Track(target, interpolation, np.array(list(by_node), np.int64), times_s, middle, tangents)
