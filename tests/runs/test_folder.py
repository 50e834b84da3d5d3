"""The run folder: checked before work begins, whole files only."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import genrender
from genrender.errors import MediaError
from genrender.media.images import read_png
from genrender.media.video import read_video
from genrender.runs.folder import RunFolder
from genrender.runs.record import Cost, Making, NetworksRecord, RunRecord, SettingsRecord, ShotRecord
from genrender.scene.objects import BY_NODE


def record(seed=7, **others):
    """Of a run that shows nothing much, with further settings."""
    shot = ShotRecord(
        "a.glb", None, None, False, "none", "auto", BY_NODE, 8.0, 16, 16, 3, (0.0, 0.1, 0.2), {}
    )
    making = Making(shot, SettingsRecord("a fox", 4, "model", others), NetworksRecord("cpu"))
    return RunRecord.now(making, Cost(1.5, None, None), seed, ["genrender", "render"])


def plain(value):
    return np.full((16, 16, 3), value, np.uint8)


def fill(run, n_frames=3):
    run.write_record(record())
    for index in range(n_frames):
        run.write_frame(index, plain(60 * index))
    run.write_video(fps=8)
    run.write_contact_sheet({"UV": [plain(9)] * n_frames, "depth": [plain(99)] * n_frames})


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_whole_run(tmp_path):
    run = RunFolder(tmp_path / "new" / "run")
    with run.replaced() as draft:
        fill(draft)
        assert not run.path.exists()
    assert sorted(contents(tmp_path / "new")) == [
        os.path.join("run", name)
        for name in (
            "config.json",
            "contact_sheet.png",
            *(os.path.join("frames", f"0000{k}.png") for k in range(3)),
            "video.mp4",
        )
    ]
    frames, fps = read_video(run.video_file)
    assert (len(frames), fps) == (3, 8)
    assert read_png(run.contact_sheet_file).ndim == 3
    np.testing.assert_array_equal(run.frames()[-1], plain(120))
    assert len(run.frames()[1:]) == 2


def test_config_says_what_made_the_run(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.replaced() as draft:
        draft.write_record(record(out=Path("a") / "b.mp4", noise={"mode": "nearest"}))
    written = json.loads(run.config_file.read_text())
    assert written["config"]["out"] == str(Path("a") / "b.mp4")
    assert written["config"]["noise"] == {"mode": "nearest"}
    assert (written["config"]["prompt"], written["config"]["width"], written["config"]["device"]) == (
        *("a fox", 16, "cpu"),
    )
    assert written["seed"] == 7
    assert written["command"] == ["genrender", "render"]
    assert written["versions"]["genrender"] == genrender.__version__
    assert set(written["versions"]) == {
        *("genrender", "python", "torch", "diffusers", "transformers", "accelerate", "safetensors"),
        *("numpy", "embreex", "xatlas", "av"),
    }
    assert written["platform"]


def test_naming_a_run_folder_creates_nothing(tmp_path):
    RunFolder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_second_run_replaces_the_first(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.replaced() as draft:
        fill(draft, n_frames=5)
    (run.path / "metrics.json").write_text("{}")
    (run.path / "notes.txt").write_text("keep me")
    with RunFolder(run.path).replaced() as draft:
        draft.write_record(record(seed=8))
        draft.write_frame(0, plain(7))
    assert sorted(contents(run.path)) == ["config.json", os.path.join("frames", "00000.png"), "notes.txt"]
    assert json.loads(run.config_file.read_text())["seed"] == 8


def test_a_second_run_that_fails_leaves_the_first_untouched(tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.replaced() as draft:
        fill(draft)
    before = contents(tmp_path)
    with pytest.raises(MediaError, match="the disk is full"), run.replaced() as draft:  # noqa: PT012
        fill(draft, n_frames=2)
        raise MediaError("the disk is full")
    assert contents(tmp_path) == before


def test_a_config_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError, match="holds a set"), RunFolder(tmp_path / "a" / "run").replaced() as draft:
        draft.write_record(record(alpha={4}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"versions": {"node": "24"}}'])
def test_the_config_of_another_program_makes_no_run_folder(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MediaError, match=r"no config\.json of a run; choose a new or an empty folder"):
        RunFolder(tmp_path).check_can_be_filled()


def test_places_that_cannot_hold_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="it is a file"):
        RunFolder(tmp_path / "file").check_can_be_filled()
    with pytest.raises(MediaError, match="file"):
        RunFolder(tmp_path / "file" / "run").check_can_be_filled()
    with pytest.raises(MediaError, match=r"no config\.json of a run; choose a new or an empty folder"):
        RunFolder(tmp_path).check_can_be_filled()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_parent_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MediaError, match="Permission denied"):
            RunFolder(tmp_path / "run").check_can_be_filled()
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write to")
def test_a_file_system_that_nobody_can_write_to():
    with pytest.raises(MediaError, match="cannot make folder /proc/run: cannot write to folder /proc"):
        RunFolder("/proc/run").check_can_be_filled()


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(MediaError, match="is no run folder"):
        RunFolder(tmp_path / "run").read_record()
