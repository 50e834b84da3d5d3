"""`genrender gbuffers`: EXR files with the channels that Blender writes, and a preview beside each."""

import numpy as np
import OpenEXR
import pytest

from genrender.gbuffer.exr.frame import BACKGROUND_DEPTH, read_exr
from genrender.media.images import read_png


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def channels(file):
    found = OpenEXR.File(str(file), separate_channels=True).channels()
    return {name: channel.pixels for name, channel in found.items()}


def test_channels_and_previews(call, scene, tmp_path):
    result = call(
        "gbuffers", scene, "--out", "g", "--frames", 2, "--size", "48x32", "--camera", "scene:Front"
    )
    assert result.code == 0
    assert result.out == "2 frames of 48x32 in g\n"
    assert names(tmp_path / "g") == ["frame_0000.exr", "frame_0000.png", "frame_0001.exr", "frame_0001.png"]
    assert read_png(tmp_path / "g" / "frame_0000.png").shape == (32, 3 * 48, 3)
    found = channels(tmp_path / "g" / "frame_0000.exr")
    assert set(found) == {"Depth.Z", "UV.U", "UV.V", "IndexOB.X"}
    hit = found["IndexOB.X"] == 1
    assert hit.sum() in (12**2, 13**2)  # a card of one metre, 12.6 pixels seen from there
    np.testing.assert_allclose(found["Depth.Z"][hit], 3, rtol=1e-5)  # the camera stands three metres away
    assert (found["Depth.Z"][~hit] == np.float32(BACKGROUND_DEPTH)).all()
    # U grows to the right. V grows upwards in the file, whatever it does in glTF.
    rows, columns = np.nonzero(hit)
    assert found["UV.U"][rows[0], columns.min()] < found["UV.U"][rows[0], columns.max()]
    assert found["UV.V"][rows.min(), columns[0]] > 0.9
    assert found["UV.V"][rows.max(), columns[0]] < 0.1


def test_times_choose_the_moments(call, scene, tmp_path):
    words = ["--size", 64, "--camera", "scene:Front", "--animation", "Rise"]
    assert call("gbuffers", scene, "--out", "g", "--times", "0.25,0", *words).code == 0
    top = [np.nonzero(read_exr(file).visible)[0].min() for file in sorted((tmp_path / "g").glob("*.exr"))]
    assert len(top) == 2
    assert top[0] < top[1]


def test_without_frames_the_animation_is_covered_once(call, scene, tmp_path):
    assert call("gbuffers", scene, "--out", "g", "--size", 8, "--fps", 20).code == 0
    assert len(list((tmp_path / "g").glob("*.exr"))) == 6  # of a quarter of a second, both ends shown
    assert call("gbuffers", scene, "--out", "h", "--size", 8, "--animation", "1", "--frames", 2).code == 0
    assert len(list((tmp_path / "h").glob("*.exr"))) == 2


@pytest.mark.parametrize("camera", ["orbit", "turntable", "static"])
def test_cameras(call, scene, tmp_path, camera):
    assert call("gbuffers", scene, "--out", "g", "--size", 32, "--frames", 2, "--camera", camera).code == 0
    assert read_exr(tmp_path / "g" / "frame_0000.exr").visible.mean() > 0.05


def test_objects_without_uvs_get_some(call, bare_scene, tmp_path):
    result = call("gbuffers", bare_scene, "--out", "g", "--size", 32, "--frames", 1)
    assert result.code == 0
    assert "genrender: made texture coordinates for what has none: bare" in result.err
    gbuffer = read_exr(tmp_path / "g" / "frame_0000.exr")
    assert np.ptp(gbuffer.uv[gbuffer.visible], axis=0).min() > 0.1


def test_a_folder_that_is_there_keeps_its_other_files(call, scene, tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "mine.txt").write_text("keep me")
    assert call("gbuffers", scene, "--out", "g", "--size", 8, "--frames", 1).code == 0
    assert names(tmp_path / "g") == ["frame_0000.exr", "frame_0000.png", "mine.txt"]


def test_the_last_frames_of_a_longer_clip_do_not_stay(call, scene, tmp_path):
    assert call("gbuffers", scene, "--out", "g", "--size", 8, "--frames", 3).code == 0
    assert call("gbuffers", scene, "--out", "g", "--size", 16, "--frames", 1).code == 0
    assert names(tmp_path / "g") == ["frame_0000.exr", "frame_0000.png"]
    assert read_exr(tmp_path / "g" / "frame_0000.exr").width == 16


def test_progress_is_told_on_stderr(call, scene):
    result = call("gbuffers", scene, "--out", "g", "--size", 8, "--frames", 2)
    assert result.out == "2 frames of 8x8 in g\n"
    for work in ("G-buffers: 2 done", "previews: 2 done"):
        assert work in result.err
