"""Camera paths: where the camera stands at any time of a clip."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrender.errors import ConfigError, SceneError
from genrender.scene.camera import Camera
from genrender.scene.framing import FRAMING_YFOV_DEG, Times, as_clip, direction, fit_around, fit_static
from genrender.scene.scene import Scene

THREE_QUARTER_AZIMUTH_DEG = 35.0
ELEVATION_DEG = 18.0


@dataclass(frozen=True)
class CameraPath:
    """A camera over time.

    Attributes:
        name: the specification it was made from.
        camera_at: the camera at a time of the clip, in seconds.
    """

    name: str
    camera_at: Callable[[float], Camera]

    def at(self, time_s: float) -> Camera:
        """The camera at a time of the clip, in seconds."""
        return self.camera_at(time_s)


def camera_path(
    spec: str | None, scene: Scene, animation: int | None, times_s: Times, aspect: float
) -> CameraPath:
    """The camera path that a specification asks for.

    - None and `static`: a three-quarter view from which all frames of the clip fill the picture.
    - `orbit`: the eye, slightly above, flies once around the clip's centre, counter-clockwise seen from
      above, beginning at the three-quarter view.
    - `turntable`: the eye stays at the height of the clip's centre and goes the other way round, beginning in
      front, so that the object itself seems to turn, as on a potter's wheel.
    - `scene:NAME`: a camera of the scene file, by name or number, animated as there.
    - a path that ends in .json: a camera file.

    `orbit` and `turntable` close their circle one frame step after the last frame, so the clip loops.

    Args:
        animation: index into the scene's animations; None for the rest pose.
        times_s: times of the clip's frames.
        aspect: width / height of the picture.

    Raises:
        ConfigError: the specification is none of these.
        SceneError: no such camera in the file, or a camera file that cannot be used.
    """
    if not (np.isfinite(aspect) and aspect > 0):
        raise ConfigError(f"aspect is {aspect!r}, expected width / height > 0")
    if spec is None or spec == "static":
        clip = as_clip(scene, animation, times_s)
        camera = fit_static(clip, direction(THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG), aspect)
        return CameraPath("static", lambda _: camera)
    if spec == "orbit":
        return _circle(spec, scene, animation, times_s, aspect, THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG, 1)
    if spec == "turntable":
        return _circle(spec, scene, animation, times_s, aspect, 0.0, 0.0, -1)
    if spec.startswith("scene:"):
        name = spec.removeprefix("scene:")
        scene.camera(name, 0.0, None)  # says now if there is none of that name
        return CameraPath(spec, lambda time_s: scene.camera(name, time_s, animation))
    if spec.lower().endswith(".json"):
        return _from_file(Path(spec))
    raise ConfigError(
        f"unknown camera {spec!r}; expected orbit, turntable, static, scene:NAME or a file that ends in .json"
    )


def _circle(
    name: str,
    scene: Scene,
    animation: int | None,
    times_s: Times,
    aspect: float,
    start_deg: float,
    elevation_deg: float,
    sense: int,
) -> CameraPath:
    clip = as_clip(scene, animation, times_s)
    lower, upper = clip.bounds()
    centre = (lower + upper) / 2
    first_s, last_s = clip.times_s[0], clip.times_s[-1]
    n = len(clip.times_s)
    period_s = (last_s - first_s) * n / (n - 1) if n > 1 and last_s > first_s else 1.0

    def back_at(time_s: float) -> np.ndarray:
        return direction(start_deg + sense * 360 * (time_s - first_s) / period_s, elevation_deg)

    distance = fit_around(clip, centre, back_at, aspect)
    return CameraPath(
        name,
        lambda time_s: Camera.look_at(centre + distance * back_at(time_s), centre, yfov_deg=FRAMING_YFOV_DEG),
    )


def _from_file(path: Path) -> CameraPath:
    expected = (
        'expected {"eye": [x,y,z], "target": [x,y,z], "up": [0,1,0], "yfov_deg": 45} or a list with "time"'
    )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SceneError(f"camera file not found: {path}") from None
    except OSError as error:
        raise SceneError(f"camera file cannot be read: {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SceneError(f"{path.name}: not a camera file ({str(error)[:80]}); {expected}") from None
    entries = content if isinstance(content, list) else [content]
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        raise SceneError(f"{path.name}: not a camera file; {expected}")
    keys = np.array([_key(path, index, entry, len(entries) > 1) for index, entry in enumerate(entries)])
    times_s, values = keys[:, 0], keys[:, 1:]
    if (np.diff(times_s) <= 0).any():
        raise SceneError(
            f'{path.name}: the values of "time" do not rise; sort the cameras, each with its own time'
        )

    def camera_at(time_s: float) -> Camera:
        eye, target, up, yfov_deg = np.split(
            np.array([np.interp(time_s, times_s, column) for column in values.T]), [3, 6, 9]
        )
        if np.array_equal(eye, target) or not up.any():
            raise SceneError(f"{path.name}: eye meets target at {time_s:g} s; put another camera in between")
        return Camera.look_at(eye, target, up, float(yfov_deg[0]))

    return CameraPath(str(path), camera_at)


def _key(path: Path, index: int, entry: dict, needs_time: bool) -> list[float]:
    where = f"{path.name}: camera {index}"
    unknown = sorted(set(map(str, entry)) - {"eye", "target", "up", "yfov_deg", "time"})
    if unknown:
        raise SceneError(
            f"{where} has the unknown entry {unknown[0]!r}; expected eye, target, up, yfov_deg, time"
        )
    if needs_time and "time" not in entry:
        raise SceneError(f'{where} has no "time"; each camera of a list needs one, in seconds')
    eye = _vector(where, "eye", entry.get("eye"))
    target = _vector(where, "target", entry.get("target"))
    up = _vector(where, "up", entry.get("up", [0, 1, 0]))
    if eye == target:
        raise SceneError(f"{where} has eye and target at the same place; move one of them")
    if not any(up):
        raise SceneError(f"{where} has an up of length 0; expected for example [0, 1, 0]")
    time_s, yfov_deg = entry.get("time", 0), entry.get("yfov_deg", 45)
    if not _is_number(time_s):
        raise SceneError(f"{where} has the time {time_s!r}, expected seconds")
    if not _is_number(yfov_deg) or not 0 < yfov_deg < 180:
        raise SceneError(f"{where} has yfov_deg {yfov_deg!r}, expected degrees between 0 and 180")
    return [float(time_s), *eye, *target, *up, float(yfov_deg)]


def _vector(where: str, what: str, value: object) -> list[float]:
    if not isinstance(value, list) or len(value) != 3 or not all(_is_number(v) for v in value):
        raise SceneError(f"{where} has {what} {value!r}, expected [x, y, z]")
    return [float(v) for v in value]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
