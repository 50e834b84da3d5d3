"""The camera of somebody who walks around a scene, and what is said of any camera."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from genrender.scene.camera import Camera
from genrender.scene.cameras.framing import as_clip, direction
from genrender.scene.scene import Scene


@dataclass(frozen=True)
class Orbit:
    """Where the viewer stands.

    Attributes:
        azimuth_deg: 0 looks at what faces +Z, 90 at what faces +X.
        elevation_deg: above the horizon.
        distance: 1 where the whole clip just fills the picture; of an orthographic view its size.
        pan: how far the middle of the picture has moved, to the right and upwards, in halves of its height.
        yfov_deg: vertical field of view.
        is_orthographic: sight lines are parallel.
    """

    azimuth_deg: float = 35.0
    elevation_deg: float = 18.0
    distance: float = 1.0
    pan: tuple[float, float] = (0.0, 0.0)
    yfov_deg: float = 40.0
    is_orthographic: bool = False


def clip_sphere(
    scene: Scene, animation: int | None, times_s: tuple[float, ...]
) -> tuple[Float64[np.ndarray, "3"], float]:
    """Centre and radius of a sphere around the box around all frames of a clip."""
    lower, upper = as_clip(scene, animation, times_s).bounds()
    return (lower + upper) / 2, float(np.linalg.norm(upper - lower)) / 2 or 1.0


def orbit_camera(orbit: Orbit, centre: Float64[np.ndarray, "3"], radius: float, aspect: float) -> Camera:
    """The camera of a viewer.

    Args:
        centre: of what is looked at.
        radius: of the sphere around it, which fills the picture at distance 1.
        aspect: width / height of the picture.
    """
    half = np.deg2rad(orbit.yfov_deg) / 2
    narrowest = min(half, float(np.arctan(np.tan(half) * aspect)))
    distance = orbit.distance * radius / float(np.sin(narrowest))
    half_height = distance * float(np.tan(half))
    back = direction(orbit.azimuth_deg, orbit.elevation_deg)
    rotation = Camera.look_at(back, np.zeros(3)).world_from_camera[:3, :3]
    target = centre + half_height * (orbit.pan[0] * rotation[:, 0] + orbit.pan[1] * rotation[:, 1])
    if not orbit.is_orthographic:
        return Camera.look_at(target + distance * back, target, yfov_deg=orbit.yfov_deg)
    # However near it is, an orthographic camera stands before everything.
    return Camera.look_at(target + (distance + 2 * radius) * back, target, ymag=half_height)


def camera_facts(camera: Camera, centre: Float64[np.ndarray, "3"], height: int, width: int) -> dict[str, Any]:
    """A camera as camera files have it, which knows no shift; its target is as far as what it looks at."""
    eye, up, back = (camera.world_from_camera[:3, column] for column in (3, 1, 2))
    away = float((eye - centre) @ back)
    target = eye - back * (away if away > 0 else float(np.linalg.norm(eye - centre)) or 1.0)
    half_height = camera.lens(height, width).half_height
    yfov_deg = float(np.rad2deg(2 * np.arctan(half_height)))
    lens = {"yfov_deg": yfov_deg} if camera.ymag is None else {"ymag": half_height}
    return {"eye": eye.tolist(), "target": target.tolist(), "up": up.tolist(), **lens}
