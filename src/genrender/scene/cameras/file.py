"""Camera files: JSON with one camera, or with several and a smooth path through them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.cameras.circling import circling_keys, circling_pose
from genrender.scene.cameras.framing import yfov_of_focal_length
from genrender.storage.limits import MAX_TIME_S
from genrender.storage.untrusted import SHOWN_LENGTH, read_json, shown

ENTRIES = ("eye", "target", "up", "yfov_deg", "focal_mm", "ymag", "time", "orbit")
# What a lens may be, and what it means. Beyond these a picture shows one point, or all of the scene in one.
LENSES = {
    "yfov_deg": (1e-3, 179.9, "a vertical field of view in degrees"),
    "focal_mm": (1e-2, 1e6, "a focal length in mm"),
    "ymag": (1e-9, 1e12, "half the height of the view in scene units"),
}
EXPECTED = (
    'a camera file: {"eye": [x,y,z], "target": [x,y,z], "up": [0,1,0], "yfov_deg": 45} or a list with "time"'
)
# Further than this from the origin, float64 does not tell neighbouring points of any scene apart.
MAX_COORDINATE = 1e12
# Shorter directions than this are rounding.
MIN_LENGTH = 1e-12
EYE, TARGET, UP, LENS = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 10)


@dataclass(frozen=True)
class Spline:
    """A smooth curve through given values: cubic Hermite pieces with Catmull-Rom's tangents.

    Each key's tangent comes from its two neighbours, for uneven times, too; two keys are joined by a straight
    line. Where two neighbouring keys are equal the curve stands still between them. Beyond its ends it holds.

    Attributes:
        times_s: rising.
        values: one row per key.
    """

    times_s: Float64[np.ndarray, "K"]
    values: Float64[np.ndarray, "K C"]

    def __call__(self, time_s: float) -> Float64[np.ndarray, "C"]:
        if len(self.times_s) == 1:
            return self.values[0]
        time_s = float(np.clip(time_s, self.times_s[0], self.times_s[-1]))
        left = min(int(np.searchsorted(self.times_s, time_s, "right")) - 1, len(self.times_s) - 2)
        step_s = self.times_s[left + 1] - self.times_s[left]
        u = (time_s - self.times_s[left]) / step_s
        tangents = self.tangents[left : left + 2] * step_s
        ends = self.values[left : left + 2]
        rise = u * u * (3 - 2 * u)
        return (1 - rise) * ends[0] + rise * ends[1] + u * (1 - u) * ((1 - u) * tangents[0] - u * tangents[1])

    @property
    def tangents(self) -> Float64[np.ndarray, "K C"]:
        """Derivatives at the keys, per second."""
        tangents = np.gradient(self.values, self.times_s, axis=0)
        stands = np.flatnonzero((np.diff(self.values, axis=0) == 0).all(axis=1))
        tangents[stands] = tangents[stands + 1] = 0
        return tangents


def read_camera_file(path: Path) -> Callable[[float], Camera]:
    """The camera at any time, in seconds, as a file asks for it.

    Raises:
        SceneError: the file is missing or cannot be used; also when it is asked for a moment at which the eye
            meets the target.
    """
    entries = _read(path)
    keys = np.array([_key(path, index, entry, len(entries) > 1) for index, entry in enumerate(entries)])
    times_s, values = keys[:, 0], keys[:, 1:]
    if (np.diff(times_s) <= 0).any():
        raise SceneError(
            f'{path.name}: the values of "time" do not rise; sort the cameras, each with its own time'
        )
    is_orthographic = ["ymag" in entry for entry in entries]
    if len(set(is_orthographic)) > 1:
        raise SceneError(f"{path.name}: some cameras have ymag and some have none; give it to all or to none")
    pose_at = _pose_at(path, times_s, values, [entry.get("orbit", False) for entry in entries])
    lens_at = Spline(times_s, values[:, LENS])

    def camera_at(time_s: float) -> Camera:
        (eye, target, up), lens = pose_at(time_s), lens_at(time_s)
        if np.linalg.norm(eye - target) < MIN_LENGTH or np.linalg.norm(up) < MIN_LENGTH:
            raise SceneError(f"{path.name}: eye meets target at {time_s:g} s; put another camera in between")
        # A curve may swing beyond its keys, a lens may not.
        size = float(np.clip(lens[0], values[:, LENS].min(), values[:, LENS].max()))
        if is_orthographic[0]:
            return Camera.look_at(eye, target, up, ymag=size)
        return Camera.look_at(eye, target, up, size)

    return camera_at


def _pose_at(
    path: Path,
    times_s: Float64[np.ndarray, "K"],
    values: Float64[np.ndarray, "K C"],
    circles: list[bool],
) -> Callable[[float], Iterable[Float64[np.ndarray, "3"]]]:
    """Eye, target and up at any time."""
    if len(set(circles)) > 1:
        raise SceneError(
            f"{path.name}: some cameras have orbit and some have none; give it to all or to none"
        )
    if not circles[0]:
        splines = [Spline(times_s, values[:, part]) for part in (EYE, TARGET, UP)]
        return lambda time_s: (spline(time_s) for spline in splines)
    try:
        keys = circling_keys(values[:, EYE], values[:, TARGET], values[:, UP])
    except ValueError as error:
        raise SceneError(f"{path.name}: {error}; leave orbit out") from error
    key_at, target_at = Spline(times_s, keys), Spline(times_s, values[:, TARGET])

    def pose_at(time_s: float) -> Iterable[Float64[np.ndarray, "3"]]:
        target = target_at(time_s)
        eye, up = circling_pose(key_at(time_s), target)
        return eye, target, up

    return pose_at


def _read(path: Path) -> list[dict]:
    try:
        content = read_json(path, SceneError, EXPECTED)
    except FileNotFoundError:
        raise SceneError(f"camera file not found: {path}; mend --camera") from None
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SceneError(f"{path.name}: not a camera file; expected {EXPECTED}")
    return entries


def _key(path: Path, index: int, entry: dict, needs_time: bool) -> list[float]:
    where = f"{path.name}: camera {index}"
    unknown = sorted(set(map(str, entry)) - set(ENTRIES))
    if unknown:
        raise SceneError(f"{where} has the unknown entry {_short(unknown[0])}; expected {', '.join(ENTRIES)}")
    if needs_time and "time" not in entry:
        raise SceneError(f'{where} has no "time", expected one in seconds for each camera of a list')
    eye = _vector(where, "eye", entry.get("eye"))
    target = _vector(where, "target", entry.get("target"))
    up = _vector(where, "up", entry.get("up", [0, 1, 0]))
    if np.linalg.norm(np.subtract(eye, target)) < MIN_LENGTH:
        raise SceneError(f"{where} has eye and target at the same place; move one of them")
    if np.linalg.norm(up) < MIN_LENGTH:
        raise SceneError(f"{where} has an up of length 0; expected for example [0, 1, 0]")
    time_s = entry.get("time", 0)
    if not _is_number(time_s, -MAX_TIME_S, MAX_TIME_S):
        raise SceneError(f"{where} has the time {_short(time_s)}, expected seconds")
    if not isinstance(entry.get("orbit", False), bool):
        raise SceneError(f"{where} has orbit {_short(entry['orbit'])}, expected true or false")
    return [float(time_s), *eye, *target, *up, _lens(where, entry)]


def _lens(where: str, entry: dict) -> float:
    """The vertical field of view in degrees, or the `ymag` of an orthographic camera."""
    given = [name for name in LENSES if name in entry]
    if len(given) > 1:
        raise SceneError(f"{where} has both {given[0]} and {given[1]}; give one of them")
    name = given[0] if given else "yfov_deg"
    value = entry.get(name, 45)
    smallest, largest, meaning = LENSES[name]
    if not _is_number(value, smallest, largest):
        raise SceneError(
            f"{where} has {name} {_short(value)}, expected {meaning}, {smallest:g} to {largest:g}"
        )
    return yfov_of_focal_length(value) if name == "focal_mm" else float(value)


def _vector(where: str, what: str, value: object) -> list[float]:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(_is_number(v, -MAX_COORDINATE, MAX_COORDINATE) for v in value)
    ):
        raise SceneError(f"{where} has {what} {_short(value)}, expected [x, y, z] within {MAX_COORDINATE:g}")
    return [float(v) for v in value]


def _is_number(value: object, smallest: float, largest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and smallest <= value <= largest


def _short(value: object) -> str:
    return shown(repr(value), SHOWN_LENGTH)
