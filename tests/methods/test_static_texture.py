"""A baked appearance is what its sources show, everywhere and in every frame."""

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.methods.static_texture import static_texture
from genrender.metrics.surface import surface_error
from genrender.surface.flow import erode, follow
from genrender.surface.tracking import SurfaceTracker

CLIP = {"n_frames": 6, "step": 0.12}


@pytest.fixture(scope="module")
def tracker() -> SurfaceTracker:
    gbuffers, tris, verts, cameras = ball_behind_slab(**CLIP)
    return SurfaceTracker(gbuffers, tris, verts, cameras)


def painted(gbuffer) -> np.ndarray:
    """A smooth colour for every surface point, another one for the background."""
    u, v = gbuffer.uv[..., 0], gbuffer.uv[..., 1]
    color = np.stack(
        [0.5 + 0.4 * np.sin(2 * np.pi * u), v, np.full_like(u, 0.3 * gbuffer.object_id.max())], -1
    )
    return np.where(gbuffer.visible[..., None], color, 0.25).astype(np.float32)


def test_points_keep_the_colour_that_a_source_gave_them(tracker):
    sources = [0, 3]
    pictures = np.stack([painted(tracker.gbuffers[source]) for source in sources])
    frames = list(static_texture(pictures, sources, tracker))
    assert len(frames) == len(tracker.gbuffers)
    for source, picture in zip(sources, pictures, strict=True):
        inside = tracker.gbuffers[source].visible
        error = np.abs(frames[source] - picture)[inside].mean()
        assert error < 0.01
    np.testing.assert_array_equal(frames[0][~tracker.gbuffers[0].visible], np.float32(0.25))


def test_noise_that_differs_between_sources_is_steady_once_it_is_baked(tracker):
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 12, 12, 3)).astype(np.float32)
    pictures = coarse.repeat(8, axis=1).repeat(8, axis=2)
    baked = list(static_texture(pictures, [1, 4], tracker))
    loose = [rng.random((12, 12, 3)).repeat(8, axis=0).repeat(8, axis=1) for _ in tracker.gbuffers]
    errors = [surface_error(frames, tracker) for frames in (baked, loose)]
    assert errors[0] < 0.15 * errors[1]


def test_what_no_source_shows_takes_its_objects_mean_colour(tracker):
    gbuffers = tracker.gbuffers
    picture = np.zeros((*gbuffers[0].depth.shape, 3), np.float32)
    picture[gbuffers[0].object_id == 1] = [1, 0, 0]
    picture[gbuffers[0].object_id == 2] = [0, 0, 1]
    last = list(static_texture(picture[None], [0], tracker))[-1]
    for object_id, color in ((1, [1, 0, 0]), (2, [0, 0, 1])):
        shown = erode(gbuffers[-1].object_id == object_id, 1)
        back = follow(tracker, len(gbuffers) - 1, 0)
        hidden = shown & ~back.visible
        assert hidden.sum() > 20
        np.testing.assert_allclose(last[hidden], np.broadcast_to(color, last[hidden].shape), atol=0.05)
