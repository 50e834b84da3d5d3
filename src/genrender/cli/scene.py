"""What several commands do with a scene before they render it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genrender.cli.console import note, warn
from genrender.cli.options import Gbuffers, Inspect, Preview, Render
from genrender.cli.words import parse_size
from genrender.errors import ConfigError
from genrender.scene.moments import DEFAULT_ASPECT, rate_as_text, shape_as_text
from genrender.scene.objects import ObjectRule
from genrender.scene.scene import Scene
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.clip import Shot

# Shapes that differ by less are the same: sides are whole numbers of pixels.
SAME_SHAPE = 0.02


def object_rule(options: Render | Gbuffers | Preview | Inspect) -> ObjectRule:
    """What --objects, --merge and --ignore ask for.

    Raises:
        ConfigError: --merge is not of the form PATTERN=NAME, or the name is a pattern.
    """
    merge = []
    for text in options.merge:
        pattern, _, name = (word.strip() for word in text.partition("="))
        if not pattern or not name:
            raise ConfigError(f'--merge {text!r}: expected PATTERN=NAME, for instance "wheel*=Wheels"')
        if any(sign in name for sign in "*?["):
            raise ConfigError(
                f"--merge {text!r}: {name!r} is a pattern, expected the name of the object that they become"
            )
        merge.append((pattern, name))
    return ObjectRule(options.objects, tuple(merge), options.ignore)


def picture_size(
    text: str | None, scene: Scene, camera: str | None, native: tuple[int, int], factor: int
) -> tuple[int, int]:
    """Width and height of the pictures. Where a camera of the file is used, its shape decides.

    Args:
        text: what --size says: WIDTHxHEIGHT is taken as said; one number is the longer side of a camera's
            shape, else both sides; None: as many pixels as `native` has.
        camera: what --camera says.
        native: width and height without a camera's shape.
        factor: what sides that are chosen here are multiples of.

    Raises:
        ConfigError: `text` is no size.
        SceneError: the file has no such camera.
    """
    width, height = native if text is None else parse_size(text)
    if camera is None or not camera.startswith("scene:"):
        return width, height
    seen = scene.find_camera(camera.removeprefix("scene:"))
    aspect = seen.aspect or DEFAULT_ASPECT
    shape = shape_as_text(aspect)
    if text is not None and "x" in text.lower():
        if seen.aspect is not None and abs(np.log(width / height / aspect)) > SAME_SHAPE:
            what = "cut off" if width / height < aspect else "beyond what it framed"
            note(
                f"camera {seen.name} was made for {shape} pictures: in {width}x{height} the sides are {what}"
            )
        return width, height
    if text is None:
        height = max(1, round(np.sqrt(width * height / aspect) / factor)) * factor
        width = max(1, round(height * aspect / factor)) * factor
    else:
        longer, shorter = width, max(1, round(width / max(aspect, 1 / aspect) / factor)) * factor
        width, height = (longer, shorter) if aspect >= 1 else (shorter, longer)
    told = f"{seen.name} is {shape}" if seen.aspect else f"{seen.name} tells no shape, {shape} is taken"
    note(f"pictures of {width}x{height}: camera {told}")
    return width, height


def with_all_uvs(shot: Shot) -> Shot:
    """The shot with texture coordinates on every object; tells what is new, why, and what is left out."""
    note_left_out(shot.scene)
    note_clip(shot)
    if playing := shot.scene.describe_animation(shot.animation):
        note(playing)
    unwrapped = unwrap(shot.scene, shot.config.uv)
    lacking = {index: reason for index, reason in unwrapped.made.items() if reason.endswith("has none")}
    if lacking:
        note(f"made texture coordinates for what has none: {names(shot.scene, list(lacking))}")
    if remade := {index: reason for index, reason in unwrapped.made.items() if index not in lacking}:
        note(f"made new texture coordinates: {by_reason(shot.scene, remade)}")
    if unwrapped.kept:
        warn(f"texture coordinates kept with faults: {by_reason(shot.scene, unwrapped.kept)}")
    return replace(shot, scene=unwrapped.scene)


def note_clip(shot: Shot) -> None:
    """Tells which moments the clip shows, and at what rate."""
    own = None if shot.animation is None else shot.scene.animations[shot.animation]
    rate = rate_as_text(shot.fps)
    if own is None:
        note(f"{shot.n_frames} frames at {rate} a second; nothing is animated")
        return
    numbered_at = own.fps or shot.fps
    first, last = (
        f"{round((time_s + own.file_s) * numbered_at, 2):g}" for time_s in (shot.times_s[0], shot.times_s[-1])
    )
    told = f", of which {rate_as_text(own.fps)} make a second" if own.fps and own.fps != shot.fps else ""
    note(f"{shot.n_frames} frames at {rate} a second, from frame {first} of the file to frame {last}{told}")


def note_left_out(scene: Scene) -> None:
    """Tells what of the file is not shown: its warnings, and how many triangles are left out."""
    for text in scene.warnings:
        warn(f"{scene.path.name}: {text}")
    if n := scene.n_dropped:
        note(
            f"left out {n:,} triangle{'s' * (n > 1)} of {scene.path.name}: without an area or finite corners"
        )


def by_reason(scene: Scene, reasons: Mapping[int, str]) -> str:
    """Parts of a scene, by their index, with the reason that they share: "Hat, Coat (has none)"."""
    indices: dict[str, list[int]] = {}
    for index, reason in reasons.items():
        indices.setdefault(reason, []).append(index)
    return ", ".join(f"{names(scene, of_reason)} ({reason})" for reason, of_reason in indices.items())


def names(scene: Scene, indices: Sequence[int]) -> str:
    """The names of some parts of a scene, three at most."""
    found = list(dict.fromkeys(scene.parts[index].name for index in indices))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more
