"""How large frames see surface points: agreement with areas of projected triangles, and hard scenes."""

from dataclasses import replace

import numpy as np
import pytest
from scenes import ball_behind_slab, panned_plane

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.surface.lock import SurfaceLock
from genrender.surface.sightings import GeometrySightings, UvSightings
from genrender.surface.tracking import SurfaceTracker

SIZE = 48


def seen(verts, tris, cameras):
    """A tracker of one object."""
    uvs, ids = np.zeros((len(tris), 3, 2), np.float32), np.ones(len(tris), np.int32)
    gbuffers: list[GBuffer] = [
        render_gbuffer(each, tris, uvs, ids, camera, SIZE, SIZE)
        for each, camera in zip(verts, cameras, strict=True)
    ]
    return SurfaceTracker(gbuffers, tris, verts, cameras)


def floor_below_the_camera(n_frames=3):
    """Two triangles that go on behind a camera that strafes: of each a corner lies behind it."""
    tris = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    verts = np.array([[-5, 0, -5], [-5, 0, 5], [5, 0, 5], [5, 0, -5]], np.float32)
    cameras = [
        Camera.look_at(np.array([0.2 * frame, 1.0, 2.0]), np.array([0.2 * frame, 0.3, 0.0]))
        for frame in range(n_frames)
    ]
    return seen([verts] * n_frames, tris, cameras)


@pytest.mark.parametrize("ymag", [None, 1.2], ids=["perspective", "orthographic"])
def test_sizes_agree_with_projected_areas(ymag):
    _, tris, verts, cameras = ball_behind_slab(2, 0.1, SIZE, 1)
    tris = tris[:-12]  # the ball: on a box sizes are means over all that meets at a corner
    tracker = seen(verts, tris, [replace(camera, ymag=ymag) for camera in cameras])
    pixels = np.flatnonzero(tracker.gbuffers[0].visible)
    sizes = GeometrySightings(tracker).size(0, pixels, 1)
    tri_id = tracker.gbuffers[0].tri_id.ravel()[pixels]
    corners = verts[1][tris[tri_id]].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    expected = tracker.pixel_area(tri_id, 1) / area
    # Of flat triangles; between them sizes are means.
    assert np.median(np.abs(sizes / expected - 1)) < 0.05


def test_a_floor_that_goes_on_behind_the_camera_is_locked():
    tracker = floor_below_the_camera()
    sightings, pixels = GeometrySightings(tracker), np.flatnonzero(tracker.gbuffers[1].visible)
    sizes = sightings.size(1, pixels, 0)
    # An area of the floor falls with the third power of its depth.
    depth = tracker.gbuffers[1].depth.ravel()[pixels]
    np.testing.assert_allclose(sizes * depth**3, (sizes * depth**3)[0], rtol=1e-3)
    frames = np.random.default_rng(0).uniform(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    known = SurfaceLock(sightings, {0: frames[0], 2: frames[2]}).baked(1)[1]
    assert known[tracker.gbuffers[1].visible].mean() > 0.8


def test_what_is_hidden_by_making_it_small_has_places_of_its_own_afterwards():
    _, tris, verts, cameras = ball_behind_slab(2, 0.1, SIZE, 1)
    hidden = seen([0 * verts[0], *verts], tris, [cameras[0], *cameras])
    shown = seen(verts, tris, cameras)
    pixels = np.flatnonzero(shown.gbuffers[0].visible)
    expected = GeometrySightings(shown).size(0, pixels, 1)
    np.testing.assert_allclose(GeometrySightings(hidden).size(1, pixels, 2), expected)


@pytest.mark.parametrize("half_width", [0.8, 10, 40])
def test_points_of_close_ups_are_found_through_uvs(half_width):
    """However many pixels a texel fills, and nothing beyond the picture's or the surface's end."""
    here, there = (panned_plane(SIZE, shift, half_width) for shift in (0.0, 0.05))
    pixels = np.flatnonzero(here.visible)
    xy, found = UvSightings([here, there]).find(0, pixels, 1)
    x = pixels % SIZE + 0.5 + 0.05 * SIZE
    inside = x <= SIZE - 0.5
    assert found[inside].all()
    assert not found[~inside].any()
    np.testing.assert_allclose(xy[found], np.stack([x, pixels // SIZE + 0.5], 1)[found], atol=0.02)


def test_what_another_frame_hides_is_not_found_beside_it_through_uvs():
    gbuffers, tris, verts, cameras = ball_behind_slab(10, 0.06, 96)
    pixels = np.flatnonzero(gbuffers[2].visible)
    exact, seen_there = GeometrySightings(SurfaceTracker(gbuffers, tris, verts, cameras)).find(2, pixels, 6)
    xy, found = UvSightings(gbuffers).find(2, pixels, 6)
    assert (found & seen_there).sum() > 0.95 * seen_there.sum()
    assert np.median(np.linalg.norm(xy - exact, axis=1)[found & seen_there]) < 0.01
    assert (found & ~seen_there).sum() < 0.3 * (~seen_there).sum()


def test_what_is_kept_of_a_frame_to_find_points_through_uvs_is_small():
    gbuffers = ball_behind_slab(2, 0.1, SIZE, 1)[0]
    sightings = UvSightings(gbuffers)
    sightings.size(0, np.flatnonzero(gbuffers[0].visible), 1)
    (kept,) = sightings._maps.values()
    arrays = [kept.uv, kept.pixels_per_uv, kept.size, *(array for level in kept.levels for array in level)]
    assert sum(array.nbytes for array in arrays) < 64 * SIZE * SIZE
