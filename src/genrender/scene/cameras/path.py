"""Camera paths: where the camera stands at any time of a clip."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from genrender.errors import ConfigError
from genrender.scene.camera import Camera
from genrender.scene.cameras.file import read_camera_file
from genrender.scene.cameras.framing import (
    Clip,
    Lens,
    Times,
    View,
    as_clip,
    direction,
    fit_around,
    fit_static,
    yfov_of_focal_length,
)
from genrender.scene.scene import Scene

THREE_QUARTER_AZIMUTH_DEG = 35.0
ELEVATION_DEG = 18.0

# A dolly begins at this multiple of the distance at which it ends.
DOLLY_FROM = 2.0

# A hand sways slowly and widely, and trembles quickly and little.
HAND_HZ = np.array([0.23, 0.61, 1.37])
HAND_AMPLITUDES = np.array([0.6, 0.3, 0.1])
# How far it shifts and turns the picture at most, each, in parts of half the picture's shorter side.
HAND_REACH = 0.06
HAND_ROLL_DEG = 0.6

EXPECTED = (
    "expected orbit, turntable, static, dolly or handheld:SEED, behind it a lens if wanted (,35mm or ,60deg "
    "or ,ortho), scene:NAME or a file that ends in .json"
)


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

    These are placed so that all frames of the clip fit into the picture:

    - None and `static`: a three-quarter view.
    - `orbit`: the eye, slightly above, flies once around the clip's centre, counter-clockwise seen from
      above, beginning at the three-quarter view.
    - `turntable`: the eye stays at the height of the clip's centre and goes the other way round, beginning in
      front, so that the object itself seems to turn, as on a potter's wheel.
    - `dolly`: the eye approaches from twice the distance to the three-quarter view, gently at both ends.
    - `handheld` or `handheld:SEED`: the three-quarter view, carried by a hand that is never quite still.

    A lens may follow: `orbit,35mm` (focal length, for a sensor 24 mm high), `orbit,60deg` (vertical field of
    view) or `orbit,ortho`; without one it is 40 degrees. These have lenses of their own:

    - `scene:NAME`: a camera of the scene file, by name or number, animated as there.
    - a path that ends in .json: a camera file, whose 0 s is the animation's first key.

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
    spec = spec or "static"
    begin_s = 0.0 if animation is None else scene.animations[animation].start_s
    if spec.startswith("scene:"):
        name = spec.removeprefix("scene:")
        scene.camera(name, 0.0, None)  # says now if there is none of that name
        return CameraPath(spec, lambda time_s: scene.camera(name, time_s, animation))
    if spec.lower().endswith(".json"):
        of_file = read_camera_file(Path(spec))
        return CameraPath(spec, lambda time_s: of_file(time_s - begin_s))
    spec = ",".join(word.strip() for word in spec.split(","))
    motion, comma, lens_text = spec.partition(",")
    lens = _lens(spec, lens_text) if comma else Lens()
    clip = as_clip(scene, animation, times_s)
    if motion == "static":
        return CameraPath(spec, _static(clip, aspect, lens))
    if motion == "orbit":
        return CameraPath(spec, _circle(clip, aspect, lens, THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG, 1))
    if motion == "turntable":
        return CameraPath(spec, _circle(clip, aspect, lens, 0.0, 0.0, -1))
    if motion == "dolly":
        return CameraPath(spec, _dolly(clip, aspect, lens))
    if hand := re.fullmatch(r"handheld(?::(\d+))?", motion, re.ASCII):
        return CameraPath(spec, _handheld(clip, aspect, lens, int(hand[1] or 0), begin_s))
    raise ConfigError(f"unknown camera {spec!r}; {EXPECTED}")


def _lens(spec: str, text: str) -> Lens:
    if text == "ortho":
        return Lens(is_orthographic=True)
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(mm|deg)", text, re.ASCII)
    if number is None or float(number[1]) == 0:
        raise ConfigError(f"unknown lens {text!r} of camera {spec!r}; {EXPECTED}")
    yfov_deg = float(number[1]) if number[2] == "deg" else yfov_of_focal_length(float(number[1]))
    # Beyond these, framing has the camera in the scene or infinitely far away.
    if not 0.1 <= yfov_deg <= 170:
        raise ConfigError(
            f"the lens {text!r} of camera {spec!r} sees {yfov_deg:.3g} degrees; expected 0.1 to 170 degrees, "
            "which is 13000mm to 1.1mm"
        )
    return Lens(yfov_deg)


def _static(clip: Clip, aspect: float, lens: Lens) -> Callable[[float], Camera]:
    camera = fit_static(clip, direction(THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG), aspect, lens)
    return lambda _: camera


def _circle(
    clip: Clip, aspect: float, lens: Lens, start_deg: float, elevation_deg: float, sense: int
) -> Callable[[float], Camera]:
    centre = _centre(clip)
    first_s, last_s = clip.times_s[0], clip.times_s[-1]
    n = len(clip.times_s)
    period_s = (last_s - first_s) * n / (n - 1) if n > 1 and last_s > first_s else 1.0

    def view_at(time_s: float) -> View:
        azimuth_deg = start_deg + sense * 360 * (time_s - first_s) / period_s
        return View.towards_centre(direction(azimuth_deg, elevation_deg))

    fit = fit_around(clip, centre, view_at, aspect, lens)
    return lambda time_s: view_at(time_s).camera(centre, fit, lens)


def _dolly(clip: Clip, aspect: float, lens: Lens) -> Callable[[float], Camera]:
    if lens.is_orthographic:
        raise ConfigError(
            "camera 'dolly,ortho' would show the same picture all the time: expected a lens with "
            "perspective, such as dolly,35mm"
        )
    end = fit_static(clip, direction(THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG), aspect, lens)
    back = end.world_from_camera[:3, 2]
    # The path runs along the view axis: what the last frame holds, every frame holds.
    way = (DOLLY_FROM - 1) * float((end.world_from_camera[:3, 3] - _centre(clip)) @ back)
    first_s, last_s = min(clip.times_s), max(clip.times_s)

    def camera_at(time_s: float) -> Camera:
        done = np.clip((time_s - first_s) / (last_s - first_s), 0, 1) if last_s > first_s else 1.0
        eased = done * done * (3 - 2 * done)
        world_from_camera = end.world_from_camera.copy()
        world_from_camera[:3, 3] += (1 - eased) * way * back
        return Camera(world_from_camera, lens.yfov_deg)

    return camera_at


def _handheld(clip: Clip, aspect: float, lens: Lens, seed: int, begin_s: float) -> Callable[[float], Camera]:
    back = direction(THREE_QUARTER_AZIMUTH_DEG, ELEVATION_DEG)
    still = View.towards_centre(back)
    # On the axis of the static view, where the clip is in the middle of the picture.
    eye = fit_static(clip, back, aspect, lens).world_from_camera[:3, 3]
    centre = eye - ((eye - _centre(clip)) @ back) * back
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (5, len(HAND_HZ)))
    reach = HAND_REACH * lens.tangent * min(1.0, aspect)

    def view_at(time_s: float) -> View:
        swing = np.sin(2 * np.pi * HAND_HZ * (time_s - begin_s) + phases) @ HAND_AMPLITUDES
        right, up = still.rotation[:, 0], still.rotation[:, 1]
        place = still.place + reach * (swing[0] * right + swing[1] * up)
        turned = still.rotation @ _turn(
            reach * swing[2], reach * swing[3], np.deg2rad(HAND_ROLL_DEG) * swing[4]
        )
        return View(turned, place)

    fit = fit_around(clip, centre, view_at, aspect, lens)
    return lambda time_s: view_at(time_s).camera(centre, fit, lens)


def _turn(tilt: float, pan: float, roll: float) -> Float64[np.ndarray, "3 3"]:
    """Rotations, in radians, about a camera's own x, y and z axis, the last one first."""
    (sx, sy, sz), (cx, cy, cz) = np.sin([tilt, pan, roll]), np.cos([tilt, pan, roll])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def _centre(clip: Clip) -> Float64[np.ndarray, "3"]:
    lower, upper = clip.bounds()
    return (lower + upper) / 2
