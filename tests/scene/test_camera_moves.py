"""Dolly, handheld, lenses and splines: every frame is held, motion is smooth, and figures are the optics'."""

import json

import numpy as np
import pytest
from gltf_builder import one_triangle
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_scenes import outside, scene_file

from genrender.errors import ConfigError, SceneError
from genrender.scene.cameras.file import Spline, read_camera_file
from genrender.scene.cameras.framing import FRAMING_YFOV_DEG, MARGIN
from genrender.scene.cameras.path import camera_path
from genrender.scene.load import load_scene
from genrender.scene.scene import Scene

TIMES_S = np.arange(12) / 12
SIZES = [(100, 100), (160, 90), (20, 200)]
FRAMED = ["static", "orbit", "turntable", "dolly", "handheld:7"]


def walking_triangle(tmp_path) -> Scene:
    builder = one_triangle()
    builder.animate("walk", [(0, "translation", [0, 1], [[0, 0, 0], [3, 0, 5]], "LINEAR")])
    return load_scene(builder.save(tmp_path / "a.gltf"))


def least_margin(scene, animation, path, height, width):
    """Of all vertices in all frames, in parts of the picture, and their least depth."""
    margin, least_depth = np.inf, np.inf
    for time_s in TIMES_S:
        place, depth = path.at(time_s).project(scene.evaluate(time_s, animation), height, width)
        place = place / [width, height]
        margin = min(margin, place.min(), (1 - place).min())
        least_depth = min(least_depth, depth.min())
    return margin, least_depth


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lens", ["", ",200mm", ",110deg", ",ortho"])
@pytest.mark.parametrize("motion", FRAMED)
def test_every_frame_is_held_through_every_lens(tmp_path, motion, lens, size):
    if (motion, lens) == ("dolly", ",ortho"):
        pytest.skip("refused, see below")
    height, width = size
    scene = walking_triangle(tmp_path)
    path = camera_path(motion + lens, scene, 0, TIMES_S, width / height)
    assert path.name == motion + lens
    margin, least_depth = least_margin(scene, 0, path, height, width)
    assert least_depth > 0
    # Not only held, but as large as the margin allows in one frame or another (a dolly at its end).
    assert margin == pytest.approx(MARGIN, abs=1e-4)


@pytest.mark.parametrize(
    "spec", ["dolly,35mm", "handheld:3", "orbit,ortho", "static,ortho", "turntable,85mm"]
)
@pytest.mark.parametrize(
    ("name", "animation"),
    [
        ("walking_biped.glb", "Walk"),
        ("automaton.glb", "Dance"),
        outside("Fox.glb", "Run"),
        outside("RobotExpressive.glb", "WalkJump"),
    ],
)
def test_characters_are_held(tmp_path, name, animation, spec):
    scene = load_scene(scene_file(name, tmp_path))
    index = scene.find_animation(animation)
    margin, least_depth = least_margin(scene, index, camera_path(spec, scene, index, TIMES_S, 1.5), 100, 150)
    assert least_depth > 0
    # A dolly has the whole clip in every frame, so it need not touch the margin in the moment of its end.
    assert MARGIN - 1e-4 < margin < (0.25 if spec.startswith("dolly") else MARGIN + 1e-4)


def test_blanks_around_a_lens_mean_nothing(tmp_path):
    scene = walking_triangle(tmp_path)
    plain, spaced = (camera_path(spec, scene, 0, TIMES_S, 1.0) for spec in ("orbit,35mm", " orbit, 35mm "))
    assert spaced.name == plain.name
    np.testing.assert_array_equal(spaced.at(0.3).world_from_camera, plain.at(0.3).world_from_camera)


@pytest.mark.parametrize("motion", ["static", "orbit", "dolly", "handheld"])
def test_a_lens_changes_the_field_of_view_and_the_distance(tmp_path, motion):
    scene = walking_triangle(tmp_path)
    eyes = {}
    # 50 mm in front of 24 mm of sensor: 26.99 degrees, as tables of lenses say.
    for lens, yfov_deg in (("", FRAMING_YFOV_DEG), (",50mm", 26.99), (",12mm", 90.0), (",26.5deg", 26.5)):
        camera = camera_path(motion + lens, scene, 0, TIMES_S, 1.0).at(TIMES_S[-1])
        assert camera.yfov_deg == pytest.approx(yfov_deg, abs=0.005)
        assert camera.ymag is None
        eyes[lens] = np.linalg.norm(camera.world_from_camera[:3, 3])
    assert eyes[",12mm"] < eyes[""] < eyes[",50mm"] < eyes[",26.5deg"]


def test_an_orthographic_view_shows_sizes_that_do_not_depend_on_depth(tmp_path):
    scene = walking_triangle(tmp_path)
    camera = camera_path("static,ortho", scene, 0, TIMES_S, 1.0).at(0.0)
    assert camera.ymag is not None
    sides = [np.ptp(camera.project(scene.evaluate(t, 0), 100, 100)[0], axis=0) for t in (0.0, 1.0)]
    np.testing.assert_allclose(*sides, rtol=1e-5)


def test_a_dolly_halves_its_distance_along_one_line_and_starts_and_stops_gently(tmp_path):
    scene = walking_triangle(tmp_path)
    path = camera_path("dolly", scene, 0, TIMES_S, 1.0)
    still = camera_path("static", scene, 0, TIMES_S, 1.0).at(0.0)
    cameras = [path.at(t) for t in TIMES_S]
    np.testing.assert_allclose(cameras[-1].world_from_camera, still.world_from_camera)
    eyes = np.array([camera.world_from_camera[:3, 3] for camera in cameras])
    for camera in cameras:
        np.testing.assert_array_equal(camera.world_from_camera[:3, :3], still.world_from_camera[:3, :3])
    way = (eyes - eyes[-1]) @ still.world_from_camera[:3, 2]
    np.testing.assert_allclose(eyes - eyes[-1], np.outer(way, still.world_from_camera[:3, 2]), atol=1e-12)
    moments = np.array([scene.evaluate(t, 0) for t in TIMES_S])
    centre = (moments.min(axis=(0, 1)) + moments.max(axis=(0, 1))) / 2
    depth = np.array([-(centre - eye) @ still.world_from_camera[:3, 2] for eye in eyes])
    assert depth[0] == pytest.approx(2 * depth[-1])
    steps = -np.diff(way)
    assert (steps > 0).all()
    assert steps[0] < steps[5] / 2
    assert steps[-1] < steps[5] / 2


def test_a_hand_moves_smoothly_and_differently_with_every_seed(tmp_path):
    scene = walking_triangle(tmp_path)
    hands = {
        spec: camera_path(spec, scene, 0, TIMES_S, 1.0) for spec in ("handheld", "handheld:0", "handheld:1")
    }
    fine_s = np.linspace(0, 10, 2401)
    poses = {spec: np.array([path.at(t).world_from_camera for t in fine_s]) for spec, path in hands.items()}
    np.testing.assert_array_equal(poses["handheld"], poses["handheld:0"])
    assert np.abs(poses["handheld"] - poses["handheld:1"]).max() > 1e-3
    for pose in poses.values():
        rotation = pose[:, :3, :3]
        np.testing.assert_allclose(
            rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (2401, 1, 1)), atol=1e-12
        )
        # It is never still for long, and a tenth of a second changes its speed by little: no jerks.
        speed = np.diff(pose[:, :3], axis=0).reshape(2400, -1)
        assert np.linalg.norm(speed, axis=1).max() > 0
        change = np.linalg.norm(np.diff(speed, axis=0), axis=1).max()
        assert change < 0.05 * np.linalg.norm(speed, axis=1).max()
    # The subject wanders by some hundredths of the picture, not by more.
    places = [hands["handheld"].at(t).project(scene.rest_verts, 1, 1)[0].mean(axis=0) for t in fine_s]
    assert 0.01 < np.ptp(places, axis=0).max() < 0.15


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("dolly,ortho", "would show the same picture"),
        ("orbit,35", "unknown lens '35' of camera 'orbit,35'; expected orbit, turntable"),
        ("orbit,", "unknown lens ''"),
        ("orbit,0mm", "unknown lens '0mm'"),
        ("orbit,179deg", "expected 0.1 to 170"),
        ("orbit,99999mm", "expected 0.1 to 170"),
        ("handheld:x", "unknown camera 'handheld:x'"),
        ("handheld:-1", "unknown camera 'handheld:-1'"),
    ],
)
def test_what_is_no_camera_is_refused(tmp_path, spec, said):
    with pytest.raises(ConfigError, match=said) as caught:
        camera_path(spec, walking_triangle(tmp_path), 0, TIMES_S, 1.0)
    assert "\n" not in str(caught.value)


coordinates = st.floats(-100, 100)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0.2, 5), coordinates, coordinates), min_size=1, max_size=8))
def test_a_spline_goes_through_its_keys_without_a_corner(keys):
    times_s = np.cumsum([key[0] for key in keys])
    spline = Spline(times_s, np.array([key[1:] for key in keys]))
    for time_s, value in zip(times_s, spline.values, strict=True):
        np.testing.assert_allclose(spline(time_s), value, atol=1e-9)
    h = 1e-6
    for time_s in times_s[1:-1]:
        before, after = ((spline(time_s + s) - spline(time_s)) / s for s in (-h, h))
        np.testing.assert_allclose(before, after, atol=0.2)  # of slopes up to 1000
    np.testing.assert_array_equal(spline(-10.0), spline.values[0])
    np.testing.assert_array_equal(spline(1e6), spline.values[-1])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.1, 3), min_size=4, max_size=7), coordinates, coordinates, coordinates)
def test_a_spline_is_a_parabola_where_its_keys_are(steps, a, b, c):
    """Whatever the times between the keys, but for the outer pieces, whose ends have one neighbour only."""
    times_s = np.cumsum(steps)
    curve = np.polynomial.Polynomial([a, b, c])
    spline = Spline(times_s, curve(times_s)[:, None])
    for time_s in np.linspace(times_s[1], times_s[-2], 23):
        np.testing.assert_allclose(spline(time_s)[0], curve(time_s), rtol=1e-7, atol=1e-6)


def test_a_spline_stands_still_between_equal_keys_and_is_straight_between_two():
    spline = Spline(np.arange(5.0), np.array([[0.0], [2.0], [2.0], [5.0], [6.0]]))
    assert [spline(t)[0] for t in (1.0, 1.3, 1.7, 2.0)] == [2.0] * 4
    two = Spline(np.array([1.0, 3.0]), np.array([[0.0], [4.0]]))
    assert two(1.5)[0] == pytest.approx(1.0)


def file_with(tmp_path, *keys):
    file = tmp_path / "camera.json"
    file.write_text(json.dumps(list(keys)))
    return file


VIEW = {"eye": [0, 0, 4], "target": [0, 0, 0]}


def test_lenses_of_camera_files(tmp_path):
    assert read_camera_file(file_with(tmp_path, {**VIEW, "focal_mm": 12}))(0.0).yfov_deg == pytest.approx(90)
    camera = read_camera_file(file_with(tmp_path, {**VIEW, "ymag": 2.5}))(0.0)
    assert camera.ymag == 2.5
    zoom = [{**VIEW, "time": t, "ymag": ymag} for t, ymag in enumerate((4, 1, 1, 2))]
    at = read_camera_file(file_with(tmp_path, *zoom))
    assert (
        min(at(t).ymag for t in np.linspace(0, 3, 99)) == 1
    )  # a spline swings past its keys, a lens does not


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ([{**VIEW, "focal_mm": 0}], "focal_mm 0, expected a focal length in mm, 0.01 to"),
        ([{**VIEW, "ymag": -1}], "ymag -1, expected half the height"),
        ([{**VIEW, "ymag": 1, "yfov_deg": 40}], "both yfov_deg and ymag; give one of them"),
        ([{**VIEW, "ymag": 1, "time": 0}, {**VIEW, "time": 1}], "give it to all or to none"),
    ],
)
def test_broken_lenses_of_camera_files(tmp_path, keys, said):
    with pytest.raises(SceneError, match=said):
        read_camera_file(file_with(tmp_path, *keys))
