"""What several commands do with a scene before they render it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from genrender.cli.console import note, warn
from genrender.render import Shot
from genrender.scene.scene import Scene
from genrender.scene.unwrap import unwrap


def with_all_uvs(shot: Shot) -> Shot:
    """The shot with texture coordinates on every object; tells what is new, why, and what is left out."""
    note_dropped(shot.scene)
    unwrapped = unwrap(shot.scene, shot.uv)
    lacking = {index: reason for index, reason in unwrapped.made.items() if reason.endswith("has none")}
    if lacking:
        note(f"made texture coordinates for what has none: {names(shot.scene, list(lacking))}")
    if remade := {index: reason for index, reason in unwrapped.made.items() if index not in lacking}:
        note(f"made new texture coordinates: {by_reason(shot.scene, remade)}")
    if unwrapped.kept:
        warn(f"texture coordinates kept with faults: {by_reason(shot.scene, unwrapped.kept)}")
    return replace(shot, scene=unwrapped.scene)


def note_dropped(scene: Scene) -> None:
    """Tells how many triangles of the file are left out."""
    if n := scene.n_dropped:
        note(
            f"left out {n:,} triangle{'s' * (n > 1)} of {scene.path.name}: without an area or finite corners"
        )


def by_reason(scene: Scene, reasons: Mapping[int, str]) -> str:
    """Objects, by their index, with the reason that they share: "Hat, Coat (has none), Shoe (tiled)"."""
    indices: dict[str, list[int]] = {}
    for index, reason in reasons.items():
        indices.setdefault(reason, []).append(index)
    return ", ".join(f"{names(scene, of_reason)} ({reason})" for reason, of_reason in indices.items())


def names(scene: Scene, indices: Sequence[int]) -> str:
    """The names of some objects, three at most."""
    more = f" and {len(indices) - 3} more" if len(indices) > 3 else ""
    return ", ".join(scene.objects[index].name for index in indices[:3]) + more
