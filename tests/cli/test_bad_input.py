"""Mistakes that a user can make: exit code 2, one line that says what is wrong, nothing written.

Those that a line of words makes are in `provocations.py`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scene.gltf_builder import TRIANGLE, GltfBuilder, one_triangle

from genrender.cli import main
from genrender.errors import MediaError, SceneError
from genrender.runs.folder import RunFolder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def assert_refused(call, words, pattern):
    """Checks exit code, message and that nothing was written."""
    before = files(Path.cwd())
    result = call(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("genrender: error: ")
    assert result.err.count("\n") == 1
    assert pattern in result.err
    assert files(Path.cwd()) == before


@pytest.fixture
def bad_files(tmp_path: Path, scene: Path) -> None:
    """Files that no command can use."""
    (tmp_path / "notes.txt").write_text("no scene")
    (tmp_path / "letter.glb").write_text("Dear Sir or Madam,")
    (tmp_path / "short.glb").write_bytes(scene.read_bytes()[:-100])
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(np.array(TRIANGLE, np.float32) * [1, np.nan, 1]))
    builder.save(tmp_path / "nan.glb")
    builder = one_triangle()
    builder.doc["scenes"][0]["nodes"] = []
    builder.save(tmp_path / "empty.glb")


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize("command", ["render", "gbuffers", "inspect"])
@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("nowhere.glb", "scene file not found: nowhere.glb"),
        ("notes.txt", "unknown scene format '.txt'"),
        ("letter.glb", "letter.glb: not a glTF file"),
        ("short.glb", "truncated GLB"),
        ("nan.glb", "nan.glb: holds no triangles in its scene but 1 without an area or finite corners"),
        ("empty.glb", "no triangles"),
        (".", "is a folder"),
    ],
)
def test_scenes(call, model, command, file, pattern):
    more = {"render": ["--prompt", "a fox", "--model", model, "--out", "x.mp4"], "gbuffers": ["--out", "g"]}
    assert_refused(call, [command, file, *more.get(command, [])], pattern)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["nowhere.glb"], "scene file not found: nowhere.glb"),
        (["SCENE", "--out", "nowhere/x.mp4"], "no such folder"),
        (["SCENE", "--run-dir", "."], "holds files but no config.json of a run"),
    ],
)
def test_nothing_is_fetched_before_what_needs_no_network_is_checked(
    call, tmp_path, scene, monkeypatch, words, pattern
):
    def fetch(*_, **__):
        raise AssertionError("asked for a file of a hub model")

    monkeypatch.setattr("genrender.backbones.hub.hf_hub_download", fetch)
    (tmp_path / "a-file").write_text("")
    words = [scene if word == "SCENE" else word for word in words]
    assert_refused(call, ["render", *words, "--prompt", "a fox", "--model", "somebody/model"], pattern)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["paint"],
        ["render"],
        ["render", "x.glb"],
        ["render", "x.glb", "--prompt", "a fox", "--frames", "many"],
        ["render", "x.glb", "--prompt", "a fox", "--noise", "loud"],
        ["inspect", "x.glb", "--yaml"],
        ["train", "sd15"],
    ],
)
def test_words_that_are_no_command(call, words):
    result = call(*words)
    assert result.code == 2
    assert result.out == ""
    assert "--help" in result.err


def test_debug_shows_where_an_error_comes_from(call):
    with pytest.raises(SceneError, match="not found"):
        call("inspect", "nowhere.glb", "--debug")


def test_an_interrupted_command_says_so(call, scene, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("genrender.cli.inspect.inspect_scene", interrupt)
    result = call("inspect", scene)
    assert (result.code, result.out, result.err) == (130, "", "genrender: interrupted\n")


def disk_full(*_):
    raise MediaError("the disk is full")


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {file: file.read_bytes() if file.is_file() else None for file in files(folder)}


@pytest.mark.parametrize("words", [[], ["--run-dir", "r"], ["--run-dir", "deep/down/r"]])
def test_a_run_that_fails_before_its_first_step_leaves_none(call, tmp_path, scene, model, monkeypatch, words):
    monkeypatch.setattr("genrender.sampling.store.RunStore.commit", disk_full)
    words = ["--prompt", "a fox", "--model", model, "--frames", 2, "--steps", 1, "--size", 16, *words]
    result = call("render", scene, *words)
    assert result.code == 2
    assert result.err.endswith("genrender: error: the disk is full\n")
    assert files(tmp_path) == []


def test_a_run_that_cannot_finish_its_folder_leaves_what_can_be_resumed(
    call, tmp_path, scene, model, monkeypatch
):
    with monkeypatch.context() as full:
        full.setattr(RunFolder, "write_contact_sheet", disk_full)
        words = ["--prompt", "a fox", "--model", model, "--frames", 2, "--steps", 1, "--size", 16]
        result = call("render", scene, *words, "--run-dir", "r")
    assert result.code == 2
    *_, hint, error = result.err.splitlines()
    assert hint == "genrender: go on from the last step with: genrender resume r"
    assert error == "genrender: error: the disk is full"
    assert {file.name for file in (tmp_path / "r").iterdir()} == {"unfinished"}
    assert call("resume", "r").code == 0
    assert (tmp_path / "r" / "contact_sheet.png").exists()


def test_a_run_that_cannot_finish_keeps_the_earlier_one(call, tmp_path, scene, model, monkeypatch):
    words = ["render", scene, "--prompt", "a fox", "--model", model, "--steps", 1, "--size", 16]
    words += ["--run-dir", "r", "--out", "r.mp4"]
    assert call(*words, "--frames", 3).code == 0
    before = contents(tmp_path)
    monkeypatch.setattr(RunFolder, "write_contact_sheet", disk_full)
    assert call(*words, "--frames", 2, "--seed", 1).code == 2
    shutil.rmtree(tmp_path / "r" / "unfinished")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("out", ["g", "deep/down/g"])
def test_gbuffers_that_cannot_be_finished_leave_no_folder(call, tmp_path, scene, monkeypatch, out):
    monkeypatch.setattr("genrender.cli.gbuffers.write_png", disk_full)
    assert call("gbuffers", scene, "--out", out, "--frames", 1, "--size", 16).code == 2
    assert files(tmp_path) == []


def test_gbuffers_that_cannot_be_finished_keep_the_earlier_ones(call, tmp_path, scene, monkeypatch):
    words = ["gbuffers", scene, "--out", "g", "--size", 16]
    assert call(*words, "--frames", 3).code == 0
    (tmp_path / "g" / "mine.txt").write_text("keep me")
    before = contents(tmp_path)
    monkeypatch.setattr("genrender.cli.gbuffers.write_png", disk_full)
    assert call(*words, "--frames", 2, "--animation", "Rise").code == 2
    assert contents(tmp_path) == before


def test_a_reader_that_goes_away_is_no_error(scene):
    script = "import sys; from genrender.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "inspect", scene, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (141, b"")


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "0.2.0\n"
