"""Camera paths: automatic framing holds every frame, and camera files say what is wrong with them."""

import json
import os

import numpy as np
import pytest
from gltf_builder import TRIANGLE, GltfBuilder, one_triangle
from whole_scenes import outside, scene_file

from genrender.errors import ConfigError, SceneError
from genrender.scene.camera import Camera
from genrender.scene.cameras.file import read_camera_file
from genrender.scene.cameras.framing import MARGIN
from genrender.scene.cameras.path import camera_path
from genrender.scene.load import load_scene

SIZES = [(100, 100), (90, 160), (160, 90), (20, 200)]


def projected(scene, animation, times_s, path, height, width):
    """Vertices of all frames in picture coordinates, 0 to 1 from the upper left, and their least depth."""
    places, depths = [], []
    for time_s in times_s:
        place, depth = path.at(time_s).project(scene.evaluate(time_s, animation), height, width)
        places.append(place / [width, height])
        depths.append(depth.min())
    return np.concatenate(places), min(depths)


def is_same_camera(a, b):
    return np.array_equal(a.world_from_camera, b.world_from_camera) and a.yfov_deg == b.yfov_deg


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "animation"),
    [
        ("walking_biped.glb", "Dance"),
        ("automaton.glb", "Dance"),
        ("jelly.glb", "Pulse"),
        ("still_life.glb", None),
        outside("Fox.glb", "Run"),
        outside("RobotExpressive.glb", "WalkJump"),
        outside("MorphStressTest.gltf", "Pulse"),
        outside("Duck.glb", None),
    ],
)
def test_a_static_view_is_filled_by_the_whole_clip(tmp_path, name, animation, size):
    height, width = size
    scene = load_scene(scene_file(name, tmp_path))
    index = scene.find_animation(animation)
    times_s = np.linspace(0, 2, 9)
    path = camera_path(None, scene, index, times_s, width / height)
    assert is_same_camera(path.at(0.0), path.at(2.0))
    places, depth = projected(scene, index, times_s, path, height, width)
    assert depth > 0
    assert places.min() > MARGIN - 1e-4
    assert places.max() < 1 - MARGIN + 1e-4
    # It touches both margins of one direction, and is centred in the other.
    free = np.array([places.min(axis=0), 1 - places.max(axis=0)])
    assert free.max(axis=0).min() < MARGIN + 1e-4
    np.testing.assert_allclose(free[0], free[1], atol=5e-3)


@pytest.mark.parametrize("spec", ["orbit", "turntable"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "animation"), [("walking_biped.glb", "Walk"), ("jelly.glb", "Pulse"), outside("Fox.glb", "Run")]
)
def test_circling_cameras_hold_every_frame(tmp_path, name, animation, spec, size):
    height, width = size
    scene = load_scene(scene_file(name, tmp_path))
    run = scene.find_animation(animation)
    times_s = np.arange(12) / 12
    path = camera_path(spec, scene, run, times_s, width / height)
    assert not is_same_camera(path.at(0.0), path.at(1 / 12))
    places, depth = projected(scene, run, times_s, path, height, width)
    assert depth > 0
    assert places.min() > MARGIN - 1e-4
    assert places.max() < 1 - MARGIN + 1e-4
    assert min(places.min(), 1 - places.max()) < MARGIN + 1e-4


def test_a_walking_root_stays_in_the_picture(tmp_path):
    builder = one_triangle()
    builder.animate("walk", [(0, "translation", [0, 1], [[0, 0, 0], [0, 0, 500]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    times_s = np.linspace(0, 1, 7)
    for spec in (None, "orbit", "turntable"):
        places, depth = projected(scene, 0, times_s, camera_path(spec, scene, 0, times_s, 1.5), 100, 150)
        assert depth > 0
        assert places.min() > MARGIN - 1e-4
        assert places.max() < 1 - MARGIN + 1e-4


def test_an_orbit_goes_round_once_and_a_turntable_the_other_way_at_eye_level(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    times_s = np.arange(8) / 8
    centre = scene.rest_verts.min(axis=0) / 2 + scene.rest_verts.max(axis=0) / 2
    turns = {}
    for spec in ("orbit", "turntable"):
        path = camera_path(spec, scene, None, times_s, 1.0)
        eyes = np.array([path.at(t).world_from_camera[:3, 3] for t in times_s]) - centre
        np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), np.linalg.norm(eyes[0]))
        azimuth = np.unwrap(np.arctan2(eyes[:, 0], eyes[:, 2]))
        turns[spec] = np.rad2deg(np.diff(azimuth))
        # The circle closes one step after the last frame.
        np.testing.assert_allclose(path.at(1.0).world_from_camera, path.at(0.0).world_from_camera, atol=1e-9)
        if spec == "turntable":
            np.testing.assert_allclose(eyes[:, 1], 0, atol=1e-9)
            np.testing.assert_allclose(eyes[0, 0], 0, atol=1e-9)
        else:
            assert (eyes[:, 1] > 0).all()
    np.testing.assert_allclose(turns["orbit"], 45)
    np.testing.assert_allclose(turns["turntable"], -45)


def test_unused_vertices_do_not_count(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([*TRIANGLE, [900, 900, 900]], [0, 1, 2]))
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    plain = load_scene(one_triangle().save(tmp_path / "b.gltf"))
    for spec in (None, "orbit"):
        matrices = [camera_path(spec, s, None, [0.0], 1.0).at(0.0).world_from_camera for s in (scene, plain)]
        np.testing.assert_allclose(*matrices)


@pytest.mark.parametrize("scale", [[0, 0, 0], [0, 0, 1]], ids=["a point", "a line along the view"])
@pytest.mark.parametrize("spec", [None, "orbit", "turntable"])
def test_scenes_without_extent_still_have_a_camera(tmp_path, scale, spec):
    builder = GltfBuilder()
    mesh = builder.mesh([[0, 0, 0], [1, 0, 1], [0, 1, 2]])
    builder.node(mesh=mesh, scale=scale, translation=[3, 3, 3])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    camera = camera_path(spec, scene, None, [0.0, 0.5], 1.0).at(0.0)
    places, depth = camera.project(scene.rest_verts, 10, 10)
    assert np.isfinite(places).all()
    assert depth.min() > 0


def with_camera(tmp_path, **camera):
    builder = one_triangle()
    builder.doc["cameras"] = [camera]
    builder.node(camera=0, translation=[0, 0, 5], scale=[2, 2, 2], name="eye")
    builder.animate("fly", [(1, "translation", [0, 1], [[0, 0, 5], [4, 0, 5]], "LINEAR")])
    return load_scene(builder.save(tmp_path / "a.gltf"))


def test_a_camera_of_the_scene_moves_with_its_node(tmp_path):
    scene = with_camera(tmp_path, type="perspective", perspective={"yfov": np.pi / 3, "znear": 0.1})
    assert scene.camera_names == ("eye",)
    for spec in ("scene:eye", "scene:0"):
        path = camera_path(spec, scene, 0, [0.0, 0.5, 1.0], 1.0)
        camera = path.at(0.5)
        expected = np.eye(4)
        expected[:3, 3] = [2, 0, 5]  # and no scale: a camera is rigid
        np.testing.assert_allclose(camera.world_from_camera, expected)
        assert camera.yfov_deg == pytest.approx(60)
        assert camera.ymag is None
    still = camera_path("scene:eye", scene, None, [0.0, 0.5], 1.0)
    assert is_same_camera(still.at(0.0), still.at(0.5))
    with pytest.raises(SceneError, match="no camera 'side'; it has: eye"):
        camera_path("scene:side", scene, 0, [0.0], 1.0)


def test_an_orthographic_camera_of_the_scene(tmp_path):
    orthographic = {"xmag": 3, "ymag": 2.5, "znear": 0, "zfar": 9}
    scene = with_camera(tmp_path, type="orthographic", orthographic=orthographic)
    assert camera_path("scene:eye", scene, None, [0.0], 1.0).at(0.0).ymag == 2.5


@pytest.mark.parametrize("name", ["still_life.glb", outside("Duck.glb")])
def test_the_camera_of_a_scene_sees_what_is_there(tmp_path, name):
    scene = load_scene(scene_file(name, tmp_path))
    path = camera_path(f"scene:{scene.camera_names[0]}", scene, None, [0.0], 1.5)
    places, depth = path.at(0.0).project(scene.rest_verts, 100, 150)
    assert depth.min() > 0
    is_inside = ((places >= 0) & (places <= [150, 100])).all(axis=1)
    assert is_inside.mean() > 0.9


def test_a_camera_file_with_one_camera(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    file = tmp_path / "camera.json"
    file.write_text('{"eye": [0, 0, 4], "target": [0, 0, 0], "up": [0, 1, 0], "yfov_deg": 30}')
    path = camera_path(str(file), scene, None, [0.0], 1.0)
    expected = np.eye(4)
    expected[2, 3] = 4
    np.testing.assert_allclose(path.at(3.0).world_from_camera, expected)
    assert path.at(0.0).yfov_deg == 30
    assert is_same_camera(path.at(0.0), path.at(3.0))


def test_a_camera_file_with_several_cameras_is_interpolated(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    file = tmp_path / "camera.json"
    keys = [
        {"time": 1, "eye": [0, 0, 4], "target": [0, 0, 0]},
        {"time": 3, "eye": [2, 0, 4], "target": [2, 0, 0], "yfov_deg": 25},
    ]
    file.write_text(json.dumps(keys))
    path = camera_path(str(file), scene, None, [0.0], 1.0)
    for time_s, x, yfov_deg in ((0.0, 0, 45), (1.5, 0.5, 40), (3.0, 2, 25), (9.0, 2, 25)):
        camera = path.at(time_s)
        assert camera.world_from_camera[:3, 3].tolist() == pytest.approx([x, 0, 4])
        assert camera.yfov_deg == pytest.approx(yfov_deg)


def circling(tmp_path, *keys):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    file = tmp_path / "camera.json"
    file.write_text(json.dumps([{"orbit": True, **key} for key in keys]))
    return camera_path(str(file), scene, None, [0.0], 1.0)


def test_a_camera_that_orbits_goes_around_its_target_and_not_through_it(tmp_path):
    path = circling(
        tmp_path,
        {"time": 0, "eye": [0, 0, 4], "target": [0, 0, 0]},
        {"time": 2, "eye": [0, 0, -9], "target": [0, 0, 0]},
    )
    for time_s, azimuth_deg, distance in ((0, 0, 4), (0.5, 45, 4 * 1.5**0.5), (1, 90, 6), (2, 180, 9)):
        pose = path.at(time_s).world_from_camera
        expected = distance * np.array([np.sin(np.deg2rad(azimuth_deg)), 0, np.cos(np.deg2rad(azimuth_deg))])
        np.testing.assert_allclose(pose[:3, 3], expected, atol=1e-9)
        np.testing.assert_allclose(pose[:3, 2] * distance, expected, atol=1e-9)  # it looks at its target
        np.testing.assert_allclose(pose[:3, 1], [0, 1, 0], atol=1e-9)


def test_a_camera_that_orbits_meets_its_views(tmp_path):
    rng = np.random.default_rng(0)
    places = (5 * rng.normal(size=(4, 3)), *rng.normal(size=(2, 4, 3)))
    rows = np.stack(places, axis=1).tolist()
    keys = [{"time": k, "eye": eye, "target": target, "up": up} for k, (eye, target, up) in enumerate(rows)]
    path = circling(tmp_path, *keys)
    for key in keys:
        expected = Camera.look_at(*(np.array(key[name]) for name in ("eye", "target", "up")))
        np.testing.assert_allclose(
            path.at(key["time"]).world_from_camera, expected.world_from_camera, atol=1e-9
        )
    # The shorter way round, across the seam of the angles.
    path = circling(
        tmp_path,
        {"time": 0, "eye": [1, 0, -9], "target": [0, 0, 0]},
        {"time": 1, "eye": [-1, 0, -9], "target": [0, 0, 0]},
    )
    assert path.at(0.5).world_from_camera[2, 3] == pytest.approx(-np.hypot(1, 9))


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (
            '[{"eye": [0,0,1], "target": [0,0,0], "time":1, "orbit": true},'
            '{"eye": [0,0,2], "target": [0,0,0], "time":2}]',
            "to all or to none",
        ),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "orbit": 1}', "orbit 1, expected true or false"),
        ('{"eye": [0, 1, 0], "target": [0, 0, 0], "orbit": true}', "straight up or down.*leave orbit out"),
        ("nonsense", "its JSON cannot be read .*expected a camera file"),
        ("[]", "not a camera file"),
        ("3", "not a camera file"),
        ("[3]", "not a camera file"),
        ('{"eye": [0, 0], "target": [0, 0, 0]}', r"eye \[0, 0\], expected"),
        ('{"eye": [0, 0, NaN], "target": [0, 0, 0]}', "NaN is no JSON number"),
        ('{"target": [0, 0, 0]}', "eye None, expected"),
        ('{"eye": [0, 0, 0], "target": [0, 0, 0]}', "same place"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "up": [0, 0, 0]}', "up of length 0"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "yfov_deg": 180}', "yfov_deg 180"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "focal_mm": 1e300}', r"focal_mm 1e\+300"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "ymag": 1e-300}', "ymag 1e-300"),
        ('{"eye": [0, 0, 1e300], "target": [0, 0, 0]}', r"eye \[0, 0, 1e\+300\]"),
        ('{"eye": [0, 0, 1e-300], "target": [0, 0, 0]}', "same place"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "up": [0, 1e-200, 0]}', "up of length 0"),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "time": 1e300}', r"time 1e\+300"),
        *(
            (f'{{"eye": [0, 0, 1], "target": [0, 0, 0], "{name}": 1{"0" * 400}}}', "1000.* is too large")
            for name in ("time", "yfov_deg", "focal_mm", "ymag", "other")
        ),
        (f'{{"eye": [0, 0, 1{"0" * 400}], "target": [0, 0, 0]}}', "1000.* is too large"),
        (f'{{"eye": [0, 0, 1{"0" * 5000}], "target": [0, 0, 0]}}', "1000.* is too large"),
        ("[" * 100_000, "nested too deeply"),
        (
            '{"\\ud800": 1, "eye": [0, 0, 1], "target": [0, 0, 0]}',
            "unknown entry '\N{REPLACEMENT CHARACTER}'",
        ),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "fov": 40}', "unknown entry 'fov'"),
        ('[{"eye": [0, 0, 1], "target": [0, 0, 0]}, {"eye": [0, 0, 1], "target": [0, 0, 0]}]', 'no "time"'),
        (
            '[{"eye": [0,0,1], "target": [0,0,0], "time":1},{"eye": [0,0,2], "target": [0,0,0], "time":1}]',
            "do not rise",
        ),
        ('{"eye": [0, 0, 1], "target": [0, 0, 0], "time": "now"}', "time 'now'"),
    ],
)
def test_broken_camera_files(tmp_path, content, pattern):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    file = tmp_path / "camera.json"
    file.write_text(content)
    with pytest.raises(SceneError, match=pattern) as caught:
        camera_path(str(file), scene, None, [0.0], 1.0)
    assert "\n" not in str(caught.value)


def test_unknown_cameras_and_missing_files(tmp_path):
    scene = load_scene(one_triangle().save(tmp_path / "a.gltf"))
    with pytest.raises(ConfigError, match="unknown camera 'fly'; expected orbit, turntable"):
        camera_path("fly", scene, None, [0.0], 1.0)
    with pytest.raises(SceneError, match="camera file not found"):
        camera_path(str(tmp_path / "none.json"), scene, None, [0.0], 1.0)
    with pytest.raises(ConfigError, match="aspect"):
        camera_path(None, scene, None, [0.0], 0.0)


def test_camera_files_that_never_end_are_refused_before_they_are_read(tmp_path):
    endless = tmp_path / "endless.json"
    endless.symlink_to("/dev/zero")
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for file in (endless, pipe):
        with pytest.raises(SceneError, match="no ordinary file"):
            read_camera_file(file)


def test_camera_files_are_read_up_to_a_size(tmp_path):
    file = tmp_path / "large.json"
    with file.open("wb") as content:
        content.truncate(2**30)  # a hole: it takes no room on the disk
    with pytest.raises(SceneError, match=r"large.json: has 1,074 MB, expected at most 67 MB"):
        read_camera_file(file)


def test_a_camera_without_a_lens_is_left_out_with_a_word(tmp_path):
    for lens in ({"perspective": {"yfov": 0}}, {"orthographic": {"ymag": 0, "xmag": 1}}, {}):
        scene = with_camera(tmp_path, **lens)
        assert scene.camera_names == ()
        assert scene.warnings == (
            "left out camera 'eye': it needs a yfov between 0 and pi or a ymag other than 0",
        )
