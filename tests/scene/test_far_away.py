"""Scenes hundreds of kilometres from the origin look as they do at the origin."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.scene.rig import Skin, VertexBlock, skinned
from genrender.shots.clip import ShotConfig, plan_shot, render_shot

# Not representable in float32, which there has steps of 0.03 and 0.5 m.
FAR = np.array([446506.3, 12.1, 5412301.7])
SHAPE = [(0, 0, 0), (1, 0, 0), (1, 1, 0.3), (0, 1, 0.1), (0.4, 1.7, 0.2)]


def write_obj(path, offset, move=0.0):
    lines = [f"v {x} {y} {z}" for x, y, z in (np.array(SHAPE) + offset + [move, 0, 0]).tolist()]
    path.write_text("\n".join([*lines, "f 1 2 3 4", "f 3 5 4"]))


def write_ply(path, offset):
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 5\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    faces = b"".join(bytes([len(f)]) + np.array(f, "<i4").tobytes() for f in ([0, 1, 2, 3], [2, 4, 3]))
    path.write_bytes(header.encode() + (np.array(SHAPE) + offset).tobytes() + faces)


def write_usda(path, offset):
    path.write_text(
        '#usda 1.0\n( upAxis = "Y"\n metersPerUnit = 1 )\ndef Xform "Place" {\n'
        f"double3 xformOp:translate = {tuple(offset.tolist())}\n"
        'uniform token[] xformOpOrder = ["xformOp:translate"]\ndef Mesh "A" {\n'
        "int[] faceVertexCounts = [4, 3]\nint[] faceVertexIndices = [0, 1, 2, 3, 2, 4, 3]\n"
        f"point3f[] points = [{', '.join(map(str, SHAPE))}]\n}}\n}}\n"
    )


def seen(scene, offset, time_s=0.0):
    verts = scene.evaluate(time_s, 0 if scene.animations else None)
    eye = np.array([0.7, 1.1, 4.0])
    camera = Camera.look_at(eye + offset, np.array([0.5, 0.8, 0.0]) + offset, yfov_deg=40)
    return render_gbuffer(verts, scene.tris, scene.uvs, scene.object_id, camera, 64, 64)


def assert_alike(ours, theirs):
    np.testing.assert_array_equal(ours.tri_id, theirs.tri_id)
    assert ours.visible.sum() > 300
    np.testing.assert_allclose(ours.depth, theirs.depth, atol=1e-5)
    np.testing.assert_allclose(ours.bary, theirs.bary, atol=1e-4)


@pytest.mark.parametrize("write", [write_obj, write_ply, write_usda], ids=["obj", "ply", "usda"])
def test_the_g_buffer_is_that_of_the_scene_at_the_origin(tmp_path, write):
    if write is write_usda:
        pytest.importorskip("pxr.Usd")
    suffix = write.__name__.removeprefix("write_")
    write(tmp_path / f"near.{suffix}", np.zeros(3))
    write(tmp_path / f"far.{suffix}", FAR)
    near, far = load_scene(tmp_path / f"near.{suffix}"), load_scene(tmp_path / f"far.{suffix}")
    assert far.n_dropped == 0
    assert_alike(seen(far, FAR), seen(near, 0))
    # People are told where it really is.
    np.testing.assert_allclose(
        inspect_scene(far)["rest_bounds"]["max"], FAR + np.array([1, 1.7, 0.3]), atol=1e-5
    )


def test_sequences_may_travel(tmp_path):
    for frame in range(3):
        write_obj(tmp_path / f"near_{frame}.obj", np.zeros(3), 0.1 * frame)
        write_obj(tmp_path / f"far_{frame}.obj", frame * FAR, 0.1 * frame)
    near, far = load_scene(tmp_path / "near_*.obj"), load_scene(tmp_path / "far_*.obj")
    for frame in (0, 1, 2):
        assert_alike(seen(far, frame * FAR, frame / 24), seen(near, 0, frame / 24))
    assert_alike(seen(far, 1.5 * FAR, 1.5 / 24), seen(near, 0, 1.5 / 24))


def test_skins_are_blended_around_their_joints():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 1, (50, 2)).astype(np.float32)
    weights /= weights.sum(axis=1, keepdims=True)
    positions = rng.uniform(-1, 1, (50, 3)).astype(np.float32)
    block = VertexBlock(positions, (), np.tile([0, 1], (50, 1)), weights)
    skin = Skin(np.array([0, 1]), np.tile(np.eye(4), (2, 1, 1)))
    near = np.tile(np.eye(4), (2, 1, 1))
    near[1, :3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    near[1, :3, 3] = (0.3, 0.1, 0)
    far = near.copy()
    far[:, :3, 3] += FAR
    moved = skinned(block, skin, positions, far) - FAR
    np.testing.assert_allclose(moved, skinned(block, skin, positions, near), atol=1e-6)


def test_surface_points_are_followed_as_well_far_away(tmp_path):
    found = []
    for name, offset in (("near", np.zeros(3)), ("far", FAR)):
        write_obj(tmp_path / f"{name}.obj", offset)
        shot = plan_shot(
            load_scene(tmp_path / f"{name}.obj"), ShotConfig((48, 48), n_frames=3, camera="orbit")
        )
        tracker = render_shot(shot).tracker
        shown = tracker.gbuffers[0].visible
        tri_id, bary = tracker.gbuffers[0].tri_id[shown], tracker.gbuffers[0].bary[shown]
        found.append([tracker.locate(tri_id, bary, 1)[0], tracker.pixel_area(tri_id, 2)])
    np.testing.assert_allclose(found[1][0], found[0][0], atol=0.02)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-4)


def moved_glb(path, source, offset):
    """The file with a node above all others that carries them away."""
    data = source.read_bytes()
    n = struct.unpack_from("<I", data, 12)[0]
    doc = json.loads(data[20 : 20 + n])
    scene = doc["scenes"][doc.get("scene", 0)]
    doc["nodes"].append({"children": scene["nodes"], "translation": offset.tolist()})
    scene["nodes"] = [len(doc["nodes"]) - 1]
    text = json.dumps(doc).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + n :]
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(head + text + rest)


@pytest.mark.parametrize("name", ["walking_biped", "still_life"])
def test_skinned_and_animated_figures_walk_far_away_as_at_home(tmp_path, name):
    source = Path(__file__).resolve().parents[2] / "examples" / "scenes" / f"{name}.glb"
    moved_glb(tmp_path / "far.glb", source, FAR)
    near, far = load_scene(source), load_scene(tmp_path / "far.glb")
    for time_s in (0.0, 0.37):
        at_home = near.evaluate(time_s, 0)
        np.testing.assert_allclose(far.evaluate(time_s, 0) - FAR, at_home, atol=1e-6)
    shots = [plan_shot(scene, ShotConfig((64, 64), times_s=(0.37,))) for scene in (near, far)]
    pictures = [shot.gbuffer(0) for shot in shots]
    assert (pictures[0].tri_id != pictures[1].tri_id).mean() < 0.002
    same = pictures[0].tri_id == pictures[1].tri_id
    np.testing.assert_allclose(pictures[1].depth[same], pictures[0].depth[same], rtol=1e-5)
