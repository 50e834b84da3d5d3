"""Scenes whose library can end the process that uses it are read and moved in a process of their own.

That is a fault inside these libraries, which no check of ours comes before: whether a damaged file ends them
depends on what lies in memory. So this process has only arrays from them; `ApartMotion` asks for more. A
process that is such a reader already reads at once.
"""

import atexit
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.format import Format
from genrender.scene.formats.table import BY_SUFFIX
from genrender.scene.motion import Motion, SceneCamera
from genrender.scene.scene import Animation, Scene, SceneObject
from genrender.storage.helper import Helper, ReaderEndedError
from genrender.storage.limits import available_memory

# The largest stages take minutes to open.
PATIENCE_S = 600.0
_ARRAYS = ("tris", "uvs", "object_id", "has_uvs", "rest_verts", "material")
# Readers whose scenes have gone; another scene spares the start of a process.
_idle: list[Helper] = []


@dataclass(frozen=True, eq=False)
class ApartMotion:
    """The `Motion` of a scene that another process holds.

    Attributes:
        path: of its file.
        reader: holds this scene alone.
    """

    path: Path
    reader: Helper

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.evaluate`.

        Raises:
            SceneError: the file's library cannot tell.
        """
        with _told_of(self.path, f"at {time_s:g} s"):
            layout, data = self.reader.call("evaluate", PATIENCE_S, time_s=time_s, animation=animation)
        return _unpacked(layout, data)["verts"]

    def mesh_verts(self) -> Float[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        with _told_of(self.path, "over its meshes"):
            layout, data = self.reader.call("mesh_verts", PATIENCE_S)
        return _unpacked(layout, data)["verts"]

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """As `Motion.camera`."""
        asked = {"camera": asdict(camera), "time_s": time_s, "animation": animation}
        with _told_of(self.path, f"over a camera at {time_s:g} s"):
            values, data = self.reader.call("camera", PATIENCE_S, **asked)
        lens = {key: _number(values[key]) for key in ("yfov_deg", "ymag", "near", "far", "aspect")}
        x, y = map(float, values["shift"])
        return Camera(np.frombuffer(data).reshape(4, 4), **lens, shift=(x, y))


def load_apart(folders: Folders) -> Scene:
    """Reads a scene as its format does, in another process.

    Raises:
        SceneError: as the format's, or the library ends.
    """
    reader = _reader(folders.scene)
    with _told_of(folders.scene, "while it opens the file", reader):
        told, data = reader.call("load", PATIENCE_S, **_asked(folders))
    motion = ApartMotion(folders.scene, reader)
    weakref.finalize(motion, _give_back, reader).atexit = False  # then all readers end
    rest: dict[str, Any] = _unpacked(told["arrays"], data)
    return Scene(
        path=folders.scene,
        objects=tuple(SceneObject(**thing) for thing in told["objects"]),
        animations=tuple(map(_animation, told["animations"])),
        cameras=tuple(map(_camera, told["cameras"])),
        motion=motion,
        materials=tuple(told["materials"]),
        n_dropped=told["n_dropped"],
        warnings=tuple(told["warnings"]),
        **rest,
    )


def files_apart(folders: Folders) -> list[Path]:
    """The files that a scene is read from, as its format lists them in another process.

    Raises:
        SceneError: as `load_apart`.
    """
    reader = _reader(folders.scene)
    with _told_of(folders.scene, "while it opens the file", reader):
        names, _ = reader.call("files", PATIENCE_S, **_asked(folders))
    _give_back(reader)
    return [Path(name) for name in names]


def end_idle() -> None:
    """Ends the readers that hold no scene: a bound of this process is also that of those it begins later."""
    while _idle:
        _idle.pop().end()


def _reader(path: Path) -> Helper:
    """One that holds no scene.

    Raises:
        SceneError: the format's library is not installed.
    """
    kind = BY_SUFFIX[path.suffix.lower()]
    with kind.needing_library(path):
        if kind.library is not None and find_spec(kind.library) is None:
            raise ModuleNotFoundError(name=kind.library)
    try:
        reader = _idle.pop()
    except IndexError:
        # A damaged stage of two kilobytes has taken seven GB: what is left is for this process.
        reader = Helper(__name__, available_memory() // 2)
        atexit.register(reader.end)
    reader.is_kept = True
    return reader


def _give_back(reader: Helper) -> None:
    reader.is_kept = False
    if _idle:
        reader.end()
        atexit.unregister(reader.end)
    else:
        _idle.append(reader)
        reader.rest()


@contextmanager
def _told_of(path: Path, when: str, borrowed: Helper | None = None) -> Iterator[None]:
    """Errors of a reader as those of a scene; what was borrowed is given back."""
    try:
        yield
    except BaseException as error:
        if borrowed is not None:
            _give_back(borrowed)
        if not isinstance(error, ReaderEndedError):
            raise
        kind = BY_SUFFIX[path.suffix.lower()].name
        raise SceneError(
            f"{path.name}: cannot be read as {kind}: the library ends, takes longer than "
            f"{PATIENCE_S / 60:.0f} min or more than half of the memory that is free, {when}; export it again"
        ) from None


def _asked(folders: Folders) -> dict[str, Any]:
    # This process may be in another folder by then.
    return {"path": str(folders.scene.absolute()), "allowed": [str(folder) for folder in folders.allowed]}


def _number(value: Any) -> Any:
    """JSON has no infinity: it comes as text."""
    return float(value) if isinstance(value, str) else value


def _camera(values: Mapping[str, Any]) -> SceneCamera:
    return SceneCamera(**{key: value if key == "name" else _number(value) for key, value in values.items()})


def _animation(values: Mapping[str, Any]) -> Animation:
    return Animation(**{**values, "together": tuple(values["together"]), "left": tuple(values["left"])})


def _unpacked(layout: list[Any], data: bytes) -> dict[str, np.ndarray]:
    """Arrays by name, which share the bytes. The layout lists their names, types and shapes."""
    arrays, start = {}, 0
    for name, dtype, shape in layout:
        arrays[name] = np.frombuffer(data, dtype, prod(shape), start).reshape(shape)
        start += arrays[name].nbytes
    return arrays


# What the reader does. It holds one scene.

_held: dict[str, Motion] = {}


def load(path: str, allowed: list[str]) -> tuple[dict[str, Any], bytes]:
    """Reads a scene and holds what moves it."""
    _held.clear()
    folders, kind = _folders(path, allowed)
    with kind.needing_library(folders.scene):
        assert kind.read_scene is not None
        scene = kind.read_scene(folders)
    _held["motion"] = scene.motion
    layout, data = _packed({name: getattr(scene, name) for name in _ARRAYS})
    told = {
        "arrays": layout,
        **{
            name: [asdict(item) for item in getattr(scene, name)]
            for name in ("objects", "animations", "cameras")
        },
        "materials": scene.materials,
        "n_dropped": scene.n_dropped,
        "warnings": scene.warnings,
    }
    return told, data


def evaluate(time_s: float, animation: int | None) -> tuple[list[Any], bytes]:
    """`Motion.evaluate` of the scene that is held."""
    return _packed({"verts": _held["motion"].evaluate(time_s, animation)})


def mesh_verts() -> tuple[list[Any], bytes]:
    """`Motion.mesh_verts` of the scene that is held."""
    return _packed({"verts": _held["motion"].mesh_verts()})


def camera(camera: dict[str, Any], time_s: float, animation: int | None) -> tuple[dict[str, Any], bytes]:
    """`Motion.camera` of the scene that is held; the pose as bytes."""
    seen = _held["motion"].camera(SceneCamera(**camera), time_s, animation)
    lens = {name: getattr(seen, name) for name in ("yfov_deg", "ymag", "near", "far", "shift", "aspect")}
    return lens, np.ascontiguousarray(seen.world_from_camera, np.float64).tobytes()


def files(path: str, allowed: list[str]) -> tuple[list[str], bytes]:
    """The files that a scene is read from."""
    folders, kind = _folders(path, allowed)
    with kind.needing_library(folders.scene):
        assert kind.files is not None
        return [str(file) for file in kind.files(folders)], b""


def _folders(path: str, allowed: list[str]) -> tuple[Folders, Format]:
    scene = Path(path)
    return Folders(scene, tuple(map(Path, allowed))), BY_SUFFIX[scene.suffix.lower()]


def _packed(arrays: Mapping[str, np.ndarray]) -> tuple[list[Any], bytes]:
    layout = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    return layout, b"".join(np.ascontiguousarray(array).data for array in arrays.values())
