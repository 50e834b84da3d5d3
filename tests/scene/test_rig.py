"""Skins and morph targets: laws, hand-computed values, and the real characters."""

# ruff: noqa: RUF005 - an array plus an offset is no concatenation of lists

import itertools

import numpy as np
import pytest
from gltf_builder import SQUARE, STRIP, TRIANGLE, GltfBuilder, morphing, one_triangle, skinned_strip
from whole_scenes import outside, scene_file

from genrender.scene.load import load_scene
from genrender.scene.rig import local_from_trs

QUARTER_TURN = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]


def test_joints_in_their_bind_pose_give_the_mesh(tmp_path):
    scene = load_scene(skinned_strip().save(tmp_path / "a.glb"))
    np.testing.assert_allclose(scene.rest_verts, STRIP, atol=1e-6)


def test_a_bent_knee(tmp_path):
    builder = skinned_strip()
    builder.animate("bend", [(2, "rotation", [0, 1], [[0, 0, 0, 1], QUARTER_TURN], "LINEAR")])
    verts = load_scene(builder.save(tmp_path / "a.glb")).evaluate(1.0, 0)
    # Below the knee's share nothing moves; the far end turns about (0, 1); between is the mean of both.
    turned = np.array([[-1, 1, 0], [-1, 2, 0]])
    np.testing.assert_allclose(verts[:2], STRIP[:2], atol=1e-6)
    np.testing.assert_allclose(verts[4:], turned, atol=1e-6)
    np.testing.assert_allclose(verts[2:4], (STRIP[2:4] + [[0, 1, 0], [0, 2, 0]]) / 2, atol=1e-6)


def test_a_skin_without_inverse_bind_matrices_takes_identities(tmp_path):
    scene = load_scene(skinned_strip(inverse_bind=False).save(tmp_path / "a.glb"))
    share = np.repeat([0, 0.5, 1], 2)
    np.testing.assert_allclose(scene.rest_verts, STRIP + np.outer(share, [0, 1, 0]), atol=1e-6)


def test_the_transform_of_the_skinned_node_itself_plays_no_part(tmp_path):
    moved = skinned_strip(mesh_node={"translation": [50, 0, 0], "scale": [3, 3, 3]})
    np.testing.assert_allclose(load_scene(moved.save(tmp_path / "a.glb")).rest_verts, STRIP, atol=1e-6)


def test_a_rigid_motion_of_the_root_joint_moves_everything_rigidly(tmp_path):
    builder = skinned_strip()
    builder.doc["nodes"][1].update(translation=[1, 2, 3], rotation=QUARTER_TURN)
    moved = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    matrix = local_from_trs(np.array([[1.0, 2, 3]]), np.array([QUARTER_TURN]), np.ones((1, 3)))[0]
    np.testing.assert_allclose(moved, STRIP @ matrix[:3, :3].T + matrix[:3, 3], atol=1e-5)


@pytest.mark.parametrize("joint_dtype", ["u1", "u2"])
def test_eight_influences_come_in_two_sets(tmp_path, joint_dtype):
    joints = np.tile([0, 0, 0, 0, 1, 0, 0, 0], (6, 1))
    weights = np.tile([0.25, 0, 0, 0.25, 0.5, 0, 0, 0], (6, 1))
    builder = skinned_strip(joints, weights, n_sets=2, joint_dtype=joint_dtype)
    builder.doc["nodes"][2]["translation"] = [4, 1, 0]
    verts = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    np.testing.assert_allclose(verts, STRIP + [2, 0, 0], atol=1e-6)


def test_weights_are_normalized_and_loose_vertices_follow_their_first_joint(tmp_path):
    joints = np.tile([0, 1, 99, 0], (6, 1))  # joint 99 has no weight and does not exist
    weights = np.tile([0.2, 0.2, 0, 0], (6, 1))
    weights[0] = 0
    builder = skinned_strip(joints, weights)
    builder.doc["nodes"][2]["translation"] = [4, 1, 0]
    verts = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    np.testing.assert_allclose(verts[1:], STRIP[1:] + [2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(verts[0], STRIP[0], atol=1e-6)


def test_a_mesh_with_joints_on_a_node_without_skin_is_rigid(tmp_path):
    builder = skinned_strip(mesh_node={"translation": [5, 0, 0]})
    del builder.doc["nodes"][0]["skin"]
    verts = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    np.testing.assert_allclose(verts, STRIP + [5, 0, 0])


def morphed_square(up, right):
    return np.array(SQUARE) + np.outer([0, 0, 1, 0], [0, 2 * up, 0]) + [right, 0, 0]


@pytest.mark.parametrize(
    ("mesh_weights", "node_weights", "expected"),
    [
        (None, None, (0, 0)),
        ([0.5, 1], None, (0.5, 1)),
        (None, [1, -1], (1, -1)),
        ([0.5, 1], [0, 0.25], (0, 0.25)),
    ],
)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_default_weights_of_mesh_and_node(tmp_path, mesh_weights, node_weights, expected, is_sparse):
    scene = load_scene(morphing(mesh_weights, node_weights, is_sparse).save(tmp_path / "a.glb"))
    np.testing.assert_allclose(scene.rest_verts, morphed_square(*expected), atol=1e-6)


@pytest.mark.parametrize("interpolation", ["STEP", "LINEAR", "CUBICSPLINE"])
def test_animated_weights(tmp_path, interpolation):
    keys = np.array([[0, 0], [1, 4]])
    values = keys
    if interpolation == "CUBICSPLINE":
        slope = [[1, 4], [1, 4]]  # of a straight line
        values = np.stack([slope, keys, slope], axis=1)
    builder = morphing(mesh_weights=[9, 9])
    builder.animate("morph", [(0, "weights", [0, 1], np.ravel(values), interpolation)])
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    middle = (0, 0) if interpolation == "STEP" else (0.25, 1)
    np.testing.assert_allclose(scene.evaluate(0.25, 0), morphed_square(*middle), atol=1e-6)
    np.testing.assert_allclose(scene.evaluate(2.0, 0), morphed_square(1, 4), atol=1e-6)
    np.testing.assert_allclose(scene.evaluate(0.25), morphed_square(9, 9), atol=1e-6)


def test_instances_morph_on_their_own(tmp_path):
    builder = morphing()
    builder.node(mesh=0)
    builder.animate("morph", [(1, "weights", [0, 1], [0, 0, 1, 0], "LINEAR")])
    verts = load_scene(builder.save(tmp_path / "a.glb")).evaluate(1.0, 0)
    np.testing.assert_allclose(verts, [*morphed_square(0, 0), *morphed_square(1, 0)], atol=1e-6)


def test_morphs_come_before_the_skin(tmp_path):
    builder = skinned_strip()
    target = builder.accessor(np.tile([1, 0, 0], (6, 1)))
    builder.doc["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": target}]
    builder.doc["meshes"][0]["weights"] = [1]
    builder.doc["nodes"][1]["rotation"] = QUARTER_TURN
    verts = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    shifted = STRIP + [1, 0, 0]
    np.testing.assert_allclose(verts, shifted @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]), atol=1e-6)


def test_the_rest_pose_cannot_be_overwritten(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    with pytest.raises(ValueError, match="read-only"):
        scene.evaluate(0.0)[0] = 1
    assert np.array_equal(scene.rest_verts, np.array(TRIANGLE, np.float32))


@pytest.mark.parametrize("name", [outside("SimpleSkin.gltf")])
def test_simple_skin_bends_as_its_tutorial_says(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    verts = scene.evaluate(1.0, 0)
    # At 1 s the upper joint has turned by a quarter about (0, 1): the far end lies to its left.
    np.testing.assert_allclose(verts[:2], [[-0.5, 0, 0], [0.5, 0, 0]], atol=1e-5)
    top = scene.rest_verts[-2:] - [0, 1, 0]
    np.testing.assert_allclose(verts[-2:], np.stack([-top[:, 1], top[:, 0] + 1, top[:, 2]], 1), atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "walking_biped.glb",
        "trotting_quadruped.glb",
        "cart.glb",
        "automaton.glb",
        "jelly.glb",
        outside("Fox.glb"),
        outside("RobotExpressive.glb"),
        outside("CesiumMilkTruck.glb"),
        outside("MorphStressTest.gltf"),
    ],
)
def test_scenes_evaluate_at_any_time(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    for index, animation in enumerate(scene.animations):
        end = animation.duration_s
        frames = [scene.evaluate(t, index) for t in (-1.0, 0.0, end / 3, end, end + 1)]
        assert all(frame.shape == scene.rest_verts.shape for frame in frames)
        np.testing.assert_array_equal(frames[3], frames[4])
        assert np.ptp(np.stack(frames), axis=0).max() > 0
    np.testing.assert_array_equal(scene.evaluate(3.0), scene.rest_verts)


@pytest.mark.parametrize("name", ["walking_biped.glb", "automaton.glb", outside("RobotExpressive.glb")])
def test_a_motion_is_continuous(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    dance = scene.find_animation("Dance")

    def steps(times):
        frames = [scene.evaluate(t, dance) for t in times]
        return np.array([np.abs(b - a).max() for a, b in itertools.pairwise(frames)])

    # A quaternion that goes the long way round, or a key that is missed, jumps however short the step is.
    times = np.linspace(0, scene.animations[dance].duration_s, 101)
    coarse = steps(times)
    fastest = int(coarse.argmax())
    fine = steps(np.linspace(times[fastest], times[fastest + 1], 101))
    assert fine.max() < 5 * coarse.max() / 100


@pytest.mark.parametrize("name", ["cart.glb", outside("CesiumMilkTruck.glb")])
def test_the_wheels_turn_rigidly(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    wheel = np.unique(scene.tris[scene.object_id == 2])
    before, after = (scene.evaluate(t, 0)[wheel].astype(np.float64) for t in (0.0, 0.2))
    before, after = before - before.mean(axis=0), after - after.mean(axis=0)
    assert np.abs(before - after).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1), atol=1e-4)
    np.testing.assert_allclose(before @ before[:5].T, after @ after[:5].T, atol=1e-4)


@pytest.mark.parametrize("joint", [0, 1])
def test_a_vertex_that_no_joint_holds_follows_its_first(tmp_path, joint):
    weights = np.tile([0.0, 1, 0, 0], (6, 1))
    weights[0] = 0
    builder = skinned_strip(np.tile([joint, 0, 1, 1], (6, 1)), weights)
    builder.doc["nodes"][1].update(translation=[0, 0, 3])
    builder.doc["nodes"][2].update(translation=[0, 1, 4])
    verts = load_scene(builder.save(tmp_path / "a.glb")).rest_verts
    assert verts[0].tolist() == [0, 0, [3, 7][joint]]
    np.testing.assert_allclose(verts[1:], STRIP[1:] + [0, 0, 3])


def test_some_primitives_of_a_mesh_have_morph_targets_and_some_fewer(tmp_path):
    builder = GltfBuilder()
    far = [[9, 0, 0], [10, 0, 0], [9, 1, 0]]
    targets = [{"POSITION": builder.accessor(np.tile(move, (3, 1)))} for move in ([0, 2, 0], [0, 0, 4])]
    builder.mesh(TRIANGLE, targets=targets, weights=[0.5, 1])
    builder.mesh(far)
    builder.mesh([[5, 0, 0], [6, 0, 0], [5, 1, 0]], targets=targets[:1])
    first, *others = builder.doc["meshes"]
    first["primitives"] += [other["primitives"][0] for other in others]
    builder.doc["meshes"] = [first]
    builder.node(mesh=0)
    builder.animate("wave", [(0, "weights", [0, 1], [0, 0, 1, 1], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    assert len(scene.tris) == 3
    assert scene.rest_verts[::3].tolist() == [[0, 1, 4], [9, 0, 0], [5, 1, 0]]
    assert scene.evaluate(1.0, 0)[::3].tolist() == [[0, 2, 4], [9, 0, 0], [5, 2, 0]]
