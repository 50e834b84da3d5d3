"""A plain colour behind the objects of finished frames."""

import numpy as np
import pytest
from scenes import panned_plane, rotating_sphere

from genrender.errors import ConfigError
from genrender.gbuffer.composite import composite_backdrop

WHITE = (255, 255, 255)


def noisy_frame(size: int) -> np.ndarray:
    return np.random.default_rng(0).random((size, size, 3), np.float32)


def neighbours(mask: np.ndarray) -> np.ndarray:
    """How many of the nine pixels around each one are set; the picture goes on beyond its border."""
    padded = np.pad(mask, 1, mode="edge").astype(int)
    height, width = mask.shape
    return np.sum([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


@pytest.mark.parametrize("color", [WHITE, (32, 64, 96), (0, 0, 0)])
def test_the_inside_of_objects_stays_and_the_background_is_the_colour(color):
    gbuffer, frame = rotating_sphere(64), noisy_frame(64)
    out = composite_backdrop(frame, gbuffer, color)
    around = neighbours(gbuffer.visible)
    np.testing.assert_array_equal(out[around == 9], frame[around == 9])
    outside = out[around == 0]
    np.testing.assert_array_equal(
        outside, np.broadcast_to(np.float32(color) / np.float32(255), outside.shape)
    )
    assert out.min() >= 0
    assert out.max() <= 1


def test_the_edge_is_soft():
    gbuffer = rotating_sphere(64)
    out = composite_backdrop(np.zeros((64, 64, 3), np.float32), gbuffer, WHITE)[..., 0]
    edge = (neighbours(gbuffer.visible) % 9) > 0
    assert np.all((out[edge] > 0) & (out[edge] < 1))
    # From black to white in three pixels at most: no step above 0.76, where the bare mask steps by 1.
    assert np.abs(np.diff(out, axis=0)).max() < 0.76


def test_what_the_model_painted_as_background_does_not_shine_through():
    gbuffer = rotating_sphere(64)
    red = np.zeros((64, 64, 3), np.float32)
    red[~gbuffer.visible] = (1, 0, 0)
    black = np.zeros((64, 64, 3), np.float32)
    np.testing.assert_array_equal(
        composite_backdrop(red, gbuffer, WHITE), composite_backdrop(black, gbuffer, WHITE)
    )


def test_objects_that_are_cut_off_stay_so_up_to_the_border():
    gbuffer, frame = panned_plane(32, 0, 1.5), noisy_frame(32)
    assert gbuffer.visible.all()
    np.testing.assert_array_equal(composite_backdrop(frame, gbuffer, WHITE), frame)


def test_an_empty_frame_is_the_colour():
    out = composite_backdrop(noisy_frame(16), panned_plane(16, 3.0), (255, 0, 0))
    np.testing.assert_array_equal(out, np.broadcast_to(np.array([1, 0, 0], np.float32), out.shape))


def test_other_sizes_are_refused():
    with pytest.raises(ConfigError, match="the frame has 8x8 pixels, its G-buffer 16x16"):
        composite_backdrop(noisy_frame(8), panned_plane(16), WHITE)
