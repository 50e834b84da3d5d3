"""Texture coordinates: how good they are, making missing ones, and the inspection that reports both."""

# ruff: noqa: RUF005 - an array plus an offset is no concatenation of lists

import json

import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder
from whole_scenes import outside, scene_file

from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.scene.uv.quality import (
    is_degenerate,
    largest_free_square,
    outside_percent,
    overlap_percent,
    texel_coverage,
)
from genrender.scene.uv.unwrap import charts, unwrap


def slow_coverage(uvs, side):
    """The obvious reference: every centre against every triangle and its copies in the neighbouring tiles."""
    centre = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(centre, centre)
    coverage = np.zeros((side, side), int)
    for a, b, c in uvs:
        for dx in range(-3, 4):
            for dy in range(-3, 4):
                px, py = x + dx, y + dy
                sides = [
                    (q[0] - p[0]) * (py - p[1]) - (q[1] - p[1]) * (px - p[0])
                    for p, q in ((a, b), (b, c), (c, a))
                ]
                coverage += np.all([s > 0 for s in sides], axis=0) | np.all([s < 0 for s in sides], axis=0)
    return coverage


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
def test_coverage_agrees_with_the_slow_reference(seed, spread):
    rng = np.random.default_rng(seed)
    uvs = rng.uniform(-0.5, 1.5, (20, 1, 2)) + rng.uniform(-spread / 2, spread / 2, (20, 3, 2))
    np.testing.assert_array_equal(texel_coverage(uvs, 37), slow_coverage(uvs, 37))


@pytest.mark.parametrize("side", [16, 17, 64])
def test_a_square_of_two_triangles_is_covered_exactly_once(side):
    # Its diagonal runs through texel centres: they belong to one triangle only.
    uvs = np.array([[[0, 0], [1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]]], np.float32)
    assert (texel_coverage(uvs, side) == 1).all()
    assert overlap_percent(uvs, side) == 0
    assert (texel_coverage(np.concatenate([uvs, uvs]), side) == 2).all()


@pytest.mark.parametrize("shift", [-3.0, 0.25, 7.5])
def test_coverage_wraps_around(shift):
    uvs = np.array([[[0, 0], [1, 0], [0, 1]], [[1, 0], [1, 1], [0, 1]]], np.float64) + shift
    assert (texel_coverage(uvs, 32) == 1).all()


def test_overlap_and_outside_percent():
    half = np.array([[[0, 0], [1, 0], [0, 0.5]], [[1, 0], [1, 0.5], [0, 0.5]]])
    quarter = half * [1, 0.5]
    assert overlap_percent(np.concatenate([half, quarter])) == pytest.approx(50)
    assert overlap_percent(half[:0]) == 0
    assert outside_percent(np.concatenate([half, half + [0.1, 0]])) == 50
    assert outside_percent(half + 1e-7) == 0


def test_huge_coordinates_are_no_danger():
    uvs = np.array([[[0, 0], [1e30, 0], [0, 1e30]], [[-1e9, 5], [3, 1e9], [2, 2]]])
    assert texel_coverage(uvs, 64).min() > 1


def test_degenerate_coordinates():
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]] * 4, np.float32)
    uvs = np.array([[[0, 0], [1, 0], [0, 1]]] * 4, np.float32)
    assert not is_degenerate(uvs, corners)
    uvs[:3] = 0.5
    assert is_degenerate(uvs, corners)
    corners[3] *= 3  # the triangle that is left makes up most of the surface
    assert not is_degenerate(uvs, corners)


def test_the_largest_free_square():
    taken = np.array([[[0, 0], [1, 0], [0, 0.5]], [[1, 0], [1, 0.5], [0, 0.5]]])
    corner, side = largest_free_square(taken)
    assert 0.45 < side <= 0.5
    assert corner[1] >= 0.5
    everything = taken * [1, 2]
    assert largest_free_square(everything)[1] == 0


def cube():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return corners[np.array([[[a, b, c], [a, c, d]] for a, b, c, d in quads]).reshape(-1, 3)]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_charts_of_a_cube(scale):
    uvs = charts(cube() * np.float32(scale))
    assert uvs.shape == (12, 3, 2)
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    assert overlap_percent(uvs) == 0
    edges = uvs[:, 1:] - uvs[:, :1]
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2
    # Equal faces get equal areas, and a good part of the texture is in use.
    np.testing.assert_allclose(area, area.mean(), rtol=0.1)
    assert area.sum() > 0.4


def test_charts_tolerate_degenerate_and_lonely_triangles():
    corners = np.concatenate([cube(), np.zeros((2, 3, 3), np.float32), cube()[:1] + 5])
    uvs = charts(corners)
    assert uvs.shape == (15, 3, 2)
    assert np.isfinite(uvs).all()
    assert not charts(np.ones((3, 3, 3), np.float32)).any()


def textured(uv_rows, **fields) -> GltfBuilder:
    builder = GltfBuilder()
    attributes = {} if uv_rows is None else {"TEXCOORD_0": builder.accessor(uv_rows)}
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], attributes=attributes), **fields)
    return builder


def test_existing_uvs_are_kept_even_outside_the_unit_square(tmp_path):
    scene = load_scene(textured([[-1, 0], [3, 0], [-1, 2], [3, 2]]).save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene, "keep")
    np.testing.assert_array_equal(unwrapped.scene.uvs, scene.uvs)
    assert not unwrapped.made
    assert unwrapped.kept[0].endswith("are in several places of the surface, for the texture is tiled")


@pytest.mark.parametrize("uv_rows", [None, [[0.5, 0.5]] * 4, [[0, 0], [1, 1], [0.5, 0.5], [0.2, 0.2]]])
def test_missing_and_degenerate_uvs_are_replaced(tmp_path, uv_rows):
    scene = load_scene(textured(uv_rows).save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene).scene
    assert unwrapped.objects[0].has_uvs
    assert unwrapped.has_uvs.all()
    assert (texel_coverage(unwrapped.uvs, 64) > 0).mean() > 0.5
    assert inspect_scene(unwrapped)["objects"][0]["uv"]["state"] == "ok"
    # The scene that came in is as it was, and everything but the UVs is the same.
    assert scene.objects[0].has_uvs == (uv_rows is not None)
    assert unwrapped.tris is scene.tris
    assert unwrapped.object_id is scene.object_id


def test_instances_share_their_charts(tmp_path):
    builder = textured(None)
    builder.node(mesh=0, translation=[5, 0, 0], rotation=[0, 0.6, 0, 0.8])
    unwrapped = unwrap(load_scene(builder.save(tmp_path / "a.glb"))).scene
    np.testing.assert_array_equal(unwrapped.uvs[:2], unwrapped.uvs[2:])


def test_an_object_hidden_in_the_rest_pose_is_unwrapped(tmp_path):
    scene = load_scene(textured(None, scale=[0, 0, 0]).save(tmp_path / "a.glb"))
    assert (texel_coverage(unwrap(scene).scene.uvs, 64) > 0).mean() > 0.5


def partly_textured(extent) -> GltfBuilder:
    builder = textured(np.array(SQUARE)[:, :2] * extent)
    bare = {"attributes": {"POSITION": builder.accessor(np.array(SQUARE) + 2)}, "mode": 5}
    builder.doc["meshes"][0]["primitives"].append(bare)
    return builder


def test_missing_parts_go_where_the_texture_is_free(tmp_path):
    scene = load_scene(partly_textured(0.5).save(tmp_path / "a.glb"))
    assert not scene.objects[0].has_uvs
    unwrapped = unwrap(scene).scene
    np.testing.assert_array_equal(unwrapped.uvs[:2], scene.uvs[:2])
    assert overlap_percent(unwrapped.uvs) == 0
    assert outside_percent(unwrapped.uvs) == 0


def test_without_room_the_whole_object_is_charted_anew(tmp_path):
    scene = load_scene(partly_textured(1.0).save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene).scene
    assert overlap_percent(unwrapped.uvs) == 0
    assert unwrapped.has_uvs.all()
    # Whoever wants to keep the others has new charts over them, and textures that keep them apart.
    kept = unwrap(scene, "keep").scene
    np.testing.assert_array_equal(kept.uvs[:2], scene.uvs[:2])
    assert kept.has_uvs.all()
    assert set(kept.atlas_id[:2].tolist()).isdisjoint(kept.atlas_id[2:].tolist())


@pytest.mark.parametrize("name", ["automaton.glb", outside("RobotExpressive.glb")])
def test_a_robot_is_unwrapped_deterministically_and_without_overlap(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    first, second = unwrap(scene).scene, unwrap(scene).scene
    np.testing.assert_array_equal(first.uvs, second.uvs)
    assert first.uvs.min() >= 0
    assert first.uvs.max() <= 1
    for index, scene_object in enumerate(first.objects):
        assert scene_object.has_uvs
        uvs = first.uvs[first.object_id == index + 1]
        assert overlap_percent(uvs) < 0.1
        assert (texel_coverage(uvs, 256) > 0).mean() > 0.3


@pytest.mark.parametrize("name", ["cart.glb", outside("CesiumMilkTruck.glb")])
def test_a_body_keeps_its_uvs_and_its_windows_get_some(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    unwrapped = unwrap(scene).scene
    np.testing.assert_array_equal(unwrapped.uvs[scene.has_uvs], scene.uvs[scene.has_uvs])
    np.testing.assert_array_equal(unwrapped.object_id, scene.object_id)
    windows = texel_coverage(unwrapped.uvs[~scene.has_uvs], 512) > 0
    body = texel_coverage(scene.uvs[(scene.object_id == 1) & scene.has_uvs], 512) > 0
    assert windows.mean() > 0.02
    assert not (windows & body).any()


@pytest.mark.parametrize(
    ("name", "totals", "body_name", "n_body", "n_bare", "animation_name"),
    [
        ("cart.glb", (3, 498, 404), "Cart", 18, 6, "Drive"),
        outside("CesiumMilkTruck.glb", (3, 3624, 3564), "Cesium_Milk_Truck", 2088, 344, "animation_0"),
    ],
)
def test_inspection_of_a_body_on_wheels(tmp_path, name, totals, body_name, n_body, n_bare, animation_name):
    report = inspect_scene(load_scene(scene_file(name, tmp_path)))
    assert report == json.loads(json.dumps(report, allow_nan=False))
    assert report["totals"] == {
        **dict(zip(("objects", "triangles", "vertices"), totals, strict=True)),
        "animations": 1,
        "cameras": 0,
    }
    body, wheel, _ = report["objects"]
    assert (body["name"], body["triangles"]) == (body_name, n_body)
    assert body["uv"]["state"] == "partial"
    assert body["uv"]["missing_percent"] == pytest.approx(100 * n_bare / n_body, abs=1e-3)
    assert wheel["uv"]["state"] == "ok"
    assert wheel["uv"]["overlap_percent"] > 90  # both sides of the wheel show the same part of the texture
    (animation,) = report["animations"]
    told = {key: animation[key] for key in ("index", "name", "duration_s", "together")}
    assert told == {"index": 0, "name": animation_name, "duration_s": 1.25, "together": []}
    lower, upper = report["rest_bounds"]["min"], report["rest_bounds"]["max"]
    assert report["size_m"] == pytest.approx([high - low for low, high in zip(lower, upper, strict=True)])
    assert report["plays"] == animation_name
    assert (animation["fps"], animation["first_frame"], animation["last_frame"]) == (24, 0, 30)


@pytest.mark.parametrize(
    ("name", "camera", "yfov_deg", "animations"),
    [
        ("still_life.glb", "Dolly", 38, ["Dolly"]),
        outside("Duck.glb", "camera_0", 37.85, []),
    ],
)
def test_inspection_of_a_camera(tmp_path, name, camera, yfov_deg, animations):
    report = inspect_scene(load_scene(scene_file(name, tmp_path)))
    assert [found["name"] for found in report["cameras"]] == [camera]
    assert report["cameras"][0]["yfov_deg"] == pytest.approx(yfov_deg, abs=0.01)
    assert [found["name"] for found in report["animations"]] == animations


@pytest.mark.parametrize(
    ("name", "n_tris", "n_animations"),
    [("automaton.glb", 2052, 3), outside("RobotExpressive.glb", 3234, 14)],
)
def test_inspection_of_a_robot(tmp_path, name, n_tris, n_animations):
    robot = inspect_scene(load_scene(scene_file(name, tmp_path)))
    assert {o["uv"]["state"] for o in robot["objects"]} == {"missing"}
    assert robot["totals"]["triangles"] == sum(o["triangles"] for o in robot["objects"]) == n_tris
    assert robot["dropped_triangles"] == 3
    assert len(robot["animations"]) == n_animations
