"""glTF animations: channels and samplers become tracks, those with the same keys bundled into one."""

import re
from collections import defaultdict

import numpy as np
import pygltflib
from jaxtyping import Float64

from genrender.scene.animation import Interpolation, Property, Track
from genrender.scene.formats.gltf.accessor import SHAPES, read_floats
from genrender.scene.formats.gltf.file import GltfFile, is_index
from genrender.scene.formats.gltf.mesh import Budget

OUTPUT_TYPES: dict[Property, str] = {
    "translation": "VEC3",
    "rotation": "VEC4",
    "scale": "VEC3",
    "weights": "SCALAR",
    "visible": "SCALAR",
    "yfov": "SCALAR",
    "ymag": "SCALAR",
    "znear": "SCALAR",
    "zfar": "SCALAR",
}
NODE_PATHS: tuple[Property, ...] = ("translation", "rotation", "scale", "weights")
# What KHR_animation_pointer may point at, as far as it is read.
POINTERS = re.compile(
    r"/(?P<kind>nodes)/(?P<index>\d{1,9})/(?P<target>translation|rotation|scale|weights)"
    r"|/(?P<hiding>nodes)/(?P<hidden>\d{1,9})/extensions/KHR_node_visibility/visible"
    r"|/(?P<lens>cameras)/(?P<camera>\d{1,9})/(?:perspective/(?P<p>yfov|znear|zfar)|orthographic/(?P<o>ymag|znear|zfar))"
)
# Pointers to other things there change the picture and are worth a word; materials and lights are not.
SEEN_POINTERS = ("/nodes/", "/meshes/", "/skins/", "/cameras/")
INTERPOLATIONS: tuple[Interpolation, ...] = ("STEP", "LINEAR", "CUBICSPLINE")


def read_animation(
    file: GltfFile, index: int, weight_counts: dict[int, int], budget: Budget
) -> tuple[str, tuple[Track, ...]]:
    """Name and tracks of an animation.

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
        path, nodes = _target(file, where, channel)
        if path == "weights":
            nodes = [node for node in nodes if weight_counts.get(node)]
        if path is None or not nodes:
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
        width = weight_counts[nodes[0]] if path == "weights" else SHAPES[OUTPUT_TYPES[path]][1]
        n_values = n_keys * (3 if interpolation == "CUBICSPLINE" else 1)
        budget.spend("animation values", n_values * width)
        n_elements = n_values * (width if path == "weights" else 1)
        values = read_floats(file, sampler.output, (OUTPUT_TYPES[path],), n_elements)
        if not np.isfinite(values).all():
            raise file.error(f"{where} has values that are no finite numbers; export it again")
        # Widths of morph weights differ between nodes, so their channels stay apart.
        key = (repr(sampler.input), interpolation, path, nodes[0] if path == "weights" else -1)
        values = values.reshape(n_keys, -1, width).astype(np.float64)
        bundles[key] += [(node, values) for node in nodes]
    tracks = tuple(_bundle(times[key[0]], key[1], key[2], channels) for key, channels in bundles.items())
    return str(animation.name or f"animation_{index}"), tracks


def visibility_targets(file: GltfFile) -> set[int]:
    """Nodes that some animation shows or hides."""
    found: set[int] = set()
    for animation in file.json.animations or []:
        for channel in animation.channels or []:
            match = POINTERS.fullmatch(_pointer(channel) or "")
            if match is not None and match["hiding"]:
                found.add(int(match["hidden"]))
    return {index for index in found if index < len(file.json.nodes or [])}


def _target(
    file: GltfFile, where: str, channel: pygltflib.AnimationChannel
) -> tuple[Property | None, list[int]]:
    """What a channel moves of which nodes; nothing for what is not read."""
    pointer = _pointer(channel)
    if pointer is None:
        node, path = getattr(channel.target, "node", None), getattr(channel.target, "path", None)
        if node is None or path not in NODE_PATHS:
            return None, []  # extensions animate other things than nodes
        file.item("nodes", node)
        return path, [node]
    match = POINTERS.fullmatch(pointer)
    if match is None:
        if pointer.startswith(SEEN_POINTERS):
            file.warnings.append(f"{where} moves {pointer[:80]}, which is not read: it stands still")
        return None, []
    kind, index = (
        ("cameras", match["camera"]) if match["lens"] else ("nodes", match["index"] or match["hidden"])
    )
    if int(index) >= len(getattr(file.json, kind) or []):
        file.warnings.append(f"{where} moves {pointer}, which does not exist: that is left out")
        return None, []
    if kind == "cameras":
        carriers = [number for number, node in enumerate(file.json.nodes or []) if node.camera == int(index)]
        return match["p"] or match["o"], carriers  # pyright: ignore
    return "visible" if match["hiding"] else match["target"], [int(index)]  # pyright: ignore


def _pointer(channel: pygltflib.AnimationChannel) -> str | None:
    """The JSON pointer of a channel that has one instead of a node."""
    extensions = getattr(channel.target, "extensions", None)
    values = extensions.get("KHR_animation_pointer") if isinstance(extensions, dict) else None
    pointer = values.get("pointer") if isinstance(values, dict) else None
    is_one = getattr(channel.target, "path", None) == "pointer" and isinstance(pointer, str)
    return pointer if is_one else None


def _read_times(file: GltfFile, where: str, index: object, budget: Budget) -> Float64[np.ndarray, "K"]:
    times = read_floats(file, index, ("SCALAR",))[:, 0]
    budget.spend("animation keys", len(times))
    # Before the change of type, which warns of numbers that are none.
    if not len(times) or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise file.error(f"{where} has key times that do not rise or are no finite numbers; export it again")
    return times.astype(np.float64)


def _bundle(
    times_s: Float64[np.ndarray, "K"], interpolation: Interpolation, target: Property, channels: list
) -> Track:
    """Stacks channels; of a node that is named twice the last channel counts, as later writes win."""
    by_node = dict(channels)
    values = np.stack(list(by_node.values()), axis=2)  # K, 1 or 3, C, width
    tangents = (values[:, 0], values[:, 2]) if interpolation == "CUBICSPLINE" else None
    middle = values[:, 1] if interpolation == "CUBICSPLINE" else values[:, 0]
    return Track(target, interpolation, np.array(list(by_node), np.int64), times_s, middle, tangents)
