"""Laws of the surface stabiliser, on real geometry: a ball that turns behind a box that slides past it."""

from functools import cache

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.errors import ConfigError
from genrender.gbuffer.raycast import render_gbuffer
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_error
from genrender.scene.camera import Camera
from genrender.surface.flow import erode
from genrender.surface.stabiliser import StabiliserConfig, stabilised
from genrender.surface.tracking import SurfaceTracker

SIZE, N_FRAMES = 64, 11
DEFAULT, NARROW = StabiliserConfig(), StabiliserConfig(radius=2, sigma_frames=2.0)


@cache
def moving_scene():
    """Occlusion both ways; the box hides more and more of the ball, then less."""
    gbuffers, *rest = ball_behind_slab(N_FRAMES, 0.06, SIZE, slab_x=-0.3, eye=(2.4, 0.6))
    return SurfaceTracker(gbuffers, *rest), *rest


def geometry():
    tracker, tris, verts, cameras = moving_scene()
    return tracker.gbuffers, tris, verts, cameras


def visible():
    return np.stack([gbuffer.visible for gbuffer in moving_scene()[0].gbuffers])


def inside():
    return np.stack([erode(gbuffer.visible, 2) for gbuffer in moving_scene()[0].gbuffers])


@cache
def baked():
    """A texture on the surface: a function of where the point lay in the first frame, 9 pixels per wave."""
    gbuffers, tris, verts, _ = geometry()
    frames = np.empty((N_FRAMES, SIZE, SIZE, 3), np.float32)
    for frame, gbuffer in zip(frames, gbuffers, strict=True):
        weights = np.concatenate([1 - gbuffer.bary.sum(axis=-1, keepdims=True), gbuffer.bary], axis=-1)
        points = np.einsum("hwk,hwkc->hwc", weights, verts[0][tris[gbuffer.tri_id]])
        frame[:] = np.where(gbuffer.visible[..., None], 0.5 + 0.2 * np.sin(22 * points), 0.25)
    return frames


def flicker(grain_px=3, spread=0.04):
    """Independent from frame to frame: half of it common to the picture, half of it in grains."""
    rng = np.random.default_rng(1)
    common, own = rng.normal(size=(N_FRAMES, 1, 1, 1)), rng.normal(size=(N_FRAMES, SIZE, SIZE, 3))
    for axis in (1, 2):
        own = sum(np.roll(own, k, axis) for k in range(grain_px)) / np.sqrt(grain_px)
    noise = spread * np.sqrt(0.5) * (common + own)
    return np.where(visible()[..., None], noise, 0).astype(np.float32)


def run(frames, strength=1.0, config=DEFAULT):
    return np.stack(list(stabilised(frames, moving_scene()[0], strength, config)))


def test_strength_0_yields_the_frames_to_the_bit():
    frames = baked() + flicker()
    np.testing.assert_array_equal(run(frames, 0.0), frames)
    tracker = moving_scene()[0]
    counted = Counted(frames)
    next(stabilised(counted, tracker, 0))
    assert counted.n_read == 1


def test_strength_mixes_the_frames_with_their_averages():
    frames = baked() + flicker()
    half = run(frames, 0.5, NARROW)
    np.testing.assert_allclose(half, (frames + run(frames, 1.0, NARROW)) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "mean", "kept"), [("matched", 0.004, 0.9), ("catmull-rom", 0.006, 0.85)]
)
def test_a_texture_on_the_surface_stays(sampling, mean, kept):
    out = run(baked(), config=StabiliserConfig(sampling=sampling))
    change = np.abs(out - baked())[inside()]
    assert change.mean() < mean
    assert np.quantile(change, 0.99) < 10 * mean
    gbuffers = moving_scene()[0].gbuffers
    assert kept < sharpness(out, gbuffers) / sharpness(baked(), gbuffers) < 1.1


def test_matched_samples_keep_more_of_a_texture_than_bilinear_ones():
    gbuffers = moving_scene()[0].gbuffers
    ratio = [
        sharpness(run(baked(), config=StabiliserConfig(sampling=sampling)), gbuffers)
        for sampling in ("bilinear", "catmull-rom", "matched")
    ]
    assert ratio == sorted(ratio)


# Pictures are decoded from coarser latents, so their flicker has grains; what is finer, `matched` keeps.
@pytest.mark.parametrize(("sampling", "grain_px"), [("matched", 3), ("catmull-rom", 3), ("catmull-rom", 1)])
def test_flicker_falls_by_more_than_half(sampling, grain_px):
    noisy = baked() + flicker(grain_px)
    out = run(noisy, config=StabiliserConfig(sampling=sampling))
    assert (out - baked())[inside()].std() < 0.47 * (noisy - baked())[inside()].std()
    assert surface_error(out, moving_scene()[0]) < 0.4 * surface_error(noisy, moving_scene()[0])


def test_flicker_of_one_pixel_falls_where_nothing_moves():
    gbuffers, tris, verts, cameras = geometry()
    n_frames = 24
    still = SurfaceTracker(gbuffers[:1] * n_frames, tris, verts[:1] * n_frames, cameras[:1] * n_frames)
    seen = gbuffers[0].visible
    noise = np.random.default_rng(0).normal(size=(n_frames, SIZE, SIZE, 3)) * 0.04
    frames = np.where(seen[..., None], baked()[0] + noise, baked()[0]).astype(np.float32)
    out = np.stack(list(stabilised(frames, still, 1.0)))
    assert out[:, seen].std(axis=0).mean() < 0.4 * frames[:, seen].std(axis=0).mean()
    unchanging = [baked()[0]] * n_frames
    np.testing.assert_array_equal(list(stabilised(unchanging, still, 1.0)), unchanging)


def test_a_slow_fade_survives_at_the_ends_as_in_the_middle():
    level = np.linspace(1.0, 0.7, N_FRAMES)[:, None, None, None]
    seen = visible()[..., None]
    frames = np.where(seen, 0.6 * level, np.full(3, 0.25)).astype(np.float32)
    np.testing.assert_allclose(run(frames), frames, atol=2e-3)
    # A texture under that light is as bright as before in every frame.
    frames = np.where(seen, baked() * level, 0.25).astype(np.float32)
    gain = [
        (after[mask] / before[mask]).mean()
        for before, after, mask in zip(frames, run(frames), inside(), strict=True)
    ]
    np.testing.assert_allclose(gain, 1, atol=0.01)


def test_a_shadow_that_falls_at_once_does_not_smear():
    level = np.where(np.arange(N_FRAMES) < 5, 0.8, 0.4)[:, None, None, None]
    frames = np.where(visible()[..., None], level, np.full(3, 0.25)).astype(np.float32)
    np.testing.assert_allclose(run(frames), frames, atol=1e-5)


def test_nothing_crosses_an_edge():
    """The objects differ by less than the colour tolerance: only geometry can keep them apart."""
    gbuffers = moving_scene()[0].gbuffers
    colours = np.array([[0.2, 0.2, 0.2], [0.5, 0.5, 0.4], [0.4, 0.5, 0.6]], np.float32)
    frames = np.stack([colours[gbuffer.object_id] for gbuffer in gbuffers])
    for sampling in ("matched", "catmull-rom", "bilinear"):
        np.testing.assert_allclose(run(frames, config=StabiliserConfig(sampling=sampling)), frames, atol=1e-6)


def test_background_is_untouched():
    frames = (baked() + flicker()).copy()
    frames[~visible()] = np.random.default_rng(2).uniform(0, 1, ((~visible()).sum(), 3))
    np.testing.assert_array_equal(run(frames)[~visible()], frames[~visible()])


def test_a_point_that_no_other_frame_shows_is_untouched():
    tracker, tris, verts, cameras = moving_scene()
    away = Camera.look_at(np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 9.0]))
    nothing = render_gbuffer(
        verts[0],
        tris,
        np.zeros((len(tris), 3, 2), np.float32),
        np.ones(len(tris), np.int32),
        away,
        SIZE,
        SIZE,
    )
    lonely = SurfaceTracker([tracker.gbuffers[0], nothing], tris, verts[:2], [cameras[0], away])
    frames = (baked() + flicker())[:2]
    np.testing.assert_array_equal(list(stabilised(frames, lonely, 1.0)), frames)


class Counted:
    """An iterator that knows how much of it was read."""

    def __init__(self, frames):
        self.frames, self.n_read = frames, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.n_read == len(self.frames):
            raise StopIteration
        self.n_read += 1
        return self.frames[self.n_read - 1]


def test_no_more_is_read_ahead_than_the_window():
    source = Counted(baked())
    for j, _ in enumerate(stabilised(source, moving_scene()[0], 1.0, NARROW)):
        assert source.n_read == min(j + NARROW.radius + 1, N_FRAMES)


def test_frames_out_of_reach_do_not_matter():
    frames = baked() + flicker()
    other = frames.copy()
    other[NARROW.radius + 1 :] = 0.5
    np.testing.assert_array_equal(run(frames, config=NARROW)[0], run(other, config=NARROW)[0])


def test_it_does_not_matter_how_frames_are_fed():
    frames = baked() + flicker()
    expected = run(frames, config=NARROW)

    def reused():
        memory = np.empty_like(frames[0])
        for frame in frames:
            memory[:] = frame
            yield memory

    np.testing.assert_array_equal(run(list(frames), config=NARROW), expected)
    np.testing.assert_array_equal(run(reused(), config=NARROW), expected)
    unchanged = baked() + flicker()
    np.testing.assert_array_equal(frames, unchanged)


def test_arguments_that_do_not_fit():
    tracker = moving_scene()[0]
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="expected 0 to 1"):
            stabilised(baked(), tracker, strength)
    for config in (
        StabiliserConfig(radius=0),
        StabiliserConfig(sigma_frames=0.0),
        StabiliserConfig(colour_tolerance=0.0),
        StabiliserConfig(slope_radius_px=-1),
    ):
        with pytest.raises(ConfigError, match="expected"):
            stabilised(baked(), tracker, 1.0, config)
    with pytest.raises(ConfigError, match="got 3 frames, expected 11"):
        list(stabilised(baked()[:3], tracker, 0.0))
    with pytest.raises(ConfigError, match="more than 11 frames"):
        list(stabilised(np.concatenate([baked(), baked()]), tracker, 0.0))
    with pytest.raises(ConfigError, match="frame 0 is 32x32 pixels, but its G-buffer is 64x64"):
        list(stabilised(baked()[:, :32, :32], tracker, 1.0))
