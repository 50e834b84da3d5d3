"""Objects of a file become one `Scene`, for formats that place and move their vertices by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from genrender.errors import SceneError
from genrender.scene.formats.sound_triangles import is_sound
from genrender.scene.motion import MAX_COORDINATE, Motion, SceneCamera, WithoutNan, is_placeable
from genrender.scene.names import UniqueNames
from genrender.scene.scene import Animation, Scene, SceneObject
from genrender.scene.uv.quality import is_usable

# More than this fits no purpose of this project, and nothing may fill the memory.
MAX_ELEMENTS = 2**24


@dataclass(frozen=True)
class ObjectMesh:
    """What one object adds to a scene.

    Attributes:
        n_verts: vertices that the scene's `Motion` places for it.
        tris: indices into these.
        uvs: V downwards; None where there are none. A triangle with one that is no finite number has none.
        mesh: as in `SceneObject`.
        materials: names of materials; the same name is the same material throughout the scene.
        material: per triangle an index into `materials`, -1 for none; None where the format tells none.
    """

    name: str
    n_verts: int
    tris: Int[np.ndarray, "T 3"]
    uvs: Float[np.ndarray, "T 3 2"] | None
    mesh: int = -1
    materials: tuple[str, ...] = ()
    material: Int[np.ndarray, "T"] | None = None


def assemble(
    path: Path,
    objects: Sequence[ObjectMesh],
    motion: Motion,
    animations: tuple[Animation, ...] = (),
    cameras: tuple[SceneCamera, ...] = (),
    warnings: tuple[str, ...] = (),
) -> Scene:
    """The scene of these objects, whose vertices `motion` gives in the same order. `warnings`: as `Scene`'s.

    Raises:
        SceneError: there are no triangles or too many, or vertices that are not there or at infinity.
    """
    objects = [thing for thing in objects if len(thing.tris) or thing.n_verts]
    for what, n in (
        ("triangles", sum(len(thing.tris) for thing in objects)),
        ("vertices", sum(thing.n_verts for thing in objects)),
    ):
        if n > MAX_ELEMENTS:
            raise SceneError(
                f"{path.name}: has {n:,} {what}, expected at most {MAX_ELEMENTS:,}; decimate it or split it"
            )
    if not any(len(thing.tris) for thing in objects):
        raise SceneError(f"{path.name}: holds no triangles; expected at least one mesh")
    unique = UniqueNames()
    shown, tris, uvs, has_uvs, material = [], [], [], [], []
    materials: dict[str, int] = {}
    first = n_dropped = 0
    mesh_verts = motion.mesh_verts()
    broken = np.flatnonzero(~np.isfinite(mesh_verts).all(axis=1))
    if len(broken):
        motion = WithoutNan(motion, broken)
    for thing in objects:
        if thing.tris.size and not 0 <= thing.tris.min() <= thing.tris.max() < thing.n_verts:
            raise SceneError(
                f"{path.name}: object {thing.name!r} has a face with vertex {thing.tris.max()}, but only "
                f"{thing.n_verts} vertices; export it again"
            )
        sound = is_sound(thing.tris, mesh_verts[first : first + thing.n_verts], is_rigid=not animations)
        n_tris = int(np.count_nonzero(sound))
        n_dropped += len(sound) - n_tris
        of_object, is_there = _uvs(thing, sound)
        tris.append((thing.tris[sound] + first).astype(np.int32))
        uvs.append(of_object)
        has_uvs.append(is_there)
        first += thing.n_verts
        material.append(_numbered(thing, materials)[sound])
        if n_tris:
            shown.append(SceneObject(unique(thing.name), n_tris, bool(is_there.all()), thing.mesh))
    if not shown:
        raise SceneError(
            f"{path.name}: holds no triangles but {n_dropped} without an area or finite corners; "
            "export it again"
        )
    rest_verts = motion.evaluate(0.0, None)
    if not is_placeable(rest_verts):
        raise SceneError(
            f"{path.name}: has vertices that are no numbers or beyond {MAX_COORDINATE:g} m; export it again"
        )
    rest_verts.flags.writeable = False
    return Scene(
        path=path,
        objects=tuple(shown),
        animations=animations,
        cameras=cameras,
        tris=np.concatenate(tris),
        uvs=np.concatenate(uvs),
        object_id=np.repeat(
            np.arange(1, len(shown) + 1, dtype=np.int32), [scene_object.n_tris for scene_object in shown]
        ),
        has_uvs=np.concatenate(has_uvs),
        rest_verts=rest_verts,
        motion=motion,
        n_dropped=n_dropped,
        materials=tuple(materials),
        material=np.concatenate(material),
        warnings=warnings,
    )


def _uvs(
    thing: ObjectMesh, sound: Bool[np.ndarray, "A"]
) -> tuple[Float32[np.ndarray, "T 3 2"], Bool[np.ndarray, "T"]]:
    """Coordinates of the triangles that are kept, and which of them have any; the others have zeros."""
    n_tris = int(np.count_nonzero(sound))
    if thing.uvs is None:
        return np.zeros((n_tris, 3, 2), np.float32), np.zeros(n_tris, bool)
    with np.errstate(over="ignore"):  # infinite coordinates count as missing
        uvs = thing.uvs[sound].astype(np.float32)
    has_uvs = is_usable(uvs)
    uvs[~has_uvs] = 0
    return uvs, has_uvs


def _numbered(thing: ObjectMesh, materials: dict[str, int]) -> Int32[np.ndarray, "T"]:
    """The material of every triangle, counted through the scene; new names go into `materials`."""
    if thing.material is None:
        return np.full(len(thing.tris), -1, np.int32)
    numbers = [materials.setdefault(name, len(materials)) for name in thing.materials]
    return np.array([*numbers, -1], np.int32)[thing.material]
