"""A scene: triangles with fixed topology whose vertices depend on the time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt64

from genrender.errors import SceneError
from genrender.scene.backdrop_ids import BACKDROP_NAMES, DOME_ID, GROUND_ID
from genrender.scene.camera import Camera
from genrender.scene.motion import MAX_COORDINATE, Looped, Motion, SceneCamera, is_placeable
from genrender.scene.names import has_wildcards, is_called, plain_name, texture_keys
from genrender.scene.uv.charts import atlas_ids

# Poses whose vertices differ by less than this part of the scene's size are one.
SAME_POSE = 1e-4

# What asks for every animation that can play together with the others.
ALL_ANIMATIONS = "all"


@dataclass(frozen=True)
class SceneObject:
    """One mesh as one node shows it, or what `with_objects` makes of these.

    Its object_id is its index in the scene plus one, or a backdrop's.

    Attributes:
        has_uvs: every triangle has texture coordinates.
        mesh: objects with the same number show the same mesh (with the same UVs, in the same triangle order).
        mesh_name: what the file calls that mesh; empty where it has no name of its own.
    """

    name: str
    n_tris: int
    has_uvs: bool
    mesh: int = -1
    mesh_name: str = ""


@dataclass(frozen=True)
class Animation:
    """A named clip of the file. Beyond its ends its first and last pose hold, unless it is looped.

    Times are those of the scene's clock, see `Scene.evaluate`.

    Attributes:
        duration_s: from its first key to its last.
        together: names of the file's animations that play in this one at the same time; empty: it is one of
            the file's own.
        left: names of those that could not join, since they move what others of `together` move.
        start_s: time of its first key.
        fps: frames per second that the file tells, or that its keys lie on; None: unknown.
        file_s: the file's own time when the clock shows 0: its frame n is shown at n / fps - file_s.
    """

    name: str
    duration_s: float
    together: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    start_s: float = 0.0
    fps: float | None = None
    file_s: float = 0.0

    @property
    def end_s(self) -> float:
        """Time of its last key."""
        return self.start_s + self.duration_s


@dataclass(frozen=True, eq=False)
class Scene:
    """Triangles, their texture coordinates and objects, and what moves them.

    Attributes:
        tris: vertex indices.
        uvs: texture coordinates per triangle corner, as in the file (V downwards, maybe outside [0, 1]);
            zeros where there are none.
        has_uvs: per triangle, whether `uvs` came from somewhere.
        object_id: per triangle, from 1; `GROUND_ID` and `DOME_ID` are backdrops.
        rest_verts: world-space vertices of the rest pose.
        materials: names of materials; equal names are one material.
        material: per triangle an index into `materials`, -1 for none.
        n_dropped: triangles of the file that were left out, since they have no area or no finite corners.
        joined: what objects were joined from, see `parts`; empty where none were.
        warnings: what else of the file is not shown, or not as it stands there: a line each, for people.
        allowed_folders: folders beside its own that its files may lie in, see `Folders`.
    """

    path: Path
    objects: tuple[SceneObject, ...]
    animations: tuple[Animation, ...]
    cameras: tuple[SceneCamera, ...]
    tris: Int32[np.ndarray, "T 3"]
    uvs: Float32[np.ndarray, "T 3 2"]
    object_id: Int32[np.ndarray, "T"]
    has_uvs: Bool[np.ndarray, "T"]
    rest_verts: Float64[np.ndarray, "V 3"]
    motion: Motion
    materials: tuple[str, ...]
    material: Int32[np.ndarray, "T"]
    n_dropped: int = 0
    joined: tuple[SceneObject, ...] = ()
    warnings: tuple[str, ...] = ()
    allowed_folders: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @property
    def parts(self) -> tuple[SceneObject, ...]:
        """What has textures of its own, in the order of the triangles: the objects, or what they are joined
        from. Parts bear the names of their objects."""
        return self.joined or self.objects

    @property
    def is_backdrop(self) -> Bool[np.ndarray, "T"]:
        """Which triangles are ground or dome and not the scene's own."""
        return np.isin(self.object_id, (GROUND_ID, DOME_ID))

    @cached_property
    def atlas_id(self) -> Int32[np.ndarray, "T"]:
        """The texture that each triangle's coordinates point into, see `atlas_ids`. Parts share none."""
        part_id = np.repeat(
            np.arange(1, len(self.parts) + 1, dtype=np.int32), [part.n_tris for part in self.parts]
        )
        part_id = np.where(self.is_backdrop, self.object_id, part_id)
        return atlas_ids(self.tris, self.uvs, part_id, self.rest_verts, GROUND_ID)

    @cached_property
    def texture_keys(self) -> UInt64[np.ndarray, "n_ids"]:
        """What the noise of each texture is drawn by."""
        return texture_keys(atlas_ids_by_name(self))

    @cached_property
    def object_names(self) -> dict[int, str]:
        """What the objects are called, by id; a backdrop's names are those of `BACKDROP_NAMES`."""
        ids = np.unique(self.object_id).tolist()
        return {i: BACKDROP_NAMES.get(i) or self.objects[i - 1].name for i in ids}

    def evaluate(self, time_s: float, animation: int | None = None) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices at a time; read-only use, the rest pose is shared.

        Args:
            time_s: seconds on the scene's clock: the file's own times in glTF; in other formats 0 is the
                first time code, sample or file. Beyond the animation's ends the nearest pose holds.
            animation: index into `animations`; None gives the rest pose.

        Raises:
            SceneError: the animation sends a vertex to infinity.
        """
        if animation is None:
            return self.rest_verts
        verts = self.motion.evaluate(time_s, animation)
        if not is_placeable(verts):
            raise SceneError(
                f"{self.path.name}: animation {self.animations[animation].name!r} gives vertices that "
                f"are no numbers or beyond {MAX_COORDINATE:g} m at {time_s:g} s; export it again"
            )
        return verts

    def looped(self, animation: int | None) -> "Scene":
        """The same scene, in which this animation begins again after its end."""
        if animation is None:
            return self
        return replace(
            self, motion=Looped(self.motion, self.animations[animation].start_s, self.loop_s(animation))
        )

    def loop_s(self, animation: int) -> float:
        """The seconds after which an animation begins again.

        Where its last pose is its first one again, it is not shown twice. Else the last one lasts a frame,
        where there are frames.
        """
        own = self.animations[animation]
        if own.fps is None or self._is_closed(own, animation):
            return own.duration_s
        return own.duration_s + 1 / own.fps

    def _is_closed(self, own: Animation, animation: int) -> bool:
        if own.duration_s == 0:
            return False
        first, last = (self.evaluate(time_s, animation) for time_s in (own.start_s, own.end_s))
        size = float(np.ptp(first, axis=0).max())
        if np.abs(first - last).max() > SAME_POSE * size:
            return False
        cameras = [
            [self.motion.camera(camera, time_s, animation) for time_s in (own.start_s, own.end_s)]
            for camera in self.cameras
        ]
        moved = [
            np.abs(before.world_from_camera - after.world_from_camera).max() for before, after in cameras
        ]
        return max(moved, default=0.0) <= SAME_POSE * max(size, 1.0)

    def find_animation(self, name_or_index: str | None) -> int | None:
        """Index of an animation by name or, failing that, by number.

        Args:
            name_or_index: a name that differs in case only will do if it is the only one; `all` and None ask
                for all that can play together, where the file has no such animation for the first that moves
                something.

        Returns:
            The index, or None if none was named and the file has none.

        Raises:
            SceneError: there is no such animation, or there are several.
        """
        names = [animation.name for animation in self.animations]
        is_open = name_or_index is None or (
            name_or_index.lower() == ALL_ANIMATIONS and name_or_index not in names
        )
        if is_open and (names or name_or_index is None):
            together = [index for index, animation in enumerate(self.animations) if animation.together]
            moving = [index for index, animation in enumerate(self.animations) if animation.duration_s > 0]
            return next(iter((*together, *moving)), 0 if names else None)
        return _find(self.path, "animation", names, str(name_or_index))

    def describe_animation(self, index: int | None) -> str | None:
        """What plays, and what else could, in a sentence; None where there is no choice."""
        own = [animation.name for animation in self.animations if not animation.together]
        if index is None or len(own) < 2:
            return None
        playing = self.animations[index]
        if playing.together:
            left = (
                f"; left out, since they move the same things: {_listed(playing.left)}"
                if playing.left
                else ""
            )
            return f"{_listed(playing.together)} play together{left} (--animation NAME plays one alone)"
        others = _listed([name for name in own if name != playing.name])
        return f"animation {playing.name} plays alone, without {others} (--animation NAME chooses)"

    def find_objects(self, pattern: str) -> list[int]:
        """Ids of the objects whose name matches a pattern such as `Fox` or `wheel*`; case does not count.

        A backdrop's ground and dome go by the names `ground` and `dome`.

        Raises:
            SceneError: there is no such object.
        """
        backdrops = {GROUND_ID: "ground", DOME_ID: "dome"}
        ids = np.unique(self.object_id).tolist()
        names = {i: backdrops.get(i) or self.objects[i - 1].name for i in ids}
        return find_by_name(names, self.path.name, pattern)

    def camera(self, name: str, time_s: float, animation: int | None = None) -> Camera:
        """A camera of the file, by name or number, at a time. The picture's shape decides its aspect ratio.

        Raises:
            SceneError: there is no such camera.
        """
        return self.motion.camera(self.find_camera(name), time_s, animation)

    def find_camera(self, name: str) -> SceneCamera:
        """A camera of the file, by name or number, as it is while no animation moves it.

        Raises:
            SceneError: there is no such camera.
        """
        return self.cameras[_find(self.path, "camera", list(self.camera_names), name)]


def atlas_ids_by_name(scene: Scene) -> dict[str, list[int]]:
    """The texture ids of every object, for another scene's objects of these names to be matched with."""
    ids: dict[str, list[int]] = {}
    for object_id, name in scene.object_names.items():
        atlases = np.unique(scene.atlas_id[scene.object_id == object_id])
        # Objects of one name are taken in their order.
        ids.setdefault(name, []).extend(atlases.tolist())
    return ids


def find_by_name(names: Mapping[int, str], file: str, pattern: str) -> list[int]:
    """The ids of what a pattern such as `wheel*` names; case does not count.

    Where nothing has such a name, what exporters change of names does not count either: `Robot.Red` finds
    `Robot_Red`, which is its name in USD and Alembic.

    Args:
        names: by id.
        file: where the names come from.
        pattern: as in shells.

    Raises:
        SceneError: nothing has such a name, or names without wildcards could be several.
    """
    found = [i for i, name in names.items() if is_called(name, pattern)]
    if not found:
        found = [i for i, name in names.items() if is_called(name, pattern, as_exported=True)]
        alike = sorted({names[i] for i in found})
        if len(alike) > 1 and not has_wildcards(pattern):
            raise SceneError(
                f"{file}: {pattern!r} may be any of {', '.join(alike[:20])}; write it as the file does"
            )
    if not found:
        shown = list(names.values())[:20]
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        raise SceneError(f"{file}: no object is called {pattern!r}; it has: {', '.join(shown)}{more}")
    return found


def _find(path: Path, kind: str, names: list[str], wanted: str) -> int:
    """Exactly that name, else that number, else the one that differs in case, else in separators, only."""
    if wanted in names:
        return names.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(names):
        return int(wanted)
    if not names:
        raise SceneError(f"{path.name}: no {kind} {wanted!r}: the file has none; leave it out")
    alike = [index for index, name in enumerate(names) if name.casefold() == wanted.casefold()]
    if not alike and (plain := plain_name(wanted)):
        alike = [index for index, name in enumerate(names) if plain_name(name) == plain]
    if len(alike) == 1:
        return alike[0]
    if alike:
        found = ", ".join(names[index] for index in alike)
        raise SceneError(f"{path.name}: {kind} {wanted!r} may be any of {found}; write it as the file does")
    raise SceneError(f"{path.name}: no {kind} {wanted!r}; it has: {', '.join(names)}")


def _listed(names: Sequence[str]) -> str:
    """Some names, six at most: "Walk, Wave and 3 more"."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
