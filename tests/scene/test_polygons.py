"""Polygons that are not convex, in every format, against the area that they cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrender.scene.formats.polygons import fans, triangulate
from genrender.scene.load import load_scene
from genrender.scene.uv.quality import surface_area

L_SHAPE = [(1, 2), (0, 2), (0, 0), (2, 0), (2, 1), (1, 1)]
ARROW = [(0, 2), (0, 0), (2, 0), (0.5, 0.5)]
RING = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]
AREAS = [(L_SHAPE, 3.0), (ARROW, 1.0), (RING, 12.0)]


def areas(verts, corners, counts, **more):
    tris, polygon = triangulate(np.asarray(verts, float), np.asarray(corners), np.asarray(counts), **more)
    points = np.asarray(verts, float)[np.asarray(corners)[tris]]
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]) / 2
    return normals, polygon, tris


def in_space(points, turn=0.0, offset=(0, 0, 0)):
    flat = np.column_stack([points, np.zeros(len(points))])
    c, s = np.cos(turn), np.sin(turn)
    return flat @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]).T @ np.array(
        [[1, 0, 0], [0, c, s], [0, -s, c]]
    ).T + np.array(offset)


@pytest.mark.parametrize(("shape", "area"), AREAS)
@pytest.mark.parametrize("turn", [0.0, 1.0, 3.5])
@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("is_clockwise", [False, True])
def test_triangles_cover_what_the_polygon_covers(shape, area, turn, first, is_clockwise):
    points = in_space(np.roll(shape, first, axis=0), turn, (5e5, 0, -3e6))
    n = len(points)
    order = np.arange(n)[::-1] if is_clockwise else np.arange(n)
    normals, polygon, tris = areas(points, order, [n], is_clockwise=is_clockwise)
    assert len(tris) == n - 2
    assert (polygon == 0).all()
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(area, rel=1e-6)
    # None is turned over.
    assert np.linalg.norm(normals.sum(axis=0)) == pytest.approx(area, rel=1e-6)
    whole = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0) / 2
    assert normals.sum(axis=0) == pytest.approx(whole, abs=1e-2)


def test_many_polygons_at_once_are_as_each_alone(monkeypatch):
    monkeypatch.setattr("genrender.scene.formats.polygons.AT_ONCE", 3)
    shapes = [
        *(shape for shape, _ in AREAS),
        ARROW[:3],
        ARROW[:2],
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [],
        ARROW,
    ]
    counts = np.array([len(shape) for shape in shapes])
    points = np.concatenate([in_space(np.reshape(shape, (-1, 2)), 0.3 * i) for i, shape in enumerate(shapes)])
    normals, polygon, _ = areas(points, np.arange(len(points)), counts)
    sums = np.bincount(polygon, np.linalg.norm(normals, axis=1), minlength=len(shapes))
    assert sums == pytest.approx([3, 1, 12, 2, 0, 1, 0, 1])


def test_convex_polygons_are_cut_as_fans():
    angle = np.arange(12) / 12 * 2 * np.pi
    points = np.column_stack([np.cos(angle), np.sin(angle), 0.05 * np.sin(3 * angle)])
    corners, counts = np.arange(12), np.array([5, 4, 3])
    for ours, fan in zip(triangulate(points, corners, counts), fans(counts), strict=True):
        np.testing.assert_array_equal(ours, fan)


def test_corners_on_a_straight_line_stay_corners():
    # The lower side has a corner in its middle, where a neighbour may pull it away later.
    points = in_space([(0, 0), (1, 0), (2, 0), (2, 2), (1, 0.5), (0, 2)])
    _, _, tris = areas(points, np.arange(6), [6])
    assert set(tris.ravel().tolist()) == set(range(6))
    moved = points.copy()
    moved[1] = (1, -1, 0)
    corners = moved[tris]
    assert surface_area(corners).sum() == pytest.approx(2.5 + 1)


def star(radii):
    angle = np.arange(len(radii)) / len(radii) * 2 * np.pi
    return np.column_stack([np.cos(angle), np.sin(angle)]) * np.array(radii)[:, None]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0.05, 5), min_size=5, max_size=40), st.floats(0, 6))
def test_any_star_keeps_its_area(radii, turn):
    flat = star(radii)
    after = np.roll(flat, -1, axis=0)
    area = (flat[:, 0] * after[:, 1] - flat[:, 1] * after[:, 0]).sum() / 2
    normals, _, tris = areas(in_space(flat, turn), np.arange(len(flat)), [len(flat)])
    assert len(tris) == len(flat) - 2
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0, 0), (1, 1, 0), (1, 0, 0), (0, 1, 0)],  # crosses itself
        [(0, 0, 0)] * 5,
        [(np.nan, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0.5, 0)],
        [(1e300, 0, 0), (-1e300, 0, 0), (0, 1e300, 0), (0, -1e300, 0), (0, 0, 0)],
    ],
)
def test_what_has_no_inside_is_cut_as_a_fan(points):
    n = len(points)
    tris, _ = triangulate(np.array(points, float), np.arange(n), np.array([n]))
    np.testing.assert_array_equal(tris, fans(np.array([n]))[0])


def test_vertices_that_are_not_there_are_left_to_the_reader():
    tris, _ = triangulate(np.zeros((2, 3)), np.array([0, 1, 9, -4, 0]), np.array([5]))
    assert len(tris) == 3
    tris, _ = triangulate(np.zeros((0, 3)), np.array([0, 1, 9, -4, 0]), np.array([5]))
    assert len(tris) == 3


def write_obj(path, points):
    lines = [f"v {x} {y} {z}" for x, y, z in points]
    path.write_text("\n".join([*lines, "f " + " ".join(str(i + 1) for i in range(len(points)))]))


def write_ply(path, points):
    header = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(map(str, point)) for point in points]
    rows.append(" ".join(map(str, [len(points), *range(len(points))])))
    path.write_text(header + "\n".join(rows) + "\n")


def write_usda(path, points, orientation="rightHanded"):
    listed = ", ".join(f"({x}, {y}, {z})" for x, y, z in points)
    path.write_text(
        '#usda 1.0\n( upAxis = "Y"\n metersPerUnit = 1 )\ndef Mesh "A" {\n'
        f"int[] faceVertexCounts = [{len(points)}]\n"
        f"int[] faceVertexIndices = [{', '.join(map(str, range(len(points))))}]\n"
        f'uniform token orientation = "{orientation}"\npoint3f[] points = [{listed}]\n}}\n'
    )


@pytest.mark.parametrize(("shape", "area"), AREAS)
@pytest.mark.parametrize("write", [write_obj, write_ply, write_usda], ids=["obj", "ply", "usda"])
def test_every_format_shows_the_area_of_the_polygon(tmp_path, write, shape, area):
    path = tmp_path / f"a.{write.__name__.removeprefix('write_')}"
    if path.suffix == ".usda":
        pytest.importorskip("pxr.Usd")
    write(path, in_space(shape))
    scene = load_scene(path)
    assert surface_area(scene.rest_verts[scene.tris]).sum() == pytest.approx(area, rel=1e-6)


def test_a_left_handed_usd_polygon_is_not_turned_over(tmp_path):
    pytest.importorskip("pxr.Usd")
    write_usda(tmp_path / "a.usda", in_space(L_SHAPE)[::-1], "leftHanded")
    scene = load_scene(tmp_path / "a.usda")
    first, second, third = scene.rest_verts[scene.tris].swapaxes(0, 1)
    assert np.cross(second - first, third - first)[:, 2].sum() == pytest.approx(6)


def test_a_polygon_that_folds_within_a_sequence_keeps_its_triangles(tmp_path):
    square = [(0, 0), (2, 0), (2, 2), (0, 2)]
    for frame, shape in enumerate((ARROW, square)):
        write_obj(tmp_path / f"a_{frame}.obj", in_space(shape))
    scene = load_scene(tmp_path / "a_*.obj")
    corners = scene.evaluate(0.0, 0)[scene.tris]
    assert surface_area(corners).sum() == pytest.approx(1)
    assert surface_area(scene.evaluate(1 / 24, 0)[scene.tris]).sum() == pytest.approx(4)
