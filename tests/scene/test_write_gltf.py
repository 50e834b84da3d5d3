"""Files that the project writes itself, read back by its own loader."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrender.errors import MediaError, SceneError
from genrender.scene.animation import slerp
from genrender.scene.camera import Camera
from genrender.scene.formats.gltf.write import (
    CameraNode,
    CreatureNode,
    GltfScene,
    MeshNode,
    NodeKeys,
    creature_keys,
    glb_bytes,
    joint_name,
    quaternions,
    write_glb,
)
from genrender.scene.load import load_scene
from genrender.scene.procedural.creatures import Creature, biped, fish, quadruped, walk_cycle
from genrender.scene.procedural.primitives import box, rotation_about, sphere
from genrender.scene.rig import local_from_trs

TIMES_S = np.arange(9) / 8
OFFSETS = np.stack([0.1 * TIMES_S, np.sin(TIMES_S), -0.2 * TIMES_S], axis=1)


def write_walk(path: Path, creature: Creature, offsets: np.ndarray | None = None) -> list[dict]:
    """Writes a creature with one cycle of its walk; returns the poses at `TIMES_S`."""
    node = CreatureNode("walker", creature)
    poses = [walk_cycle(creature, phase) for phase in TIMES_S]
    write_glb(path, GltfScene([node], animations={"Walk": creature_keys(node, TIMES_S, poses, offsets)}))
    return poses


def between(before: dict, after: dict, share: float) -> dict:
    """The pose at a share of the way between two poses, every joint turned along the shortest arc."""
    pose = {}
    for name in before:
        a, b = quaternions(before[name][None]), quaternions(after[name][None])
        pose[name] = local_from_trs(np.zeros((1, 3)), slerp(a, b, share), np.ones((1, 3)))[0, :3, :3]
    return pose


@pytest.mark.parametrize("creature", [biped(), quadruped(), fish()], ids=["biped", "quadruped", "fish"])
def test_a_creature_reads_back_in_every_key_pose(tmp_path: Path, creature: Creature):
    poses = write_walk(tmp_path / "walk.glb", creature)
    scene = load_scene(tmp_path / "walk.glb")
    np.testing.assert_allclose(scene.evaluate(0.0, None), creature.mesh.verts, atol=1e-5)
    for time_s, pose in zip(TIMES_S, poses, strict=True):
        np.testing.assert_allclose(scene.evaluate(float(time_s), 0), creature.pose(pose), atol=1e-5)


def test_joints_turn_along_the_shortest_arc_between_keys(tmp_path: Path):
    creature = biped()
    poses = write_walk(tmp_path / "walk.glb", creature)
    scene = load_scene(tmp_path / "walk.glb")
    for key, share in ((0, 0.5), (2, 0.25), (5, 0.9)):
        time_s = float(TIMES_S[key] + share * (TIMES_S[key + 1] - TIMES_S[key]))
        expected = creature.pose(between(poses[key], poses[key + 1], share))
        np.testing.assert_allclose(scene.evaluate(time_s, 0), expected, atol=1e-5)
        # The keys around it differ visibly, so this says something about the way between them.
        assert np.abs(expected - creature.pose(poses[key])).max() > 1e-3


def test_offsets_shift_the_whole_creature(tmp_path: Path):
    creature = biped()
    poses = write_walk(tmp_path / "walk.glb", creature, OFFSETS)
    scene = load_scene(tmp_path / "walk.glb")
    for time_s, pose, offset in zip(TIMES_S, poses, OFFSETS, strict=True):
        expected = creature.pose(pose) + offset
        np.testing.assert_allclose(scene.evaluate(float(time_s), 0), expected, atol=1e-5)
    middle = float(TIMES_S[3] + TIMES_S[4]) / 2
    expected = creature.pose(between(poses[3], poses[4], 0.5)) + (OFFSETS[3] + OFFSETS[4]) / 2
    np.testing.assert_allclose(scene.evaluate(middle, 0), expected, atol=1e-5)


def test_triangles_and_uvs_read_back(tmp_path: Path):
    creature = biped()
    write_walk(tmp_path / "walk.glb", creature)
    scene = load_scene(tmp_path / "walk.glb")
    np.testing.assert_array_equal(scene.tris, creature.mesh.tris)
    np.testing.assert_allclose(scene.uvs, creature.mesh.uvs[creature.mesh.tris], atol=1e-6)
    assert [(o.name, o.n_tris, o.has_uvs) for o in scene.objects] == [
        ("walker", len(creature.mesh.tris), True)
    ]


def test_objects_keep_their_order_names_and_places(tmp_path: Path):
    objects = [
        MeshNode("floor", box((4, 0.1, 4))),
        MeshNode("ball", sphere(0.5), translation=(1.0, 2.0, 3.0)),
        CreatureNode("walker", biped()),
    ]
    write_glb(tmp_path / "things.glb", GltfScene(objects))
    scene = load_scene(tmp_path / "things.glb")
    assert [o.name for o in scene.objects] == ["floor", "ball", "walker"]
    ball = scene.evaluate(0.0, None)[np.unique(scene.tris[scene.object_id == 2])]
    np.testing.assert_allclose(ball.mean(axis=0), [1, 2, 3], atol=0.05)
    np.testing.assert_allclose(ball.max(axis=0) - ball.min(axis=0), 1.0, atol=1e-5)


def test_a_rigid_object_and_a_camera_follow_their_keys(tmp_path: Path):
    cameras = [
        Camera.look_at(np.array([np.sin(a), 0.5, np.cos(a)]) * 3, np.zeros(3), yfov_deg=33.0)
        for a in 2 * TIMES_S
    ]
    turns = np.stack([rotation_about((1, 2, 3), 3 * a) for a in TIMES_S])
    poses = np.stack([camera.world_from_camera for camera in cameras])
    part = box((1, 2, 3))
    keys = {
        "Dolly": NodeKeys(TIMES_S, poses[:, :3, :3], poses[:, :3, 3]),
        "box": NodeKeys(TIMES_S, turns, OFFSETS),
    }
    scene_file = GltfScene([MeshNode("box", part)], [CameraNode("Dolly", cameras[0])], {"Move": keys})
    write_glb(tmp_path / "move.glb", scene_file)

    scene = load_scene(tmp_path / "move.glb")
    assert scene.camera_names == ("Dolly",)
    assert [(a.name, a.duration_s) for a in scene.animations] == [("Move", 1.0)]
    for key, time_s in enumerate(TIMES_S.tolist()):
        camera = scene.camera("Dolly", time_s, 0)
        np.testing.assert_allclose(camera.world_from_camera, poses[key], atol=1e-5)
        assert camera.yfov_deg == pytest.approx(33.0, abs=1e-5)
        expected = part.verts @ turns[key].T + OFFSETS[key]
        np.testing.assert_allclose(scene.evaluate(time_s, 0), expected, atol=1e-5)
    at_rest = scene.camera("Dolly", 0.0, None)
    np.testing.assert_allclose(at_rest.world_from_camera, poses[0], atol=1e-5)


def test_two_creatures_of_one_kind_share_a_file(tmp_path: Path):
    creature = biped()
    nodes = [CreatureNode("ann", creature), CreatureNode("ben", creature)]
    pose = walk_cycle(creature, 0.2)
    keys = creature_keys(nodes[1], np.array([0.0]), [pose], np.array([[2.0, 0, 0]]))
    write_glb(tmp_path / "two.glb", GltfScene(nodes, animations={"Ben walks": keys}))
    scene = load_scene(tmp_path / "two.glb")
    verts = scene.evaluate(0.0, 0)
    n_verts = len(creature.mesh.verts)
    np.testing.assert_allclose(verts[:n_verts], creature.mesh.verts, atol=1e-5)
    np.testing.assert_allclose(verts[n_verts:], creature.pose(pose) + np.array([2, 0, 0]), atol=1e-5)


def test_equal_scenes_give_equal_bytes():
    node = CreatureNode("walker", biped())
    poses = [walk_cycle(node.creature, phase) for phase in TIMES_S]
    first, second = (
        glb_bytes(GltfScene([node], animations={"Walk": creature_keys(node, TIMES_S, poses)}))
        for _ in range(2)
    )
    assert first == second
    # Angles that differ in their last digits only, as on another processor, leave no trace.
    poses = [walk_cycle(node.creature, np.nextafter(phase, 2)) for phase in TIMES_S]
    nudged = glb_bytes(GltfScene([node], animations={"Walk": creature_keys(node, TIMES_S, poses)}))
    assert nudged == first


def test_the_file_keeps_to_the_format():
    """What a strict reader demands and our own loader does not look at."""
    node = CreatureNode("walker", biped())
    poses = [walk_cycle(node.creature, phase) for phase in TIMES_S]
    data = glb_bytes(GltfScene([node], animations={"Walk": creature_keys(node, TIMES_S, poses, OFFSETS)}))
    magic, version, length, json_length = struct.unpack_from("<4sIII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    doc = json.loads(data[20 : 20 + json_length])
    assert doc["asset"] == {"generator": "genrender", "version": "2.0"}
    blob = data[20 + json_length + 8 :]
    arrays = [_read(doc, blob, index) for index in range(len(doc["accessors"]))]
    for view in doc["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
    for mesh in doc["meshes"]:
        attributes = mesh["primitives"][0]["attributes"]
        position = doc["accessors"][attributes["POSITION"]]
        np.testing.assert_array_equal(position["min"], arrays[attributes["POSITION"]].min(axis=0))
        np.testing.assert_array_equal(position["max"], arrays[attributes["POSITION"]].max(axis=0))
        np.testing.assert_allclose(np.linalg.norm(arrays[attributes["NORMAL"]], axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(arrays[attributes["WEIGHTS_0"]].sum(axis=1), 1, atol=1e-6)
        assert arrays[attributes["JOINTS_0"]].max() < len(doc["skins"][0]["joints"])
    for sampler in doc["animations"][0]["samplers"]:
        times = doc["accessors"][sampler["input"]]
        assert (times["min"], times["max"]) == ([0.0], [1.0])
        assert doc["accessors"][sampler["output"]]["count"] == len(TIMES_S)


def _read(doc: dict, blob: bytes, index: int) -> np.ndarray:
    accessor = doc["accessors"][index]
    view = doc["bufferViews"][accessor["bufferView"]]
    dtype = {5126: "<f4", 5121: "u1", 5123: "<u2", 5125: "<u4"}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor["type"]]
    values = np.frombuffer(blob, dtype, accessor["count"] * width, view["byteOffset"])
    assert values.nbytes == view["byteLength"]
    return values.reshape(-1, width)


def test_seams_of_smooth_surfaces_do_not_show():
    data = glb_bytes(GltfScene([MeshNode("ball", sphere(0.5)), MeshNode("box", box())]))
    json_length = struct.unpack_from("<I", data, 12)[0]
    doc = json.loads(data[20 : 20 + json_length])
    blob = data[20 + json_length + 8 :]
    ball, cube = (mesh["primitives"][0]["attributes"] for mesh in doc["meshes"])
    outwards = _read(doc, blob, ball["POSITION"]) / 0.5
    normals = _read(doc, blob, ball["NORMAL"])
    assert (normals * outwards).sum(axis=1).min() > 0.99
    # A box has hard edges: every normal is along one axis.
    np.testing.assert_allclose(np.abs(_read(doc, blob, cube["NORMAL"])).max(axis=1), 1, atol=1e-6)


axis_parts = st.floats(-1, 1).map(lambda x: round(x, 3))


@settings(deadline=None, max_examples=60)
@given(
    axis=st.tuples(axis_parts, axis_parts, axis_parts).filter(lambda a: np.linalg.norm(a) > 0.1),
    angle=st.floats(-7, 7),
)
def test_quaternions_are_the_rotations(axis: tuple[float, float, float], angle: float):
    rotation = rotation_about(axis, angle)
    (quaternion,) = quaternions(rotation[None])
    back = local_from_trs(np.zeros((1, 3)), quaternion[None], np.ones((1, 3)))[0, :3, :3]
    np.testing.assert_allclose(back, rotation, atol=1e-12)
    assert quaternion[3] >= 0


def test_quaternions_never_jump_to_the_other_side():
    turns = np.stack([rotation_about((0, 1, 0), angle) for angle in np.linspace(0, 4 * np.pi, 60)])
    steps = np.sum(quaternions(turns)[1:] * quaternions(turns)[:-1], axis=1)
    assert steps.min() > 0.9


def test_bad_scenes_are_refused(tmp_path: Path):
    node = CreatureNode("walker", biped())
    with pytest.raises(SceneError, match="two nodes are called 'box'"):
        glb_bytes(GltfScene([MeshNode("box", box()), MeshNode("box", box())]))
    with pytest.raises(SceneError, match=r"animation 'Walk' moves 'tail', expected one of: walker:hips"):
        glb_bytes(GltfScene([node], animations={"Walk": {"tail": NodeKeys(TIMES_S, translation=OFFSETS)}}))
    with pytest.raises(MediaError, match="no such folder"):
        write_glb(tmp_path / "nowhere" / "a.glb", GltfScene([node]))
    assert joint_name(node, "hips") == "walker:hips"
