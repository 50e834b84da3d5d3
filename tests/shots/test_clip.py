"""Which moments a clip shows, and what each of its frames holds."""

import numpy as np
import pytest
from scene.gltf_builder import SQUARE, GltfBuilder

from genrender.errors import ConfigError, SceneError
from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.cameras.path import CameraPath
from genrender.scene.load import load_scene
from genrender.scene.scene import Scene
from genrender.shots.clip import ShotConfig, plan_shot, render_clip
from genrender.storage.lazy_frames import PerFrame


def card(folder, duration_s: float | None) -> Scene:
    """A square without texture coordinates that moves to the right; None: it stands still."""
    builder = GltfBuilder()
    node = builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3]), name="card")
    if duration_s is not None:
        keys = np.array([[0, 0, 0], [1, 0, 0]])
        builder.animate("Slide", [(node, "translation", [0, duration_s], keys, "LINEAR")])
    return load_scene(builder.save(folder / "card.glb"))


@pytest.mark.parametrize(
    ("duration_s", "fps", "n_frames"), [(1.0, 24.0, 25), (0.5, 10.0, 6), (None, 24.0, 24), (0.001, 24.0, 24)]
)
def test_a_clip_covers_its_animation_once(tmp_path, duration_s, fps, n_frames):
    shot = plan_shot(card(tmp_path, duration_s), ShotConfig(fps=fps))
    assert shot.times_s == tuple(frame / fps for frame in range(n_frames))
    assert shot.n_frames == len(shot.cameras) == n_frames


def test_a_host_may_bring_a_camera(tmp_path):
    """Instead of the configured one, at the frames' times."""
    path = CameraPath("mine", lambda time_s: Camera(np.eye(4), yfov_deg=30 + 10 * time_s))
    shot = plan_shot(card(tmp_path, 1.0), ShotConfig(fps=2, camera="orbit"), path)
    assert [camera.yfov_deg for camera in shot.cameras] == [30, 35, 40]
    assert shot.config.camera == "mine"


def test_after_its_end_an_animation_holds_its_last_pose(tmp_path):
    clip = render_clip(card(tmp_path, 0.5), ShotConfig(size=(16, 16), n_frames=4, fps=2))
    assert clip.times_s == (0, 0.5, 1, 1.5)
    np.testing.assert_array_equal(clip.geometry.verts(1), clip.geometry.verts(3))
    assert (clip.geometry.verts(0) != clip.geometry.verts(1)).any()


@pytest.mark.parametrize("camera", ["orbit", "static"])
def test_a_loop_begins_again_after_its_end_and_the_camera_goes_on(tmp_path, camera):
    config = ShotConfig(n_frames=8, fps=8, loop=True, camera=camera)
    looped = plan_shot(card(tmp_path, 0.5), config)
    for frame in range(4):
        np.testing.assert_array_equal(looped.verts(frame), looped.verts(frame + 4))
    assert (looped.verts(3) != looped.verts(4)).any()
    before, after = (looped.cameras[frame].world_from_camera for frame in (3, 7))
    assert np.array_equal(before, after) == (camera == "static")
    still = plan_shot(card(tmp_path, None), config)
    np.testing.assert_array_equal(still.verts(7), still.scene.rest_verts)


def test_frames_are_what_ray_casting_gives_at_their_times(tmp_path):
    scene = card(tmp_path, 1.0)
    reports = []
    config = ShotConfig(size=(24, 16), times_s=(0.25, 0.75), camera="orbit")
    clip = render_clip(scene, config, lambda *report: reports.append(report))
    assert reports == [("G-buffers", frame, 2) for frame in range(3)]
    for frame, time_s in enumerate(config.times_s):
        shot = clip.geometry
        np.testing.assert_array_equal(shot.verts(frame), scene.evaluate(time_s, 0))
        expected = render_gbuffer(
            shot.verts(frame),
            shot.scene.tris,
            shot.scene.uvs,
            shot.scene.object_id,
            shot.cameras[frame],
            16,
            24,
        )
        np.testing.assert_array_equal(clip.gbuffers[frame].depth, expected.depth)
        np.testing.assert_array_equal(clip.gbuffers[frame].uv, expected.uv)
    assert expected.visible.any()


def test_objects_without_uvs_get_some(tmp_path):
    scene = card(tmp_path, None)
    assert not scene.has_uvs.any()
    clip = render_clip(scene, ShotConfig(size=(32, 32), n_frames=1))
    gbuffer = clip.gbuffers[0]
    assert np.ptp(gbuffer.uv[gbuffer.visible], axis=0).min() > 0.5


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (ShotConfig(n_frames=0), ConfigError, "number of frames is 0"),
        (ShotConfig(fps=-1.0), ConfigError, "fps is -1"),
        (ShotConfig(size=(0, 4)), ConfigError, "size is 0x4"),
        (ShotConfig(times_s=()), ConfigError, "there are no times"),
        (ShotConfig(times_s=(0.0, float("inf"))), ConfigError, "a time is inf"),
        (ShotConfig(times_s=(0.0,), n_frames=1), ConfigError, "give one of them"),
        (ShotConfig(animation="Fly"), SceneError, "it has: Slide"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, config, error, message):
    with pytest.raises(error, match=message):
        plan_shot(card(tmp_path, 1.0), config)


def test_per_frame_values_are_a_sequence_that_computes_when_asked():
    asked = []

    def square(frame: int) -> int:
        asked.append(frame)
        return frame**2

    values = PerFrame(square, 4)
    assert len(values) == 4
    assert asked == []
    assert (values[-1], values[1:3], list(values)) == (9, [1, 4], [0, 1, 4, 9])
    with pytest.raises(IndexError):
        values[4]
