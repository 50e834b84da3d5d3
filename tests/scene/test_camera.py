"""Cameras that look at something: always rigid, whatever is up, or an error that says why not."""

import numpy as np
import pytest

from genrender.errors import ConfigError
from genrender.scene.camera import Camera

AXES = [sign * axis for axis in np.eye(3) for sign in (1.0, -1.0)]


def assert_rigid(camera: Camera) -> None:
    rotation = camera.world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("up", [None, *AXES], ids=str)
@pytest.mark.parametrize("view", AXES, ids=str)
def test_every_view_has_a_picture_the_right_way_up(view, up):
    eye = np.array([1.0, 2.0, 3.0])
    camera = Camera.look_at(eye, eye + 5 * view, up)
    assert_rigid(camera)
    np.testing.assert_allclose(camera.world_from_camera[:3, 2], -view, atol=1e-12)
    wanted = np.array([0.0, 1.0, 0.0]) if up is None else up
    if abs(view @ wanted) < 0.5:
        np.testing.assert_allclose(camera.world_from_camera[:3, 1], wanted, atol=1e-12)


def test_almost_along_up_is_as_good_as_along_it():
    for slant in (1e-3, 1e-6, 1e-12):
        camera = Camera.look_at(np.array([0.0, slant, 4.0]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
        assert_rigid(camera)
        np.testing.assert_allclose(camera.world_from_camera[:3, 1], [0, 1, 0], atol=2e-3)


@pytest.mark.parametrize("place", [0.0, 7.5, np.nan])
def test_a_camera_cannot_look_at_itself(place):
    eye = np.full(3, place)
    with pytest.raises(ConfigError, match="expected two different points; move one of them"):
        Camera.look_at(eye, eye)


@pytest.mark.parametrize("up", [[0.0, 0.0, 0.0], [0.0, np.inf, 0.0]])
def test_up_is_a_direction(up):
    with pytest.raises(ConfigError, match="expected a direction"):
        Camera.look_at(np.array([0.0, 0.0, 4.0]), np.zeros(3), np.array(up))
