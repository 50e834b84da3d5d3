"""Agreement with G-buffers that Blender rendered, and with a slow, obvious ray cast of our own."""

import json
from pathlib import Path

import numpy as np
import pytest

from genrender.gbuffer.exr.frame import read_exr
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import box, sphere

REFERENCE = Path(__file__).resolve().parents[1] / "reference"  # render.py there tells how they were made
VIEWS = {view["name"]: view for view in json.loads((REFERENCE / "views.json").read_text())}
SCENES = Path(__file__).resolve().parents[2] / "examples" / "scenes"
SHARED = Path(__file__).resolve().parents[3] / "shared"
FOX_VIEW = Camera.look_at(np.array([150.0, 90.0, 180.0]), np.array([0.0, 40.0, 0.0]), yfov_deg=45.0)
TRUCK_VIEW = Camera.look_at(np.array([4.0, 3.0, 5.0]), np.array([0.0, 1.0, 0.0]), yfov_deg=40.0)


@pytest.mark.parametrize("name", VIEWS)
def test_the_example_scenes_agree_with_blender(name):
    """Skinned and rigid motion, on keys and between them, through cameras of ours and of the file."""
    view = VIEWS[name]
    theirs = read_exr(REFERENCE / f"{name}.exr")
    scene = load_scene(SCENES / view["scene"])
    animation, time_s = scene.find_animation(view["animation"]), view["time_s"]
    if isinstance(view["camera"], str):
        camera = scene.camera(view["camera"], time_s, animation)
    else:
        lens = dict(view["camera"])
        camera = Camera.look_at(np.array(lens.pop("eye")), np.array(lens.pop("target")), **lens)
    verts = scene.evaluate(time_s, animation)
    ours = render_gbuffer(verts, scene.tris, scene.uvs, scene.object_id, camera, theirs.height, theirs.width)

    assert [theirs.width, theirs.height] == view["size"]
    assert set(np.unique(theirs.object_id)) == set(range(len(scene.objects) + 1))
    assert np.mean(ours.object_id == theirs.object_id) >= 0.9999

    both = ours.visible & theirs.visible
    relative = np.full(both.shape, np.inf)
    relative[both] = np.abs(ours.depth[both] - theirs.depth[both]) / theirs.depth[both]
    difference = np.abs(ours.uv - theirs.uv).max(axis=-1)
    assert np.percentile(relative[both], 99) <= 1e-4
    assert np.percentile(difference[both], 99) <= 1e-4

    # Cycles' sample lies within 0.005 pixels of the middle: where depth falls off steeply, that alone shows.
    is_inside = inside_of_surfaces(theirs)
    assert is_inside.sum() > 0.8 * theirs.visible.sum()
    assert relative[is_inside].max() <= 1e-4
    # At a seam one side of an edge is as good as the other.
    assert np.count_nonzero(difference[is_inside] > 1e-4) <= 2
    print(
        f"{name}: depth max {relative[is_inside].max():.2g}, UV p99 {np.percentile(difference[both], 99):.2g}"
    )


def inside_of_surfaces(gbuffer: GBuffer) -> np.ndarray:
    """Pixels that show the object of all their neighbours, in depths at most 5 % apart."""
    height, width = gbuffer.depth.shape
    ids, depths = (
        np.stack(
            [np.pad(a, 1, mode="edge")[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        )
        for a in (gbuffer.object_id, gbuffer.depth)
    )
    is_same = gbuffer.visible & (ids == gbuffer.object_id).all(axis=0)
    spread = np.where(is_same, depths.max(axis=0), 0) - np.where(is_same, depths.min(axis=0), 0)
    return is_same & (spread <= 0.05 * gbuffer.depth)


@pytest.mark.skipif(
    not (SHARED / "reference").is_dir(),
    reason=f"the shared reference pictures are not at {SHARED / 'reference'}",
)
@pytest.mark.parametrize(
    ("reference", "asset", "animation", "time_s", "camera"),
    [
        ("fox_run_0", "Fox.glb", "Run", 0.0, FOX_VIEW),
        ("fox_run_1", "Fox.glb", "Run", 0.25, FOX_VIEW),
        ("fox_run_2", "Fox.glb", "Run", 0.5, FOX_VIEW),
        ("truck_0", "CesiumMilkTruck.glb", None, 0.0, TRUCK_VIEW),
        ("truck_1", "CesiumMilkTruck.glb", None, 0.3, TRUCK_VIEW),
    ],
)
def test_agrees_with_blender(reference, asset, animation, time_s, camera):
    theirs = read_exr(SHARED / "reference" / f"{reference}.exr")
    scene = load_scene(SHARED / "assets" / asset)
    verts = scene.evaluate(time_s, scene.find_animation(animation))
    ours = render_gbuffer(verts, scene.tris, scene.uvs, scene.object_id, camera, theirs.height, theirs.width)

    assert np.mean(ours.visible == theirs.visible) >= 0.9999

    both = ours.visible & theirs.visible
    relative = np.abs(ours.depth[both] - theirs.depth[both]) / theirs.depth[both]
    assert np.percentile(relative, 99) <= 1e-4, f"largest: {relative.max():.2g}"
    # The few pixels that are left out lie on edges, where the two ray casters may see different triangles.
    assert np.mean(relative <= 1e-4) >= 0.9998

    textured = (
        both & scene.has_uvs[ours.tri_id]
    )  # where `both` is False, -1 picks some triangle and does not count
    difference = np.abs(ours.uv[textured] - theirs.uv[textured])
    assert np.percentile(difference, 99) <= 1e-4, f"largest: {difference.max():.2g}"
    print(f"{reference}: depth max {relative.max():.2g}, uv max {difference.max():.2g}")


@pytest.mark.parametrize("ymag", [None, 0.9], ids=["perspective", "orthographic"])
def test_agrees_with_every_ray_against_every_triangle(ymag):
    parts = [sphere(0.5, segments=10), box((0.4, 0.6, 0.5)).moved((0.5, 0.1, 0.3))]
    verts = np.concatenate([part.verts for part in parts])
    tris = np.concatenate([parts[0].tris, parts[1].tris + len(parts[0].verts)]).astype(np.int32)
    uvs = np.concatenate([part.uvs[part.tris] for part in parts]).astype(np.float32)
    object_id = np.repeat([1, 2], [len(part.tris) for part in parts]).astype(np.int32)
    camera = Camera.look_at(np.array([0.7, 0.9, 2.0]), np.array([0.1, 0.0, 0.0]), yfov_deg=40.0, ymag=ymag)

    fast = render_gbuffer(verts, tris, uvs, object_id, camera, 30, 40)
    slow = slow_gbuffer(verts, tris, uvs, object_id, camera, 30, 40)

    assert 0.2 < fast.visible.mean() < 0.8
    np.testing.assert_array_equal(fast.object_id, slow.object_id)
    np.testing.assert_allclose(fast.depth, slow.depth, rtol=1e-5)
    # Rays through an edge may name either triangle; the sphere's equator lies on none of these pixels.
    same = fast.tri_id == slow.tri_id
    assert same.mean() > 0.99
    np.testing.assert_allclose(fast.bary[same], slow.bary[same], atol=2e-5)
    np.testing.assert_allclose(fast.uv[same], slow.uv[same], atol=2e-5)


def slow_gbuffer(verts, tris, uvs, object_id, camera, height, width) -> GBuffer:
    """Möller and Trumbore's test of every ray against every triangle, one after the other, in float64."""
    origins, directions = camera.rays(height, width)
    depth = np.full(height * width, np.inf)
    tri_id = np.full(height * width, -1)
    bary = np.zeros((height * width, 2))
    for index, (a, b, c) in enumerate(verts[tris].astype(np.float64)):
        edge_1, edge_2 = b - a, c - a
        p = np.cross(directions, edge_2)
        determinant = p @ edge_1
        with np.errstate(divide="ignore", invalid="ignore"):
            from_a = origins - a
            u = np.sum(from_a * p, axis=1) / determinant
            q = np.cross(from_a, edge_1)
            v = np.sum(directions * q, axis=1) / determinant
            t = q @ edge_2 / determinant
        nearer = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < depth)
        depth[nearer], tri_id[nearer] = t[nearer], index
        bary[nearer] = np.stack([u, v], axis=1)[nearer]
    hit = tri_id >= 0
    weights = np.concatenate([1 - bary.sum(axis=1, keepdims=True), bary], axis=1)
    uv = np.sum(weights[:, :, None] * uvs[tri_id], axis=1)
    return GBuffer(
        depth=depth.reshape(height, width).astype(np.float32),
        uv=np.where(hit[:, None], uv, 0).reshape(height, width, 2).astype(np.float32),
        object_id=np.where(hit, object_id[tri_id], 0).reshape(height, width).astype(np.int32),
        tri_id=tri_id.reshape(height, width).astype(np.int32),
        bary=bary.reshape(height, width, 2).astype(np.float32),
    )
