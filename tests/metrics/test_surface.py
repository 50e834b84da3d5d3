"""Surface error: correspondence against brute force, and pictures whose error is known."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.errors import ConfigError
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.raycast import render_gbuffer
from genrender.metrics.surface import correspond, erode, surface_error, surface_errors
from genrender.scene.camera import Camera
from genrender.scene.scene import GROUND_ID
from genrender.surface.tracking import sample_bilinear

SIZE = 96


def moving_scene(step=0.08, n_objects=2):
    return ball_behind_slab(4, step, SIZE, n_objects)


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


@pytest.mark.parametrize("n_objects", [1, 2])
def test_correspondence_agrees_with_brute_force(n_objects):
    # As one object, only the depth tells what hides what.
    gbuffers, tris, verts, cameras = moving_scene(step=0.16, n_objects=n_objects)
    a, b = gbuffers[3], gbuffers[0]
    flow = correspond(a, tris, verts[0], cameras[0], b)
    eye = cameras[0].world_from_camera[:3, 3]
    interior = erode(a.visible, 2)
    truth, far_from_edges = np.zeros_like(flow.visible), np.zeros_like(flow.visible)
    smooth = erode(b.visible & ~has_depth_jump(b.depth, 0.15), 3)
    for row, column in zip(*np.nonzero(interior), strict=True):
        # 1. The point, from its triangle's corners.
        corners = verts[0][tris[a.tri_id[row, column]]].astype(np.float64)
        second, third = a.bary[row, column].astype(np.float64)
        point = corners[0] + second * (corners[1] - corners[0]) + third * (corners[2] - corners[0])
        # 2. Its place in picture b.
        xy, _ = cameras[0].project(point[None], SIZE, SIZE)
        if flow.visible[row, column]:
            np.testing.assert_allclose(flow.xy[row, column], xy[0], atol=1 / 256)
        far_from_edges[row, column] = smooth[int(xy[0, 1]), int(xy[0, 0])]
        # 3. Visible if nothing lies between it and the eye.
        truth[row, column] = not is_blocked(eye, point, verts[0][tris].astype(np.float64))
    assert truth.sum() > 1000
    assert (interior & ~truth).sum() > 100, "the scene must hide something"
    assert not (flow.visible & ~truth).any()
    # Nothing is left out but what lies close to an edge in b.
    assert (truth & far_from_edges).sum() > 500, "too few pixels to mean anything"
    assert flow.visible[truth & far_from_edges].all()


def has_depth_jump(depth, size):
    """True next to a place where two neighbouring pixels are this far apart."""
    jump = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        near, far = np.split(np.stack([depth, np.roll(depth, -1, axis)]), 2)
        with np.errstate(invalid="ignore"):  # background beside background
            step = np.abs(near[0] - far[0]) > size
        jump |= step | np.roll(step, 1, axis)
    return jump


def is_blocked(eye, point, corners) -> bool:
    """Whether any triangle lies between the eye and a little before the point (Möller and Trumbore)."""
    direction = point - eye
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(direction, edge_2)
    determinant = np.sum(p * edge_1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_corner = eye - corners[:, 0]
        u = np.sum(from_corner * p, axis=1) / determinant
        q = np.cross(from_corner, edge_1)
        v = q @ direction / determinant
        t = np.sum(q * edge_2, axis=1) / determinant
    return bool(np.any((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < 1 - 2e-3)))


def test_a_picture_painted_on_the_surface_has_no_error():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = textured_by_surface(gbuffers, tris, verts)
    assert surface_error(frames, gbuffers, tris, verts, cameras) < 0.003
    assert surface_error(frames, gbuffers, tris, verts, cameras, stride=3) < 0.003


def test_order_of_methods():
    gbuffers, tris, verts, cameras = moving_scene()
    rng = np.random.default_rng(0)
    painted = textured_by_surface(gbuffers, tris, verts)
    screen_fixed = np.broadcast_to(painted[:1], painted.shape)
    noise = rng.uniform(0, 1, painted.shape)
    half_noise = (painted + noise) / 2
    errors = [
        surface_error(frames, gbuffers, tris, verts, cameras)
        for frames in (painted, screen_fixed, half_noise, noise)
    ]
    assert errors == sorted(errors)
    assert errors[0] < 0.05 * errors[1]
    assert errors[3] > 0.2


def test_a_still_clip_has_exactly_no_error():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = np.repeat(np.random.default_rng(0).uniform(0, 1, (1, SIZE, SIZE, 3)), 3, axis=0)
    assert surface_error(frames, gbuffers[:1] * 3, tris, verts[:1] * 3, cameras[:1] * 3) == 0


def test_the_error_is_the_mean_over_pixels_and_channels():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = np.zeros((2, SIZE, SIZE, 3), np.float32)
    frames[1] = (0.3, 0.6, 0.0)
    error = surface_error(frames, gbuffers[:1] * 2, tris, verts[:1] * 2, cameras[:1] * 2)
    assert error == pytest.approx(0.3)


def test_a_colour_outside_the_surface_does_not_count():
    gbuffers, tris, verts, cameras = moving_scene()
    frames = textured_by_surface(gbuffers, tris, verts)
    background = np.random.default_rng(0).uniform(0, 1, frames.shape)
    visible = np.stack([g.visible for g in gbuffers])
    noisy = np.where(visible[..., None], frames, background)
    assert surface_error(noisy, gbuffers, tris, verts, cameras) == surface_error(
        frames, gbuffers, tris, verts, cameras
    )


def test_foreground_and_background_are_told_apart():
    """The second object as a backdrop: each part's error is that of its own pixels alone."""
    gbuffers, tris, verts, cameras = moving_scene()
    gbuffers = [
        replace(g, object_id=np.where(g.object_id == 2, GROUND_ID, g.object_id).astype(g.object_id.dtype))
        for g in gbuffers
    ]
    steady = textured_by_surface(gbuffers, tris, verts)
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 1, steady.shape)
    ids = np.stack([g.object_id for g in gbuffers])[..., None]
    on_own, on_ground, on_nothing = (
        surface_errors(np.where(where, noise, steady), gbuffers, tris, verts, cameras)
        for where in (ids == 1, ids == GROUND_ID, ids == 0)
    )
    assert on_own.foreground > 0.2 > 0.01 > on_own.background
    assert on_ground.background > 0.03 > 0.01 > on_ground.foreground  # a sixth of the background
    # What shows nothing is compared in place, and is no surface.
    assert on_nothing.background > 0.1 > 0.01 > on_nothing.foreground
    assert on_nothing.surface < 0.01
    # Without an object there is no foreground to judge.
    nothing_own = [replace(g, object_id=np.where(g.visible, GROUND_ID, 0).astype(np.int32)) for g in gbuffers]
    assert surface_errors(steady, nothing_own, tris, verts, cameras).foreground is None


def test_a_slanted_floor_is_visible_up_to_the_horizon():
    verts = np.array([[-50, 0, 5], [50, 0, 5], [50, 0, -60], [-50, 0, -60]], np.float32)
    tris = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    cameras = [
        Camera.look_at(np.array([0.3 * frame, 1.0, 0.0]), np.array([0.3 * frame, 0.2, -3.0]))
        for frame in range(2)
    ]
    gbuffers = [
        render_gbuffer(verts, tris, np.zeros((2, 3, 2), np.float32), np.ones(2, np.int32), camera, SIZE, SIZE)
        for camera in cameras
    ]
    flow = correspond(gbuffers[1], tris, verts, cameras[0], gbuffers[0])
    assert flow.visible.sum() > 0.85 * erode(gbuffers[1].visible, 2).sum()


def test_sampling_between_pixels():
    picture = np.arange(12.0).reshape(3, 4, 1)
    xy = np.array([[0.5, 0.5], [3.5, 2.5], [1.0, 0.5], [0.5, 1.0], [1.25, 1.75], [0.0, 0.0]])
    np.testing.assert_allclose(sample_bilinear(picture, xy)[:, 0], [0, 11, 0.5, 2, 5.75, 0])


def test_erosion():
    mask = np.zeros((9, 9), bool)
    mask[2:9, 1:7] = True
    eroded = erode(mask, 2)
    expected = np.zeros((9, 9), bool)
    expected[4:9, 3:5] = True  # the picture's lower border is no edge of the surface
    np.testing.assert_array_equal(eroded, expected)


def test_arguments_that_do_not_fit(tmp_path):
    gbuffers, tris, verts, cameras = moving_scene()
    frames = np.zeros((4, SIZE, SIZE, 3), np.float32)
    with pytest.raises(ConfigError, match="got 4 frames, 3 G-buffers"):
        surface_error(frames, gbuffers[:3], tris, verts, cameras)
    for stride in (0, 4):
        with pytest.raises(ConfigError, match="expected 1 to 3 for 4 frames"):
            surface_error(frames, gbuffers, tris, verts, cameras, stride)
    write_exr(tmp_path / "a.exr", gbuffers[0])
    from_file = [read_exr(tmp_path / "a.exr")] * 4
    with pytest.raises(ConfigError, match="know no triangles"):
        surface_error(frames, from_file, tris, verts, cameras)
    away = [Camera.look_at(np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 9.0]))] * 4
    uvs = np.zeros((len(tris), 3, 2), np.float32)
    empty = [render_gbuffer(v, tris, uvs, np.ones(len(tris), np.int32), away[0], SIZE, SIZE) for v in verts]
    with pytest.raises(ConfigError, match="nothing to compare"):
        surface_error(frames, empty, tris, verts, away)


def test_quarters_tell_when_colours_changed():
    gbuffers, tris, verts, cameras = ball_behind_slab(8, 0.0, SIZE, 1)
    frames = np.zeros((8, SIZE, SIZE, 3))
    frames[5:] = 0.25  # one change, in the third quarter (frames 4 and 5)
    adjacent = surface_errors(frames, gbuffers, tris, verts, cameras, 1)
    assert adjacent.quarters == pytest.approx((0, 0, 0.125, 0))
    assert surface_errors(frames, gbuffers, tris, verts, cameras, "first").quarters == pytest.approx(
        (0, 0, 0.125, 0.25)
    )
    assert surface_errors(frames, gbuffers, tris, verts, cameras, 4).quarters[:2] == (None, None)
