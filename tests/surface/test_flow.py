"""Correspondence between frames against brute force, and sampling between pixels."""

import numpy as np
import pytest
from scenes import ball_behind_slab

from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.surface.flow import erode, follow
from genrender.surface.tracking import SurfaceTracker, sample_bilinear

SIZE = 96


@pytest.mark.parametrize("n_objects", [1, 2])
def test_correspondence_agrees_with_brute_force(n_objects):
    # As one object, only the depth tells what hides what.
    gbuffers, tris, verts, cameras = ball_behind_slab(4, 0.16, SIZE, n_objects)
    a, b = gbuffers[3], gbuffers[0]
    flow = follow(SurfaceTracker(gbuffers, tris, verts, cameras), 3, 0)
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
    flow = follow(SurfaceTracker(gbuffers, tris, [verts] * 2, cameras), 1, 0)
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
