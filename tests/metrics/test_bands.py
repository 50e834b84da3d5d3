"""The two bands of surface error: flicker whose reach is known."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.metrics.surface import bands, surface_errors
from genrender.surface.tracking import SurfaceTracker

SIZE, N_FRAMES = 64, 4


@pytest.fixture(scope="module")
def still():
    """A clip in which nothing moves, so that pictures can be told apart pixel by pixel."""
    gbuffers, tris, verts, cameras = ball_behind_slab(N_FRAMES, 0.0, SIZE, 1)
    return SurfaceTracker([gbuffers[0]] * N_FRAMES, tris, [verts[0]] * N_FRAMES, [cameras[0]] * N_FRAMES)


def clip_of(change):
    """Grey frames of which every second one is changed."""
    frames = np.full((N_FRAMES, SIZE, SIZE, 3), 0.5)
    frames[1::2] += change
    return frames


def checkerboard():
    return (np.indices((SIZE, SIZE)).sum(0) % 2 * 2 - 1)[..., None]


def test_a_steady_clip_has_none(still):
    frames = np.repeat(np.random.default_rng(0).uniform(size=(1, SIZE, SIZE, 3)), N_FRAMES, axis=0)
    error = surface_errors(frames, still)
    assert error.low == error.high == 0


def test_brightness_that_breathes_is_in_the_low_band_alone(still):
    error = surface_errors(clip_of(0.2), still)
    assert error.low == pytest.approx(0.2)
    assert error.high == pytest.approx(0, abs=1e-9)


def test_details_that_change_are_in_the_high_band_alone(still):
    error = surface_errors(clip_of(0.2 * checkerboard()), still)
    assert error.high == pytest.approx(0.2, rel=0.1)
    assert error.low < 0.02


def test_the_bands_part_at_a_share_of_the_picture(still):
    """Waves much longer than the low band's radius of 4 pixels are low, those much shorter are high."""
    x = np.arange(SIZE)[None, :, None] * np.ones((SIZE, 1, 1))
    long, short = (surface_errors(clip_of(0.2 * np.sin(2 * np.pi * x / of)), still) for of in (48, 3))
    assert long.low > 4 * long.high
    assert short.high > 10 * short.low


def test_the_background_never_bleeds_in(still):
    noise = np.random.default_rng(0).uniform(size=(N_FRAMES, SIZE, SIZE, 3))
    outside = np.where(still.gbuffers[0].visible[..., None], 0.5, noise)
    error = surface_errors(outside, still)
    assert error.low == error.high == 0


def test_objects_do_not_bleed_into_each_other(still):
    """One object gets brighter, the other darker: each is low, and nothing is left for the high band."""
    ids = still.gbuffers[0].object_id[..., None]
    error = surface_errors(clip_of(np.where(ids == 1, 0.2, -0.2)), still)
    assert error.low == pytest.approx(0.2)
    assert error.high == pytest.approx(0, abs=1e-9)


def test_the_bands_add_up_to_the_change():
    gbuffers, *_ = ball_behind_slab(1, 0.0, SIZE, 1)
    where = gbuffers[0].visible
    change = np.random.default_rng(0).normal(size=(int(where.sum()), 3))
    low, high = bands(change, gbuffers[0], where)
    assert low + high == pytest.approx(change)
    assert np.abs(low).mean() < 0.2 * np.abs(high).mean()


def test_only_the_scenes_own_objects_count(still):
    """Like `foreground_error`: of a backdrop alone there is nothing to judge."""
    from genrender.scene.backdrop_ids import GROUND_ID

    ground = replace(
        still.gbuffers[0],
        object_id=np.where(still.gbuffers[0].visible, GROUND_ID, 0).astype(np.int32),
    )
    tracker = SurfaceTracker([ground] * N_FRAMES, still.tris, still._verts, still._cameras)
    error = surface_errors(clip_of(0.2), tracker)
    assert (error.low, error.high, error.background) == (None, None, pytest.approx(0.2))
