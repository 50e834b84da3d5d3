"""Depth control images and preview pictures."""

import numpy as np
import pytest

from genrender.errors import ConfigError
from genrender.gbuffer.control import FARTHEST_SURFACE, depth_control, inverse_depth_range
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import depth_picture, object_colour, object_picture, uv_picture


def frame_of(depth, object_id=None) -> GBuffer:
    depth = np.asarray(depth, np.float32)
    visible = np.isfinite(depth)
    object_id = visible.astype(np.int32) if object_id is None else np.asarray(object_id, np.int32)
    u, v = np.meshgrid(np.linspace(0, 1, depth.shape[1]), np.linspace(0, 1, depth.shape[0]))
    return GBuffer(
        depth=depth,
        uv=np.where(visible[..., None], np.stack([u, v], axis=-1), 0).astype(np.float32),
        object_id=object_id,
        tri_id=np.where(visible, 0, -1).astype(np.int32),
        bary=np.zeros((*depth.shape, 2), np.float32),
    )


def ramp(near, far, size=40):
    return frame_of(1 / np.linspace(1 / near, 1 / far, size * size).reshape(size, size))


def test_near_is_one_far_is_a_fifth_and_background_is_zero():
    depth = np.full((20, 20), np.inf)
    depth[:10], depth[10:15] = 1.0, 4.0
    (control,) = depth_control([frame_of(depth)])
    assert np.all(control[:10] == 1)
    assert np.all(control[10:15] == np.float32(FARTHEST_SURFACE))
    assert np.all(control[15:] == 0)


def test_control_is_linear_in_inverse_depth_between_the_percentiles():
    gbuffer = ramp(1, 5)
    (control,) = depth_control([gbuffer])
    far, near = inverse_depth_range([gbuffer])
    expected = 0.2 + 0.8 * np.clip((1 / gbuffer.depth - far) / (near - far), 0, 1)
    np.testing.assert_allclose(control, expected, atol=1e-6)
    assert np.mean(control == 1) == pytest.approx(0.02, abs=0.002)
    assert np.mean(control == np.float32(0.2)) == pytest.approx(0.02, abs=0.002)


def test_one_range_for_the_clip():
    still, other = np.full((8, 8), np.inf), np.full((8, 8), np.inf)
    still[:4] = 2.0
    other[:4], other[4:] = 2.0, 0.5
    control = depth_control([frame_of(still), frame_of(other)])
    np.testing.assert_array_equal(control[0, :4], control[1, :4])
    assert np.all(control[1, 4:] == 1)


def test_scale_of_the_scene_does_not_matter():
    np.testing.assert_allclose(depth_control([ramp(1, 5)]), depth_control([ramp(100, 500)]), atol=1e-5)


def test_everything_equally_far_is_near():
    (control,) = depth_control([frame_of(np.full((4, 4), 3.0))])
    assert np.all(control == 1)


def test_nothing_visible():
    (control,) = depth_control([frame_of(np.full((4, 4), np.inf))])
    assert not control.any()
    assert not depth_picture(frame_of(np.full((4, 4), np.inf))).any()


def test_no_frames():
    with pytest.raises(ConfigError, match="at least 1 frame"):
        depth_control([])


def test_pictures_show_near_bright_and_u_red_and_v_green():
    gbuffer = ramp(1, 5)
    depth = depth_picture(gbuffer)
    assert tuple(depth[0, 0]) == (255, 255, 255)
    assert tuple(depth[-1, -1]) == (51, 51, 51)
    uv = uv_picture(gbuffer)
    assert tuple(uv[0, -1, :2]) == (255, 0)
    assert tuple(uv[-1, 0, :2]) == (0, 255)
    assert uv[0, 0, 2] > 0  # the texture's origin is no background


def test_objects_have_colours_of_their_own_in_every_frame():
    ids = np.array([[0, 1, 2], [2, 7, 1]])
    depth = np.where(ids > 0, 1.0, np.inf)
    picture = object_picture(frame_of(depth, ids))
    for row, column in np.ndindex(ids.shape):
        assert tuple(picture[row, column]) == object_colour(ids[row, column].item())
    colours = np.array([object_colour(object_id) for object_id in range(33)], int)
    distance = np.abs(colours[:, None] - colours[None]).max(axis=-1) + 255 * np.eye(33, dtype=int)
    assert distance.min() >= 12
    assert len({object_colour(object_id) for object_id in range(65)}) == 65
