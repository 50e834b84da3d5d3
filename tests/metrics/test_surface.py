"""Surface error: pictures whose error is known."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.errors import ConfigError
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.raycast import render_gbuffer
from genrender.metrics.surface import surface_error, surface_errors
from genrender.scene.backdrop_ids import GROUND_ID
from genrender.scene.camera import Camera
from genrender.surface.tracking import SurfaceTracker

SIZE = 96


def moving_scene(step=0.08):
    return ball_behind_slab(4, step, SIZE)


def surface_points(gbuffer, tris, verts):
    weights = np.concatenate([1 - gbuffer.bary.sum(axis=-1, keepdims=True), gbuffer.bary], axis=-1)
    return np.einsum(
        "hwk,hwkc->hwc", weights.astype(np.float64), verts[tris[gbuffer.tri_id]].astype(np.float64)
    )


def textured_by_surface(gbuffers, tris, verts):
    """Frames whose colour is a smooth function of where the surface point lies at the clip's beginning."""
    return np.stack(
        [
            np.where(g.visible[..., None], 0.5 + 0.5 * np.sin(4 * surface_points(g, tris, verts[0])), 0)
            for g in gbuffers
        ]
    )


def test_a_picture_painted_on_the_surface_has_no_error():
    gbuffers, tris, verts, cameras = moving_scene()
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    frames = textured_by_surface(gbuffers, tris, verts)
    assert surface_error(frames, tracker) < 0.003
    assert surface_error(frames, tracker, stride=3) < 0.003


def test_order_of_methods():
    gbuffers, tris, verts, cameras = moving_scene()
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    rng = np.random.default_rng(0)
    painted = textured_by_surface(gbuffers, tris, verts)
    screen_fixed = np.broadcast_to(painted[:1], painted.shape)
    noise = rng.uniform(0, 1, painted.shape)
    half_noise = (painted + noise) / 2
    errors = [surface_error(frames, tracker) for frames in (painted, screen_fixed, half_noise, noise)]
    assert errors == sorted(errors)
    assert errors[0] < 0.05 * errors[1]
    assert errors[3] > 0.2


def test_a_still_clip_has_exactly_no_error():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = np.repeat(np.random.default_rng(0).uniform(0, 1, (1, SIZE, SIZE, 3)), 3, axis=0)
    assert surface_error(frames, SurfaceTracker(gbuffers[:1] * 3, tris, verts[:1] * 3, cameras[:1] * 3)) == 0


def test_the_error_is_the_mean_over_pixels_and_channels():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = np.zeros((2, SIZE, SIZE, 3), np.float32)
    frames[1] = (0.3, 0.6, 0.0)
    error = surface_error(frames, SurfaceTracker(gbuffers[:1] * 2, tris, verts[:1] * 2, cameras[:1] * 2))
    assert error == pytest.approx(0.3)


def test_a_colour_outside_the_surface_does_not_count():
    gbuffers, tris, verts, cameras = moving_scene()
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    frames = textured_by_surface(gbuffers, tris, verts)
    background = np.random.default_rng(0).uniform(0, 1, frames.shape)
    visible = np.stack([g.visible for g in gbuffers])
    noisy = np.where(visible[..., None], frames, background)
    assert surface_error(noisy, tracker) == surface_error(frames, tracker)


def test_foreground_and_background_are_told_apart():
    """The second object as a backdrop: each part's error is that of its own pixels alone."""
    gbuffers, tris, verts, cameras = moving_scene()
    gbuffers = [
        replace(g, object_id=np.where(g.object_id == 2, GROUND_ID, g.object_id).astype(g.object_id.dtype))
        for g in gbuffers
    ]
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    steady = textured_by_surface(gbuffers, tris, verts)
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 1, steady.shape)
    ids = np.stack([g.object_id for g in gbuffers])[..., None]
    on_own, on_ground, on_nothing = (
        surface_errors(np.where(where, noise, steady), tracker)
        for where in (ids == 1, ids == GROUND_ID, ids == 0)
    )
    assert on_own.foreground > 0.2 > 0.01 > on_own.background
    assert on_ground.background > 0.03 > 0.01 > on_ground.foreground  # a sixth of the background
    # What shows nothing is compared in place, and is no surface.
    assert on_nothing.background > 0.1 > 0.01 > on_nothing.foreground
    assert on_nothing.surface < 0.01
    # Without an object there is no foreground to judge.
    nothing_own = [replace(g, object_id=np.where(g.visible, GROUND_ID, 0).astype(np.int32)) for g in gbuffers]
    assert surface_errors(steady, SurfaceTracker(nothing_own, tris, verts, cameras)).foreground is None


def test_arguments_that_do_not_fit(tmp_path):
    gbuffers, tris, verts, cameras = moving_scene()
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    frames = np.zeros((4, SIZE, SIZE, 3), np.float32)
    with pytest.raises(ConfigError, match="got 3 frames for 4 G-buffers, expected one for each"):
        surface_error(frames[:3], tracker)
    for stride in (0, 4):
        with pytest.raises(ConfigError, match="expected 1 to 3 for 4 frames"):
            surface_error(frames, tracker, stride)
    write_exr(tmp_path / "a.exr", gbuffers[0])
    from_file = [read_exr(tmp_path / "a.exr")] * 4
    with pytest.raises(ConfigError, match="know no triangles"):
        SurfaceTracker(from_file, tris, verts, cameras)
    away = [Camera.look_at(np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 9.0]))] * 4
    uvs = np.zeros((len(tris), 3, 2), np.float32)
    empty = [render_gbuffer(v, tris, uvs, np.ones(len(tris), np.int32), away[0], SIZE, SIZE) for v in verts]
    with pytest.raises(ConfigError, match="nothing to compare"):
        surface_error(frames, SurfaceTracker(empty, tris, verts, away))


def test_quarters_tell_when_colours_changed():
    gbuffers, tris, verts, cameras = ball_behind_slab(8, 0.0, SIZE, 1)
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    frames = np.zeros((8, SIZE, SIZE, 3))
    frames[5:] = 0.25  # one change, in the third quarter (frames 4 and 5)
    adjacent = surface_errors(frames, tracker, 1)
    assert adjacent.quarters == pytest.approx((0, 0, 0.125, 0))
    assert surface_errors(frames, tracker, "first").quarters == pytest.approx((0, 0, 0.125, 0.25))
    assert surface_errors(frames, tracker, 4).quarters[:2] == (None, None)
