"""Depth control images and preview pictures."""

import numpy as np
import pytest

from genrender.errors import ConfigError
from genrender.gbuffer.control import (
    FARTHEST_SURFACE,
    depth_control,
    inverse_depth_range,
    scale_inverse_depth,
)
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import depth_picture, object_colour, object_picture, uv_picture
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID


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
    with pytest.raises(ConfigError, match="no G-buffers for a depth control image, expected at least 1"):
        depth_control([])


def on_a_ground(near=2.0, far=4.0, size=40) -> GBuffer:
    """Above a dome, below a ground from right before the viewer to far away, with an object on its left."""
    inverse = np.linspace(0.001, 2 / near, size)[:, None].repeat(size, axis=1)
    object_id = np.full((size, size), GROUND_ID, np.int32)
    inverse[:5], object_id[:5] = 1e-4, DOME_ID
    inverse[5:30, :20] = np.linspace(1 / far, 1 / near, 20)
    object_id[5:30, :20] = 1
    return frame_of(1 / inverse, object_id)


def without_backdrop(gbuffer: GBuffer) -> GBuffer:
    is_own = gbuffer.object_id == 1
    return frame_of(np.where(is_own, gbuffer.depth, np.inf), np.where(is_own, gbuffer.object_id, 0))


def test_a_backdrop_takes_no_contrast_from_objects():
    full = on_a_ground()
    plain = without_backdrop(full)
    assert inverse_depth_range([full]) == inverse_depth_range([plain])
    own = plain.visible
    np.testing.assert_array_equal(depth_control([full])[0][own], depth_control([plain])[0][own])


def test_the_dome_is_background():
    full = on_a_ground()
    assert not depth_control([full])[0][full.object_id == DOME_ID].any()
    assert inverse_depth_range([frame_of(np.full((4, 4), 50.0), np.full((4, 4), DOME_ID))]) == (0, 0)


def test_the_ground_fades_to_black_towards_the_horizon_without_a_step():
    gbuffer = on_a_ground()
    column, inverse = depth_control([gbuffer])[0][5:, -1], 1 / gbuffer.depth[5:, -1]
    far, near = inverse_depth_range([gbuffer])
    assert (np.diff(column) >= 0).all()
    assert column[-1] == 1
    distant = inverse < far
    np.testing.assert_allclose(column[distant], FARTHEST_SURFACE * inverse[distant] / far, atol=1e-6)
    # It rises nowhere faster than an object does.
    steepest = (1 - FARTHEST_SURFACE) / (near - far)
    assert (np.diff(column) <= steepest * np.diff(inverse) + 1e-6).all()


def test_the_ground_is_as_bright_as_an_object_that_stands_on_it():
    inverse_range = inverse_depth_range([on_a_ground()])
    depth = np.linspace(2.2, 3.8, 16).reshape(4, 4)
    ground, own = (
        scale_inverse_depth(frame_of(depth, np.full((4, 4), object_id)), inverse_range)
        for object_id in (GROUND_ID, 1)
    )
    np.testing.assert_array_equal(ground, own)


def test_a_ground_alone_gives_the_range_itself():
    gbuffer = frame_of(ramp(1, 50).depth, np.full((40, 40), GROUND_ID))
    (control,) = depth_control([gbuffer])
    assert control.max() == 1
    assert control.min() < FARTHEST_SURFACE


def test_a_ground_behind_a_flat_object_fades_too():
    depth = np.stack([np.full(8, 2.0), np.linspace(1, 100, 8)])
    control = depth_control([frame_of(depth, np.repeat([[1], [GROUND_ID]], 8, axis=1))])[0]
    assert np.all(control[0] == 1)
    assert control[1, 0] == 1
    assert control[1, -1] < 0.05


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
