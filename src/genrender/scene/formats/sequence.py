"""Files of single moments, such as OBJ: one, or a numbered sequence of the same vertices."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.formats.assemble import ObjectMesh, assemble
from genrender.scene.formats.mesh_file import FileObject, MeshFile
from genrender.scene.formats.polygons import triangulate
from genrender.scene.formats.table import BY_SUFFIX, MOMENT_SUFFIXES
from genrender.scene.motion import MAX_COORDINATE, SceneCamera
from genrender.scene.names import FRAME_NUMBER
from genrender.scene.scene import Animation, Scene

FPS = 24.0
# What lies so many times its extent away loses digits in float32 that matter.
FAR = 8.0
# All moments lie in memory; more is most likely a mistake.
MAX_BYTES = 2**32

RATE = re.compile(r"@(\d+(?:\.\d+)?)$")
PLACEHOLDER = re.compile(r"#+|%0?\d*d")
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FileSequence:
    """Files of one animation, in order, and when each of them is shown.

    Attributes:
        times_s: from the first file's.
        fps: frames per second that the files are numbered at.
        first: number of the first file.
    """

    files: tuple[Path, ...]
    times_s: Float64[np.ndarray, "F"]
    fps: float = FPS
    first: int = 0


@dataclass(frozen=True, eq=False)
class SequenceMotion:
    """The `Motion` of a sequence: straight lines between its files.

    Attributes:
        times_s: of the files.
        verts: around `places`, for float64 would take twice the memory.
        places: the middle of each file where that is far away, else the origin.
    """

    times_s: Float64[np.ndarray, "F"]
    verts: Float32[np.ndarray, "F V 3"]
    places: Float64[np.ndarray, "F 3"]

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.evaluate`."""
        file = 0.0
        if animation is not None:
            file = float(np.interp(time_s, self.times_s, np.arange(len(self.times_s))))
        # A time that misses a file by a rounding error only shows that file.
        before, share = divmod(round(file, 6), 1)
        now, place = self.verts[int(before)], self.places[int(before)]
        if share:
            now = now + np.float32(share) * (self.verts[int(before) + 1] - now)
            place = place + share * (self.places[int(before) + 1] - place)
        return now + place

    def mesh_verts(self) -> Float32[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        return self.verts[0]

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """Files of a single moment have no cameras, so this is never called."""
        raise NotImplementedError


def find_sequence(path: Path) -> FileSequence | None:
    """The files that a folder, `frame_*.obj`, `frame_####.obj` or `frame_%04d.obj` stands for.

    The last number of a file's name tells its frame. `@30` at the end says that there are 30 frames in a
    second instead of 24.

    Returns:
        None if the path is a single file's.

    Raises:
        SceneError: there are no such files, or files of several kinds.
    """
    if path.is_file():
        return None
    rate = RATE.search(path.name)
    plain = path.with_name(path.name[: rate.start()]) if rate else path
    fps = float(rate[1]) if rate else FPS
    if fps == 0:
        raise SceneError(f"{path}: expected more than 0 frames per second behind @, for example @30")
    if plain.is_dir():
        files = [file for file in plain.iterdir() if file.suffix.lower() in MOMENT_SUFFIXES]
    elif WILDCARD.search(plain.name):
        files = list(plain.parent.glob(plain.name))
    elif PLACEHOLDER.search(plain.name):
        numbered = re.compile(r"-?\d+".join(map(re.escape, PLACEHOLDER.split(plain.name))))
        files = [file for file in _siblings(plain) if numbered.fullmatch(file.name)]
    else:
        return None
    suffixes = {file.suffix.lower() for file in files}
    if plain.is_dir() and not suffixes:
        raise SceneError(
            f"{path} is a folder, expected a scene file or a folder of {' or '.join(MOMENT_SUFFIXES)} files"
        )
    if len(suffixes) != 1 or not suffixes <= set(MOMENT_SUFFIXES):
        raise SceneError(
            f"{path}: expected a sequence of {' or of '.join(MOMENT_SUFFIXES)} files, found "
            f"{' and '.join(sorted(suffixes)) or 'none'}; name them as in frames/frame_*.obj"
        )
    return _ordered(files, fps)


def _siblings(path: Path) -> list[Path]:
    return list(path.parent.iterdir()) if path.parent.is_dir() else []


def _ordered(files: list[Path], fps: float) -> FileSequence:
    numbers = {file: [int(n) for n in FRAME_NUMBER.findall(file.stem)] for file in files}
    files = sorted(files, key=lambda file: (numbers[file][-1:], file.name))
    frames = [numbers[file][-1] if numbers[file] else None for file in files]
    if None in frames or len(set(frames)) < len(frames):
        frames = list(range(len(files)))
    first = frames[0] or 0
    times_s = (np.array(frames, np.float64) - first) / fps
    return FileSequence(tuple(files), times_s, fps, first)


def load_single(path: Path) -> Scene:
    """Reads one file of a single moment.

    Raises:
        SceneError: the file is broken or holds no triangles.
    """
    return _load(path, FileSequence((path,), np.zeros(1)))


def load_sequence(path: Path, sequence: FileSequence) -> Scene:
    """Reads all files of a sequence as one scene with one animation.

    Raises:
        SceneError: a file is broken, or has other faces than the first one.
    """
    return _load(path, sequence)


def _load(path: Path, sequence: FileSequence) -> Scene:
    first = _read(sequence.files[0])
    used = [np.unique(thing.corners) for thing in first.objects]
    rows = np.concatenate(used) if used else np.empty(0, np.int64)
    n_files = len(sequence.files)
    if n_files * len(rows) * 12 > MAX_BYTES:
        raise SceneError(
            f"{path.name}: {n_files} files of {len(rows):,} vertices need more than {MAX_BYTES >> 30} GB; "
            "decimate them, or export fewer frames"
        )
    verts = np.empty((n_files, len(rows), 3), np.float32)
    places = np.zeros((n_files, 3))
    for number, file in enumerate(sequence.files):
        moment = _read(file) if number else first
        if number:
            _check_same_faces(file, moment, sequence.files[0], first)
        places[number] = _place(moment.verts[rows])
        with np.errstate(over="ignore"):  # what float32 cannot hold is left out below
            verts[number] = moment.verts[rows] - places[number]
    # What is broken in one file is left out of all.
    verts[:, ~np.isfinite(verts).all(axis=(0, 2))] = np.nan
    verts.flags.writeable = False
    objects = [_object_mesh(thing, of, first.verts) for thing, of in zip(first.objects, used, strict=True)]
    animations = ()
    if n_files > 1:
        end_s, first_s = float(sequence.times_s[-1]), sequence.first / sequence.fps
        animations = (Animation("Sequence", end_s, fps=sequence.fps, file_s=first_s),)
    return assemble(path, objects, SequenceMotion(sequence.times_s, verts, places), animations)


def _place(verts: Float64[np.ndarray, "V 3"]) -> Float64[np.ndarray, "3"]:
    """The middle of the vertices, in whole metres, where it is many extents away; else the origin."""
    finite = verts[np.logical_and.reduce(np.abs(verts) <= MAX_COORDINATE, axis=1)]
    if not len(finite):
        return np.zeros(3)
    lower, upper = finite.min(axis=0), finite.max(axis=0)
    middle = np.round((lower + upper) / 2)
    return middle if np.abs(middle).max() > FAR * (upper - lower).max() else np.zeros(3)


def _object_mesh(
    thing: FileObject, used: Int64[np.ndarray, "U"], verts: Float64[np.ndarray, "V 3"]
) -> ObjectMesh:
    """An object that has only the vertices in use; the first file tells how polygons are cut."""
    corners, polygon = triangulate(verts, thing.corners, thing.counts)
    return ObjectMesh(
        name=thing.name,
        n_verts=len(used),
        tris=np.searchsorted(used, thing.corners[corners]),
        uvs=None if thing.uvs is None else thing.uvs[corners],
        materials=thing.materials,
        material=None if thing.material is None else thing.material[polygon],
    )


def _read(file: Path) -> MeshFile:
    read_moment = BY_SUFFIX[file.suffix.lower()].read_moment
    assert read_moment is not None  # `load_scene` and `find_sequence` let no other files through
    try:
        return read_moment(file)
    except OSError as error:
        raise SceneError(f"{file}: cannot be read: {error.strerror or error}; mend its permissions") from None


def _check_same_faces(file: Path, moment: MeshFile, first_file: Path, first: MeshFile) -> None:
    is_same = len(moment.objects) == len(first.objects) and all(
        np.array_equal(now.counts, then.counts) and np.array_equal(now.corners, then.corners)
        for now, then in zip(moment.objects, first.objects, strict=True)
    )
    if not is_same or len(moment.verts) != len(first.verts):
        raise SceneError(
            f"{file.name}: has other faces than {first_file.name}, so that surface points do not correspond; "
            "bake the sequence with one topology, or render its passes elsewhere and use these"
        )
