"""Cameras of a file as angles around their targets: a path between them circles and cuts through nothing."""

import numpy as np
from jaxtyping import Float64

from genrender.scene.camera import Camera
from genrender.scene.cameras.framing import direction

# Nearer to the vertical than this there is no telling which way round a camera stands.
STEEPEST_DEG = 89.9


def circling_keys(
    eyes: Float64[np.ndarray, "K 3"], targets: Float64[np.ndarray, "K 3"], ups: Float64[np.ndarray, "K 3"]
) -> Float64[np.ndarray, "K 4"]:
    """Azimuth, elevation and roll in degrees, and the logarithm of the distance, of each camera.

    Neighbours are never more than half a circle apart. +Y is upwards, as in all scenes.

    Raises:
        ValueError: a camera looks straight up or down.
    """
    back = eyes - targets
    distance = np.linalg.norm(back, axis=1)
    elevation = np.rad2deg(np.arcsin(back[:, 1] / distance))
    if (np.abs(elevation) > STEEPEST_DEG).any():
        raise ValueError("a camera looks straight up or down, and circles around nothing")
    azimuth = np.rad2deg(np.arctan2(back[:, 0], back[:, 2]))
    upright = [Camera.look_at(eye, target) for eye, target in zip(eyes, targets, strict=True)]
    right, top = (np.array([one.world_from_camera[:3, axis] for one in upright]) for axis in (0, 1))
    roll = np.rad2deg(np.arctan2(-(ups * right).sum(axis=1), (ups * top).sum(axis=1)))
    turns = np.unwrap(np.stack([azimuth, roll], axis=1), period=360, axis=0)
    return np.stack([turns[:, 0], elevation, turns[:, 1], np.log(distance)], axis=1)


def circling_pose(
    key: Float64[np.ndarray, "4"], target: Float64[np.ndarray, "3"]
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Eye and up of what `circling_keys` holds."""
    azimuth_deg, elevation_deg, roll_deg, log_distance = key
    eye = target + np.exp(log_distance) * direction(
        azimuth_deg, float(np.clip(elevation_deg, -STEEPEST_DEG, STEEPEST_DEG))
    )
    right, top, _ = Camera.look_at(eye, target).world_from_camera[:3, :3].T
    roll = np.deg2rad(roll_deg)
    return eye, np.cos(roll) * top - np.sin(roll) * right
