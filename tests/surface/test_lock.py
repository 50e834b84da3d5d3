"""Laws of the surface lock, on real geometry: a ball that turns behind a box that slides past it."""

from functools import cache

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.errors import ConfigError
from genrender.metrics.light import surviving_light
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_error, surface_errors
from genrender.surface.flow import erode
from genrender.surface.light import LightConfig
from genrender.surface.lock import LockConfig, SurfaceLock, connected_pixels, locked_frames, needed_frames
from genrender.surface.sightings import GeometrySightings, UvSightings
from genrender.surface.steady import neighbours
from genrender.surface.tracking import SurfaceTracker

SIZE, N_FRAMES = 64, 10
VIEWS = (0, 3, 6, 9)


@cache
def scene():
    gbuffers, *rest = ball_behind_slab(N_FRAMES, 0.06, SIZE, slab_x=-0.3, eye=(2.4, 0.6))
    return gbuffers, *rest


@cache
def tracker():
    return SurfaceTracker(*scene())


def sightings(through="geometry"):
    return GeometrySightings(tracker()) if through == "geometry" else UvSightings(scene()[0])


def inside():
    return np.stack([erode(gbuffer.visible, 4) for gbuffer in scene()[0]])


def visible():
    return np.stack([gbuffer.visible for gbuffer in scene()[0]])


@cache
def pattern(seed=0):
    """Waves painted on the surface, 10 pixels long: functions of where a point lay in the first frame."""
    gbuffers, tris, verts, _ = scene()
    rng = np.random.default_rng(seed)
    turn, phase = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.uniform(0, 6, 3)
    frames = np.empty((N_FRAMES, SIZE, SIZE, 3), np.float32)
    for frame, gbuffer in zip(frames, gbuffers, strict=True):
        weights = np.concatenate([1 - gbuffer.bary.sum(axis=-1, keepdims=True), gbuffer.bary], axis=-1)
        points = np.einsum("hwk,hwkc->hwc", weights, verts[0][tris[gbuffer.tri_id]])
        frame[:] = np.where(gbuffer.visible[..., None], 0.5 + 0.15 * np.sin(20 * points @ turn + phase), 0.25)
    return frames


def quarrelling():
    """Frames that agree on half of their pattern only, as those of an image model do."""
    own = np.stack([pattern(10 + frame)[frame] for frame in range(N_FRAMES)])
    return (0.5 * pattern() + 0.5 * own).astype(np.float32)


def run(clip, strength=1.0, through="geometry", left_alone=(), light=None):
    lock = SurfaceLock(
        sightings(through), {view: clip[view] for view in VIEWS}, LockConfig(light=light or LightConfig())
    )
    return np.stack(list(locked_frames(clip, lock, strength, left_alone)))


def test_strength_mixes_and_background_stays():
    frames = quarrelling()
    np.testing.assert_array_equal(run(frames, 0.0), frames)
    whole = run(frames)
    np.testing.assert_array_equal(whole[~visible()], frames[~visible()])
    np.testing.assert_allclose(run(frames, 0.5), (frames + whole) / 2, atol=1e-6)


def test_a_part_of_a_clip_is_locked_as_in_the_whole():
    frames, light = quarrelling(), LightConfig(frames=2)
    lock = SurfaceLock(sightings(), {view: frames[view] for view in VIEWS}, LockConfig(light=light))
    whole = list(locked_frames(frames, lock))
    for wanted in (range(3), range(4, 6), range(5, N_FRAMES)):
        needed = needed_frames(wanted, N_FRAMES, config=lock.config)
        part = locked_frames(frames[needed.start : needed.stop], lock, wanted=wanted)
        np.testing.assert_array_equal(list(part), whole[wanted.start : wanted.stop])
    assert needed_frames(range(4, 6), N_FRAMES, 0.0) == range(4, 6)


@pytest.mark.parametrize("through", ["geometry", "uv"])
def test_a_pattern_that_frames_agree_on_stays(through):
    out = run(pattern(), through=through)
    assert np.abs(out - pattern())[inside()].mean() < 0.01
    assert 0.9 < sharpness(out, scene()[0]) / sharpness(pattern(), scene()[0]) < 1.1


@pytest.mark.parametrize("through", ["geometry", "uv"])
def test_frames_that_quarrel_agree_and_stay_sharp(through):
    frames = quarrelling()
    out = run(frames, through=through)
    for stride in (1, 4, "first"):
        before, after, clean = (surface_errors(clip, tracker(), stride) for clip in (frames, out, pattern()))
        # Waves of ten pixels are larger than the light's radius here, so some of them pass for light. What
        # reading between pixels adds to the error of steady details is in the clean clip's, too.
        assert after.surface < 0.5 * before.surface
        assert after.high - clean.high < 0.45 * (before.high - clean.high)
    assert 0.85 < sharpness(out, scene()[0]) / sharpness(frames, scene()[0]) < 1.15


def test_what_the_views_show_depends_on_the_point_alone():
    """The same surface point in two frames: colours differ by no more than reading between pixels does."""
    frames = quarrelling()
    lock = SurfaceLock(sightings(), {view: frames[view] for view in VIEWS})
    baked = np.stack([lock.baked(frame)[0] for frame in range(N_FRAMES)]).astype(np.float32)
    shown = np.where(visible()[..., None], baked, 0.25).astype(np.float32)
    assert surface_error(shown, tracker(), 4) < 1.5 * surface_error(pattern(), tracker(), 4)
    assert surface_error(frames, tracker(), 4) > 5 * surface_error(pattern(), tracker(), 4)


def lit(brightness):
    """The quarrelling frames, and what the light adds to them, at so much light in every frame."""
    frames = quarrelling()
    factor = np.where(visible(), np.asarray(brightness).reshape(-1, 1, 1), 1)[..., None]
    return (frames * factor).astype(np.float32), (frames * (factor - 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("brightness", "kept"),
    [(np.linspace(1, 0.6, N_FRAMES), 0.85), (np.where(np.arange(N_FRAMES) < 5, 0.5, 1.0), 0.9)],
    ids=["a fade", "a lamp that is switched on"],
)
def test_light_survives(brightness, kept):
    frames, light = lit(brightness)
    assert kept < surviving_light(run(frames), light, tracker()) < 1.15
    # The same frames shown as the views have them are frozen.
    lock = SurfaceLock(sightings(), {view: frames[view] for view in VIEWS})
    frozen = np.stack([lock.baked(frame)[0] for frame in range(N_FRAMES)]).astype(np.float32)
    assert surviving_light(frozen, light, tracker()) < 0.5


def test_tones_that_flicker_become_steady():
    rng = np.random.default_rng(0)
    tones = rng.normal(size=(N_FRAMES, 1, 1, 3)) * 0.03
    frames = np.where(visible()[..., None], pattern() + tones, pattern()).astype(np.float32)
    before, after = surface_error(frames, tracker()), surface_error(run(frames), tracker())
    assert after < 0.5 * before
    assert surface_error(run(frames, light=LightConfig(frames=0)), tracker()) > 0.8 * before


def test_frames_that_are_none_stay_and_tell_nothing():
    frames = quarrelling()
    black = frames.copy()
    black[4] = 0
    out = run(black, left_alone={4})
    np.testing.assert_array_equal(out[4], 0)
    assert out[3][inside()[3]].mean() == pytest.approx(run(frames)[3][inside()[3]].mean(), abs=0.02)


def test_frames_are_read_as_they_are_needed():
    frames = quarrelling()
    n_read = 0

    def source():
        nonlocal n_read
        for frame in frames:
            n_read += 1
            yield frame

    lock = SurfaceLock(
        sightings(), {view: frames[view] for view in VIEWS}, LockConfig(light=LightConfig(frames=2))
    )
    for index, _ in enumerate(locked_frames(source(), lock)):
        assert n_read == min(index + 3, N_FRAMES)


def test_points_are_found_through_uvs_where_geometry_finds_them():
    pixels = np.flatnonzero(inside()[2])
    exact, seen = sightings().find(2, pixels, 6)
    found, is_found = sightings("uv").find(2, pixels, 6)
    both = seen & is_found
    assert both.sum() > 0.9 * seen.sum()
    distance = np.linalg.norm(exact - found, axis=1)[both]
    assert np.median(distance) < 0.1
    assert np.quantile(distance, 0.9) < 0.5


def test_a_crease_is_no_edge_and_an_occluder_has_one():
    gbuffer = scene()[0][5]
    connected = connected_pixels(gbuffer)
    # Between two pixels of different objects, or of one and the background, there is always an edge.
    ids = gbuffer.object_id
    assert not connected[:, 1:][ids[:, 1:] != ids[:, :-1]].any()
    # On the ball and on the box' faces there is none.
    assert connected[erode(ids == 1, 2)].mean() > 0.95
    assert connected[erode(ids == 2, 2)].mean() > 0.95


def test_neighbours_stand_for_all_frames_in_reach():
    for reach in (1, 2, 3, 8, 20):
        of_either_side = [count for other, count in neighbours(50, 100, reach) if other < 50]
        assert sum(of_either_side) == reach
    assert {other for other, _ in neighbours(0, 100, 4)} == {1, 2, 4}


def test_bad_input_is_told():
    frames = quarrelling()
    with pytest.raises(ConfigError, match="no views"):
        SurfaceLock(sightings(), {})
    with pytest.raises(ConfigError, match="frame 0 is 32x32 pixels, but its G-buffer is 64x64"):
        SurfaceLock(sightings(), {0: frames[0][:32, :32]})
    lock = SurfaceLock(sightings(), {0: frames[0]})
    with pytest.raises(ConfigError, match=r"strength is 1\.5, expected 0 to 1"):
        locked_frames(frames, lock, 1.5)
    with pytest.raises(ConfigError, match="got 3 frames, expected 10"):
        list(locked_frames(frames[:3], lock))
    with pytest.raises(ConfigError, match="more than 10 frames"):
        list(locked_frames([*frames, frames[0]], lock))
