"""Keyframe sampling: hand-computed values and laws, in arrays and through tiny glTF files."""

import numpy as np
import pytest
from gltf_builder import TRIANGLE, GltfBuilder, one_triangle
from hypothesis import given
from hypothesis import strategies as st

from genrender.errors import SceneError
from genrender.scene.animation import Track, normalized, slerp, that_agree
from genrender.scene.load import load_scene
from genrender.scene.rig import local_from_trs, trs_from_local

HALF = float(np.sqrt(0.5))


def moved_triangle(tmp_path, times, values, interpolation, path="translation", **output):
    builder = one_triangle()
    builder.animate("move", [(0, path, times, values, interpolation)], **output)
    return load_scene(builder.save(tmp_path / "a.gltf"))


def first_vertex(scene, time_s):
    return scene.evaluate(time_s, 0)[0].tolist()


@pytest.mark.parametrize(
    ("time_s", "x"), [(-1.0, 0), (0.0, 0), (0.99, 0), (1.0, 10), (1.5, 10), (3.0, 30), (9.0, 30)]
)
def test_step_holds_each_key(tmp_path, time_s, x):
    scene = moved_triangle(tmp_path, [0, 1, 3], [[0, 0, 0], [10, 0, 0], [30, 0, 0]], "STEP")
    assert first_vertex(scene, time_s) == [x, 0, 0]


@pytest.mark.parametrize("frame", range(1, 24))
def test_step_changes_on_the_frame_that_was_meant(tmp_path, frame):
    # frame / 24 rounded to float32, as files store it, may lie above the float64 of the same frame.
    scene = moved_triangle(tmp_path, [0, np.float32(frame / 24)], [[0, 0, 0], [1, 0, 0]], "STEP")
    assert first_vertex(scene, frame / 24) == [1, 0, 0]


@pytest.mark.parametrize(
    ("time_s", "x"), [(0.0, 2), (1.0, 2), (1.5, 6), (2.0, 10), (3.5, 40), (4.0, 50), (7.0, 50)]
)
def test_linear_interpolates_and_clamps(tmp_path, time_s, x):
    scene = moved_triangle(tmp_path, [1, 2, 4], [[2, 0, 0], [10, 0, 0], [50, 0, 0]], "LINEAR")
    assert first_vertex(scene, time_s) == pytest.approx([x, 0, 0])


def test_linear_is_the_default(tmp_path):
    builder = one_triangle()
    builder.animate("move", [(0, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], "LINEAR")])
    del builder.doc["animations"][0]["samplers"][0]["interpolation"]
    assert first_vertex(load_scene(builder.save(tmp_path / "a.gltf")), 0.25) == [1, 0, 0]


def test_cubic_spline_against_a_polynomial(tmp_path):
    # x = t^3 is its own Hermite spline; its derivative 3 t^2 gives the tangents, per second.
    times = np.array([0.0, 0.5, 2.0])
    rows = [[[3 * t**2, 0, 0], [t**3, 0, 0], [3 * t**2, 0, 0]] for t in times]
    scene = moved_triangle(tmp_path, times, np.reshape(rows, (-1, 3)), "CUBICSPLINE")
    for t in (0.0, 0.2, 0.5, 1.0, 1.7, 2.0):
        assert first_vertex(scene, t) == pytest.approx([t**3, 0, 0], abs=1e-5)
    assert first_vertex(scene, 5.0) == pytest.approx([8, 0, 0])


def test_a_cubic_spline_uses_the_tangents_on_its_own_side(tmp_path):
    # Incoming tangent of the first key and outgoing tangent of the last one must not matter.
    values = [[99, 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0], [99, 0, 0]]
    scene = moved_triangle(tmp_path, [0, 1], values, "CUBICSPLINE")
    # h10 = 1/8, h01 = 1/2, h11 = -1/8 at the middle
    assert first_vertex(scene, 0.5) == pytest.approx([0.125 + 0.5 - 0.25, 0, 0])


def test_rotations_take_the_shorter_arc_at_constant_speed(tmp_path):
    # The second key is written with the opposite sign: the same rotation, a quarter turn about Z.
    scene = moved_triangle(tmp_path, [0, 1], [[0, 0, 0, 1], [0, 0, -HALF, -HALF]], "LINEAR", "rotation")
    for u in (0.0, 0.25, 0.5, 1.0):
        angle = u * np.pi / 2
        expected = [np.cos(angle), np.sin(angle), 0]
        assert scene.evaluate(u, 0)[1].tolist() == pytest.approx(expected, abs=1e-6)


def test_cubic_quaternions_are_normalized(tmp_path):
    zeros = [0, 0, 0, 0]
    values = [zeros, [0, 0, 0, 1], zeros, zeros, [0, 0, HALF, HALF], zeros]
    scene = moved_triangle(tmp_path, [0, 1], values, "CUBICSPLINE", "rotation")
    verts = scene.evaluate(0.5, 0)
    assert np.linalg.norm(verts[1]) == pytest.approx(1)
    # Without tangents the middle is the normalized mean, and that is half the angle.
    assert verts[1].tolist() == pytest.approx([HALF, HALF, 0], abs=1e-6)


def test_normalized_integer_rotations(tmp_path):
    stored = np.round(np.array([[0, 0, 0, 1], [0, 0, HALF, HALF]]) * 32767)
    scene = moved_triangle(tmp_path, [0, 1], stored, "LINEAR", "rotation", dtype="i2", normalized=True)
    assert scene.evaluate(1.0, 0)[1].tolist() == pytest.approx([0, 1, 0], abs=1e-4)


def test_scale_and_other_properties_keep_their_rest_value(tmp_path):
    builder = one_triangle(translation=[5, 0, 0])
    builder.animate("grow", [(0, "scale", [0, 1], [[1, 1, 1], [3, 3, 3]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert scene.evaluate(0.5, 0).tolist() == [[5, 0, 0], [7, 0, 0], [5, 2, 0]]
    assert scene.evaluate(0.5).tolist() == [[5, 0, 0], [6, 0, 0], [5, 1, 0]]


def test_an_animated_matrix_node_keeps_what_is_not_animated(tmp_path):
    builder = one_triangle(matrix=[0, 2, 0, 0, -2, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 1])
    builder.animate("move", [(0, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    np.testing.assert_allclose(scene.evaluate(1.0, 0), [[4, 0, 0], [4, 2, 0], [2, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(scene.evaluate(0.0), [[1, 1, 1], [1, 3, 1], [-1, 1, 1]], atol=1e-6)


def test_animations_are_found_by_name_number_or_first(tmp_path):
    builder = one_triangle()
    for name, x in (("Walk", 1), ("Run", 2), ("1st", 3)):
        builder.animate(name, [(0, "translation", [0, x], [[0, 0, 0], [x, 0, 0]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert [(a.name, a.duration_s) for a in scene.animations] == [("Walk", 1), ("Run", 2), ("1st", 3)]
    assert [scene.find_animation(name) for name in (None, "Run", "2", "1st", "run")] == [0, 1, 2, 2, 1]
    for name in ("running", "3", "-1", ""):
        with pytest.raises(SceneError, match="Walk, Run, 1st"):
            scene.find_animation(name)


def test_a_scene_without_animations_says_so(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    assert scene.find_animation(None) is None
    with pytest.raises(SceneError, match="has none"):
        scene.find_animation("Walk")


def test_animation_of_an_ancestor_moves_the_mesh(tmp_path):
    builder = GltfBuilder()
    builder.node(is_root=False, mesh=builder.mesh(TRIANGLE))
    builder.node(is_root=False, children=[0], scale=[2, 2, 2])
    builder.node(children=[1])
    builder.animate("move", [(2, "translation", [0, 1], [[0, 0, 0], [0, 0, 8]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    np.testing.assert_array_equal(scene.evaluate(0.5, 0), 2 * np.array(TRIANGLE) + [0, 0, 4])


def test_channels_with_the_same_keys_are_bundled():
    times = np.array([0.0, 1.0])
    values = np.array([[[0.0, 0, 0], [1, 1, 1]], [[2, 0, 0], [1, 5, 1]]])
    track = Track("translation", "LINEAR", np.array([4, 7]), times, values)
    assert track.sample(0.5).tolist() == [[1, 0, 0], [1, 3, 1]]


quaternions = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_laws(first, second, u):
    before, after = normalized(np.array([first])), normalized(np.array([second]))
    between = slerp(before, after, u)
    assert np.linalg.norm(between) == pytest.approx(1)

    def angle(a, b):
        return 2 * np.arccos(np.clip(np.abs(np.sum(a * b)), 0, 1))

    assert angle(before, between) == pytest.approx(u * angle(before, after), abs=1e-6)
    np.testing.assert_allclose(slerp(before, after, 0.0), before, atol=1e-9)


vectors = st.lists(st.floats(-9, 9), min_size=3, max_size=3)
scales = st.lists(st.floats(0.1, 9), min_size=3, max_size=3)


@given(vectors, quaternions, scales, st.booleans())
def test_a_matrix_taken_apart_and_put_together_is_the_same(translation, rotation, scale, is_mirrored):
    scale = np.array(scale) * ([-1, 1, 1] if is_mirrored else [1, 1, 1])
    matrix = local_from_trs(np.array([translation]), np.array([rotation]), scale[None])
    again = local_from_trs(*(part[None] for part in trs_from_local(matrix[0])))
    np.testing.assert_allclose(again, matrix, atol=1e-9)


def two_actions(tmp_path, *more, suffix=".gltf"):
    """A triangle that walks to x = 2 and a camera that rises to y = 3, an animation each, and others."""
    builder = one_triangle(name="Crate")
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    camera = builder.node(name="ShotCam", camera=0, translation=[0, 0, 5])
    builder.animate("Walk", [(0, "translation", [0, 1], [[0, 0, 0], [2, 0, 0]], "LINEAR")])
    builder.animate("Rise", [(camera, "translation", [0, 2], [[0, 0, 5], [0, 3, 5]], "LINEAR")])
    for name, channels in more:
        builder.animate(name, channels)
    return load_scene(builder.save(tmp_path / f"a{suffix}"))


RUN = ("Run", [(0, "translation", [0, 1], [[0, 0, 0], [9, 0, 0]], "LINEAR")])
TURN = ("Turn", [(0, "rotation", [0, 3], [[0, 0, 0, 1], [0, 0, HALF, HALF]], "LINEAR")])


def eye(scene, time_s, animation):
    return scene.camera("ShotCam", time_s, animation).world_from_camera[:3, 3].tolist()


@pytest.mark.parametrize("wanted", [None, "all", "ALL", "2"])
def test_animations_that_move_different_things_play_together(tmp_path, wanted):
    scene = two_actions(tmp_path)
    index = scene.find_animation(wanted)
    assert scene.evaluate(1.0, index)[0].tolist() == [2, 0, 0]
    assert eye(scene, 2.0, index) == [0, 3, 5]
    assert scene.animations[index].duration_s == 2
    assert scene.describe_animation(index) == "Walk, Rise play together (--animation NAME plays one alone)"


def test_one_of_them_plays_alone_when_it_is_named(tmp_path):
    scene = two_actions(tmp_path)
    index = scene.find_animation("Walk")
    assert scene.evaluate(1.0, index)[0].tolist() == [2, 0, 0]
    assert eye(scene, 2.0, index) == [0, 0, 5]
    assert scene.describe_animation(index) == (
        "animation Walk plays alone, without Rise (--animation NAME chooses)"
    )


def test_of_animations_that_move_the_same_the_first_plays_and_the_others_are_named(tmp_path):
    scene = two_actions(tmp_path, RUN, TURN)
    index = scene.find_animation("all")
    assert index == scene.find_animation(None)
    assert scene.animations[index].together == ("Walk", "Rise", "Turn")
    assert scene.animations[index].left == ("Run",)
    np.testing.assert_allclose(scene.evaluate(3.0, index)[1], [2, 1, 0], atol=1e-6)
    assert "left out, since they move the same things: Run (" in scene.describe_animation(index)


def test_where_all_move_the_same_the_first_plays(tmp_path):
    builder = one_triangle()
    builder.animate("Walk", [(0, "translation", [0, 1], [[0, 0, 0], [2, 0, 0]], "LINEAR")])
    builder.animate(*RUN)
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert len(scene.animations) == 2
    assert scene.find_animation(None) == scene.find_animation("all") == 0
    assert scene.describe_animation(0) == (
        "animation Walk plays alone, without Run (--animation NAME chooses)"
    )


def test_an_animation_that_moves_nothing_is_not_the_one_that_plays(tmp_path):
    builder = one_triangle()
    builder.animate("Blink", [])
    builder.animate(*RUN)
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert scene.find_animation(None) == 1
    assert scene.find_animation("0") == 0


def test_a_single_animation_needs_no_word(tmp_path):
    scene = moved_triangle(tmp_path, [0, 1], [[0, 0, 0], [1, 0, 0]], "LINEAR")
    assert scene.find_animation("all") == 0
    assert scene.describe_animation(0) is None


def test_an_animation_of_the_file_called_all_is_that_one(tmp_path):
    scene = two_actions(tmp_path, ("all", [(0, "scale", [0, 1], [[1, 1, 1], [4, 4, 4]], "LINEAR")]))
    index = scene.find_animation("all")
    assert scene.animations[index].together == ()
    assert scene.evaluate(1.0, index)[1].tolist() == [4, 0, 0]
    assert scene.animations[scene.find_animation(None)].together == ("Walk", "Rise", "all")


def test_case_counts_only_where_names_differ_by_it(tmp_path):
    scene = two_actions(tmp_path, ("walk", RUN[1]))
    assert scene.find_animation("rise") == 1
    assert [scene.find_animation(name) for name in ("Walk", "walk")] == [0, 2]
    with pytest.raises(SceneError, match="animation 'WALK' may be any of Walk, walk; write it as the file"):
        scene.find_animation("WALK")
    assert scene.camera("shotcam", 0.0).yfov_deg == pytest.approx(np.rad2deg(0.8))


def test_the_same_things_moved_in_other_ways_do_agree():
    translation = Track("translation", "LINEAR", np.array([0]), np.zeros(1), np.zeros((1, 1, 3)))
    rotation = Track("rotation", "LINEAR", np.array([0]), np.zeros(1), np.zeros((1, 1, 4)))
    assert that_agree([(translation,), (rotation,), (translation, rotation), ()]) == [0, 1]
