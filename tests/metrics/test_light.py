"""Surviving light: clips of which it is known how much light is left."""

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.errors import ConfigError
from genrender.metrics.light import surviving_light
from genrender.surface.tracking import SurfaceTracker

SIZE, N_FRAMES = 64, 5


@pytest.fixture(scope="module")
def tracker():
    return SurfaceTracker(*ball_behind_slab(N_FRAMES, 0.04, SIZE, 1))


@pytest.fixture(scope="module")
def light():
    """A shadow's edge that wanders over the picture."""
    x = np.arange(SIZE)[None, None, :, None] / SIZE
    when = np.arange(N_FRAMES)[:, None, None, None] / (N_FRAMES - 1)
    shade = -0.4 * np.clip((x - when) / 0.1 + 0.5, 0, 1)
    return np.broadcast_to(shade, (N_FRAMES, SIZE, SIZE, 3))


@pytest.mark.parametrize("left", [1.0, 0.5, 0.0, 1.2])
def test_it_is_the_share_that_is_left(tracker, light, left):
    assert surviving_light(0.6 + left * light, light, tracker) == pytest.approx(left)
    assert surviving_light(0.6 + left * light, light, tracker, stride=1) == pytest.approx(left)


def test_flicker_that_knows_nothing_of_the_light_hardly_counts(tracker, light):
    flicker = 0.2 * np.random.default_rng(0).normal(size=light.shape)
    assert surviving_light(0.6 + light + flicker, light, tracker) == pytest.approx(1, abs=0.03)
    assert surviving_light(0.6 + flicker, light, tracker) == pytest.approx(0, abs=0.03)


def test_light_that_comes_late_survives_less(tracker, light):
    """A mean over neighbouring frames lets a part of a sudden change through, and says so."""
    lamp = 0.3 * (np.arange(N_FRAMES) >= 2)[:, None, None, None] * np.ones_like(light)
    softened = (np.roll(lamp, 1, 0) + lamp + np.roll(lamp, -1, 0)) / 3
    softened[[0, -1]] = lamp[[0, -1]]
    assert 0.2 < surviving_light(softened, lamp, tracker, stride=1) < 0.5


def test_what_cannot_be_measured(tracker, light):
    with pytest.raises(ConfigError, match="got 4 frames and 5 of light for 5"):
        surviving_light(light[:4], light, tracker)
    with pytest.raises(ConfigError, match="does not change"):
        surviving_light(light, np.zeros_like(light), tracker)
