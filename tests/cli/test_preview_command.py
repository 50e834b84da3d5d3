"""`genrender preview`: a video and a contact sheet of what the camera sees, without any model."""

import subprocess
import sys

import numpy as np
import pytest

from genrender.media.images import read_png
from genrender.media.video import read_video


def test_a_video_and_a_contact_sheet(call, scene, tmp_path):
    words = ["--size", "48x32", "--frames", 5, "--fps", 10, "--camera", "scene:Front"]
    result = call("preview", scene, "--out", "p", *words)
    assert result.code == 0
    assert result.out == "video          p/preview.mp4\ncontact sheet  p/contact_sheet.png\n"
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == ["contact_sheet.png", "preview.mp4"]
    frames, fps = read_video(tmp_path / "p" / "preview.mp4")
    assert (frames.shape, fps) == ((5, 32, 3 * 48, 3), 10)
    depth, uv, objects = np.split(frames[0].astype(int), 3, axis=1)
    for picture in (depth, uv, objects):
        assert picture[0, 0].max() < 20  # background
        assert picture[16, 24].max() > 50  # the card
    assert np.ptp(depth[16, 24]) < 20  # grey
    assert read_png(tmp_path / "p" / "contact_sheet.png").shape[1] > 5 * 192


def test_where_it_goes_by_itself(call, scene, tmp_path):
    result = call("preview", scene, "--frames", 1, "--size", 16)
    assert result.code == 0
    assert (tmp_path / "runs" / "preview-card" / "preview.mp4").is_file()


@pytest.mark.parametrize("camera", ["dolly", "handheld:4,35mm", "orbit,ortho", "turntable,60deg"])
def test_every_kind_of_camera(call, scene, tmp_path, camera):
    words = ["--size", 32, "--frames", 3, "--camera", camera]
    assert call("preview", scene, "--out", "p", *words).code == 0
    frames, _ = read_video(tmp_path / "p" / "preview.mp4")
    # The card moves or the camera does.
    assert (frames[0] != frames[-1]).any()


def test_a_wrong_camera_leaves_nothing(call, scene, tmp_path):
    result = call("preview", scene, "--out", "p", "--camera", "orbit,35")
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert "unknown lens '35'" in result.err
    assert not (tmp_path / "p").exists()


def test_it_does_without_pytorch(scene, tmp_path):
    script = (
        "import sys; from genrender.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    words = ["preview", str(scene), "--out", str(tmp_path / "p"), "--frames", "2", "--size", "32"]
    subprocess.run([sys.executable, "-c", script, *words], check=True, stdout=subprocess.DEVNULL)


def test_a_sequence_of_files_has_a_folder_without_a_star(call, tmp_path):
    (tmp_path / "frames").mkdir()
    for number in (0, 1):
        text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
        (tmp_path / "frames" / f"wave_{number}.obj").write_text(text)
    result = call("preview", "frames/wave_*.obj", "--size", 16)
    assert result.code == 0, result.err
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["preview-wave"]
