"""ComfyUI's 3D viewer and our cameras: both are right-handed, Y up, and look along their own -Z."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from genrender.errors import ConfigError
from genrender.scene.camera import Camera
from genrender.scene.rig import local_from_trs


def camera_of(info: Mapping[str, Any], models: Sequence[Mapping[str, Any]] | None = None) -> Camera:
    """The camera of a viewer, in the space of the file that it shows.

    Args:
        info: a `LOAD3D_CAMERA`.
        models: a `LOAD3D_MODEL_INFO`: the viewer moves, turns and scales what it shows, and the camera stands
            in its space, not in the file's. None or nothing: it has left the model where it was.

    Raises:
        ConfigError: it has no place, or its model is scaled differently along its axes.
    """
    eye = _vector(info.get("position"), "position")
    zoom = float(info.get("zoom") or 1.0)
    if info.get("quaternion"):
        world_from_camera = np.eye(4)
        world_from_camera[:3, :3], world_from_camera[:3, 3] = _rotation(info["quaternion"]), eye
    else:
        world_from_camera = Camera.look_at(eye, _vector(info.get("target"), "target")).world_from_camera
    scale = 1.0
    if models:
        scale, rotation, place = _model(models[0])
        world_from_camera[:3, :3] = rotation.T @ world_from_camera[:3, :3]
        world_from_camera[:3, 3] = rotation.T @ (eye - place) / scale
    if info.get("cameraType") == "orthographic":
        frustum = info.get("frustum")
        if not frustum:
            raise ConfigError("the orthographic camera tells no frustum: use the perspective one")
        half_height = (float(frustum["top"]) - float(frustum["bottom"])) / 2
        return Camera(world_from_camera, ymag=half_height / zoom / scale)
    tangent = np.tan(np.deg2rad(float(info.get("fov") or 50.0)) / 2) / zoom
    return Camera(world_from_camera, yfov_deg=float(np.rad2deg(2 * np.arctan(tangent))))


def _model(model: Mapping[str, Any]) -> tuple[float, Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
    scale = _vector(model.get("scale") or {"x": 1, "y": 1, "z": 1}, "scale of the model")
    if not np.allclose(scale, scale[0], rtol=1e-3) or scale[0] <= 0:
        raise ConfigError(
            f"the viewer's model is scaled by {scale.tolist()}, expected one number for all axes"
        )
    return float(scale[0]), _rotation(model["quaternion"]), _vector(model["position"], "place of the model")


def _vector(value: Mapping[str, Any] | None, what: str) -> Float64[np.ndarray, "3"]:
    if value is None or not all(axis in value for axis in "xyz"):
        raise ConfigError(f"the camera's {what} is {value}, expected numbers x, y and z")
    return np.array([float(value[axis]) for axis in "xyz"])


def _rotation(quaternion: Mapping[str, Any]) -> Float64[np.ndarray, "3 3"]:
    turn = np.array([[float(quaternion[axis]) for axis in "xyzw"]])
    return local_from_trs(np.zeros((1, 3)), turn, np.ones((1, 3)))[0, :3, :3]
