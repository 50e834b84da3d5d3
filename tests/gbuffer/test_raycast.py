"""Laws of the ray cast: what a pixel says is where the camera sees it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genrender.errors import ConfigError
from genrender.gbuffer import raycast
from genrender.gbuffer.raycast import intersect, render_gbuffer, tris_at_pixel_centres, wrap_uv
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import sphere

FRONT = Camera.look_at(np.array([0.0, 0.0, 2.0]), np.zeros(3), ymag=1.0)
TRIANGLE = np.array([[-0.8, -0.8, 0.0], [0.8, -0.8, 0.0], [-0.8, 0.8, 0.0]])
ONE = np.array([[0, 1, 2]], np.int32)


def render_one(verts, uvs, camera=FRONT, size=32):
    uvs = np.asarray(uvs, np.float32).reshape(1, 3, 2)
    return render_gbuffer(verts, ONE, uvs, np.array([1], np.int32), camera, size, size)


def render_ball(camera, size=48, offset=(0.0, 0.0, 0.0), scale=1.0):
    part = sphere(0.8, segments=24)
    verts = part.verts * scale + np.asarray(offset)
    uvs = part.uvs[part.tris].astype(np.float32)
    object_id = np.full(len(part.tris), 3, np.int32)
    tris = part.tris.astype(np.int32)
    return render_gbuffer(verts, tris, uvs, object_id, camera, size, size), verts, tris


def test_weights_belong_to_the_second_and_third_corner():
    gbuffer = render_one(TRIANGLE, [[0, 0], [1, 0], [0, 1]])
    x, y = np.meshgrid((np.arange(32) + 0.5) / 16 - 1, 1 - (np.arange(32) + 0.5) / 16)
    seen = gbuffer.visible
    np.testing.assert_allclose(gbuffer.bary[seen, 0], (x[seen] + 0.8) / 1.6, atol=1e-6)
    np.testing.assert_allclose(gbuffer.bary[seen, 1], (y[seen] + 0.8) / 1.6, atol=1e-6)
    np.testing.assert_allclose(gbuffer.uv[seen], gbuffer.bary[seen], atol=1e-6)


def test_background():
    gbuffer = render_one(TRIANGLE, [[0.5, 0.5]] * 3)
    background = ~gbuffer.visible
    assert 0.3 < background.mean() < 0.9
    assert np.all(gbuffer.depth[background] == np.inf)
    assert np.all(gbuffer.tri_id[background] == -1)
    assert not gbuffer.uv[background].any()
    assert not gbuffer.bary[background].any()
    assert not gbuffer.object_id[background].any()


def test_both_sides_are_visible():
    behind = Camera.look_at(np.array([0.0, 0.0, -2.0]), np.zeros(3), ymag=1.0)
    front = render_one(TRIANGLE, [[0, 0], [1, 0], [0, 1]])
    back = render_one(TRIANGLE, [[0, 0], [1, 0], [0, 1]], behind)
    np.testing.assert_array_equal(front.visible, back.visible[:, ::-1])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound a process's memory")
@pytest.mark.parametrize(("free_mb", "n_tris"), [(100, 1), (500, 5_000_000)])
def test_where_a_process_may_not_take_what_embree_needs_it_is_not_asked(free_mb, n_tris):
    """It would end the process."""
    code = (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from genrender.errors import ConfigError\n"
        "from genrender.gbuffer.raycast import accelerate\n"
        "from genrender.storage.limits import bound_memory\n"
        f"tris = np.zeros(({n_tris}, 3), np.int32)\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "data_kb = next(int(line.split()[1]) for line in lines if line.startswith('VmData'))\n"
        f"bound_memory(1024 * data_kb + {free_mb} * 1_000_000)\n"
        "try:\n"
        "    accelerate(np.eye(3), tris, np.zeros(3))\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"rays at {n_tris:,} triangles need about ")


@settings(max_examples=25, deadline=None)
@given(
    eye=st.tuples(*[st.floats(1.5, 6.0)] * 3),
    yfov_deg=st.floats(20, 100),
    ymag=st.one_of(st.none(), st.floats(0.5, 2.0)),
)
@example(eye=(3.587890625, 3.587890625, 2.3143555106638534), yfov_deg=55.98046875, ymag=None)
@example(eye=(3.4586278250672624, 1.5, 3.4586278250672624), yfov_deg=20.0, ymag=None)
def test_the_surface_point_of_a_pixel_projects_onto_its_centre_at_its_depth(eye, yfov_deg, ymag):
    camera = Camera.look_at(np.array(eye), np.array([0.2, 0.1, 0.0]), yfov_deg=yfov_deg, ymag=ymag)
    gbuffer, verts, tris = render_ball(camera)
    seen = gbuffer.visible
    corners = verts[tris[gbuffer.tri_id[seen]]]
    second, third = gbuffer.bary[seen].astype(np.float64).T
    weights = np.stack([1 - second - third, second, third], axis=1)
    xy, depth = camera.project(np.sum(weights[..., None] * corners, axis=1), 48, 48)
    rows, columns = np.nonzero(seen)
    # Single precision moves a hit along its triangle: place and depth change with that by one over the cosine
    # of the angle between ray and normal, which at a silhouette is large.
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    ray = camera.rays(48, 48)[1].reshape(48, 48, 3)[seen]
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(ray, axis=1)
    cosine = np.abs((normal * ray).sum(1)) / lengths
    error_px = np.abs(xy - np.stack([columns, rows], axis=1) - 0.5).max(axis=1)
    assert (error_px * cosine <= 2e-4).all()  # 400 views at random reach 8e-5
    assert (np.abs(gbuffer.depth[seen] - depth) * cosine <= 1e-5 * depth).all()


def test_weights_never_leave_the_triangle():
    gbuffer, _, _ = render_ball(FRONT, size=64)
    assert gbuffer.bary.min() >= 0
    assert gbuffer.bary.sum(axis=-1).max() <= 1 + 1e-7


def test_no_ray_slips_through_edges_and_corners_that_triangles_share():
    # Every pixel centre lies exactly on a corner, or on the diagonal, of this tilted grid.
    size = 32
    axis = np.linspace(-1.5, 1.5, 3 * size + 1)
    x, y = np.meshgrid(axis, axis)
    verts = np.stack([x, y, 0.3 * x - 0.7 * y], axis=-1).reshape(-1, 3)
    n = 3 * size + 1
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    tris = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + 1, a + n + 1, a + n], 1)]).astype(
        np.int32
    )
    gbuffer = render_gbuffer(
        verts, tris, np.zeros((len(tris), 3, 2), np.float32), np.ones(len(tris), np.int32), FRONT, size, size
    )
    assert gbuffer.visible.all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_scale_and_distance_from_the_origin_do_not_matter(scale, offset):
    eye = np.array([1.0, 0.7, 2.0])
    expected, _, _ = render_ball(Camera.look_at(eye, np.zeros(3)))
    move = np.array([1.0, -2.0, 0.5]) * offset * scale
    moved, _, _ = render_ball(Camera.look_at(eye * scale + move, move), offset=move, scale=scale)
    np.testing.assert_array_equal(moved.object_id, expected.object_id)
    np.testing.assert_allclose(moved.depth / np.float32(scale), expected.depth, rtol=1e-5)
    same = moved.tri_id == expected.tri_id
    assert same.mean() > 0.999
    np.testing.assert_allclose(moved.uv[same], expected.uv[same], atol=1e-4)


def test_texture_coordinates_repeat_and_inner_ones_stay():
    uv = np.array([[0.0, 1.0], [0.25, 1.25], [-0.25, 2.0], [3.5, -1.0]], np.float32)
    np.testing.assert_array_equal(
        wrap_uv(uv), np.array([[0, 1], [0.25, 0.25], [0.75, 0], [0.5, 0]], np.float32)
    )


def test_a_texture_border_at_one_never_wraps_to_zero():
    gbuffer = render_one(TRIANGLE, [[1, 1]] * 3, size=128)
    assert np.all(gbuffer.uv[gbuffer.visible] == 1)


def test_degenerate_triangles_are_not_hit():
    point = np.zeros((3, 3))
    line = np.array([[-0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    for verts in (point, line):
        assert not render_one(verts, [[0, 0]] * 3, size=33).visible.any()


def test_no_triangles_and_no_rays():
    t, tri_id, bary = intersect(
        np.zeros((0, 3)), np.zeros((0, 3), np.int32), np.zeros((2, 3)), np.ones((2, 3))
    )
    assert np.all(t == np.inf)
    assert np.all(tri_id == -1)
    assert not bary.any()
    t, tri_id, bary = intersect(TRIANGLE, ONE, np.zeros((0, 3)), np.zeros((0, 3)))
    assert t.shape == (0,)
    assert tri_id.shape == (0,)
    assert bary.shape == (0, 2)


@pytest.mark.parametrize(("height", "width"), [(0, 8), (8, 0), (-1, 8)])
def test_a_picture_needs_pixels(height, width):
    with pytest.raises(ConfigError, match="expected at least 1x1"):
        render_gbuffer(
            TRIANGLE, ONE, np.zeros((1, 3, 2), np.float32), np.ones(1, np.int32), FRONT, height, width
        )


def test_triangles_are_known():
    gbuffer, _, _ = render_ball(FRONT)
    assert gbuffer.has_triangles


LENSES = [
    Camera.look_at(np.array([0.0, 0.3, 2.0]), np.zeros(3)),
    Camera.look_at(np.array([0.3, 0.0, 0.2]), np.ones(3), yfov_deg=150.0),  # within the mesh
    Camera.look_at(np.array([0.0, 0.0, 500.0]), np.zeros(3), ymag=0.7),
    Camera.look_at(np.array([0.0, 900.0, 500.0]), np.zeros(3), yfov_deg=0.2),
]


@pytest.mark.parametrize("camera", LENSES)
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_triangles_that_are_left_out_would_not_have_been_hit(camera, offset, monkeypatch):
    moved = camera.world_from_camera.copy()
    moved[:3, 3] += offset
    camera = Camera(moved, camera.yfov_deg, camera.ymag)
    part = sphere(0.8, segments=300)
    verts = part.verts + 0.02 * np.sin(20 * part.verts[:, ::-1]) + offset
    tris = part.tris.astype(np.int32)
    uvs = part.uvs[part.tris].astype(np.float32)
    object_id = np.ones(len(tris), np.int32)
    assert len(tris) > raycast.MANY_TRIS
    picked = render_gbuffer(verts, tris, uvs, object_id, camera, 40, 56)
    assert len(tris_at_pixel_centres(verts, tris, camera, 40, 56)) < len(tris) / 2
    monkeypatch.setattr(raycast, "MANY_TRIS", len(tris))
    whole = render_gbuffer(verts, tris, uvs, object_id, camera, 40, 56)
    assert picked.visible.any()
    for name in ("depth", "uv", "object_id", "tri_id", "bary"):
        np.testing.assert_array_equal(getattr(picked, name), getattr(whole, name))
