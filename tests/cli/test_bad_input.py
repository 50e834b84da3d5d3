"""Mistakes that a user can make: exit code 2, one line that says what is wrong, nothing written."""

import json
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


@pytest.mark.parametrize("command", ["render", "gbuffers"])
@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--frames", "0"], "number of frames is 0"),
        (["--frames", "-3"], "number of frames is -3"),
        (["--fps", "0"], "fps is 0"),
        (["--fps", "nan"], "fps is nan"),
        (["--size", "0"], "size is '0'"),
        (["--size", "big"], "size is 'big', expected pixels, for instance 128 or 192x128"),
        (["--size", "64x64x64"], "size is '64x64x64'"),
        (["--animation", "Fly"], "no animation 'Fly'; it has: Slide, Rise"),
        (["--animation", "2"], "no animation '2'; it has: Slide, Rise"),
        (["--camera", "drone"], "unknown camera 'drone'"),
        (["--camera", "scene:Back"], "no camera 'Back'; it has: Front"),
        (["--camera", "path.json"], "camera file not found: path.json"),
    ],
)
def test_shots(call, scene, model, command, words, pattern):
    more = {"render": ["--prompt", "a fox", "--model", model, "--out", "x.mp4"], "gbuffers": ["--out", "g"]}
    assert_refused(call, [command, scene, *more[command], *words], pattern)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--prompt", "  "], "the prompt is empty"),
        (
            ["--size", "60"],
            "size is 60x60, expected multiples of 8, the model's VAE factor, for instance 64x64",
        ),
        (["--size", "64x60"], "size is 64x60"),
        (["--steps", "0"], "steps is 0"),
        (["--chunk", "0"], "chunk is 0"),
        (["--keyframes", "0"], "keyframes is 0"),
        (["--alpha", "1.5"], "alpha is 1.5, expected a number in 0..1"),
        (["--alpha", "nan"], "alpha is nan"),
        (["--guidance", "inf"], "guidance is inf"),
        (["--seed", "-1"], "seed is -1"),
        (["--method", "per-frame", "--alpha", "0.5"], "--alpha means nothing with --method per-frame"),
        (["--merge", "Eye*=h*ros"], "'h*ros' is a pattern, expected the name"),
        (["--method", "tokenflow", "--alpha", "0"], "--alpha means nothing with --method tokenflow"),
        (["--method", "per-frame", "--keyframes", "0"], "--keyframes means nothing with --method per-frame"),
        (["--method", "fixed-noise", "--noise", "partition"], "--noise means nothing with --method fixed-n"),
        (["--method", "surface-noise", "--noise", "fixed"], "expected partition or bridge"),
        (["--set", "noise.texture_side=0"], "texture side is 0, expected 1 to 16384"),
        (["--set", "injection.layers=("], "layers '(' is no regular expression"),
        (["--set", "injection.alpha_layers=(=0.5"], "layers '(' is no regular expression"),
        (["--set", "correspondence.side_layers=up=0"], "texture side of layers 'up' is 0"),
        (["--set", "correspondence.ratio=9000"], "textures of 72000 texels on a side"),
        (["--size", "100000"], "expected at most 8192x4352"),
        (["--frames", "1000000000"], "expected at most 99999"),
        (["--device", "abacus"], "cannot compute on device 'abacus'"),
        (["--model", "nothing"], "unknown model 'nothing', expected pocket, sd15"),
        (["--model", "."], "it holds no unet/config.json"),
        (["--out", "nowhere/x.mp4"], "no such folder"),
        (["--out", "a-file/x.mp4"], "it is a file, expected a folder"),
        (["--out", "a-folder.mp4"], "it is a folder"),
        (["--out", "x.gif"], "expected the name of an MP4 file, for instance x.mp4"),
        (["--run-dir", "a-file"], "cannot write to a-file: it is a file, expected a folder"),
        (["--run-dir", "a-file/run"], "cannot make folder a-file/run: cannot write to"),
        (["--run-dir", "."], "holds files but no config.json of a run"),
    ],
)
def test_renders(call, tmp_path, scene, model, words, pattern):
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder.mp4").mkdir()
    assert_refused(call, ["render", scene, "--prompt", "a fox", "--model", model, *words], pattern)


def test_a_size_is_needed_where_the_model_tells_none(call, tmp_path, scene):
    for component, config in (("unet", {"sample_size": None}), ("vae", {"block_out_channels": [4, 4]})):
        (tmp_path / "odd" / component).mkdir(parents=True)
        (tmp_path / "odd" / component / "config.json").write_text(json.dumps(config))
    assert_refused(call, ["render", scene, "--prompt", "a fox", "--model", "odd"], "give --size")


@pytest.mark.parametrize("content", ["{", "[]", '{"sample_size": "wide"}'])
def test_damaged_model_configurations(call, tmp_path, scene, content):
    for component in ("unet", "vae"):
        (tmp_path / "odd" / component).mkdir(parents=True)
        (tmp_path / "odd" / component / "config.json").write_text(content)
    assert_refused(call, ["render", scene, "--prompt", "a fox", "--model", "odd"], "model odd: ")


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
    ("words", "pattern"),
    [
        (["--times", "0,soon"], "times are '0,soon'"),
        (["--times", "nan"], "a time is nan, expected one or more in seconds"),
        (
            ["--times", "0,1", "--frames", "2"],
            "times are given, and a number of frames, a start or an end as well",
        ),
        (["--out", "a-file"], "it is a file"),
        (["--out", "a-file/g"], "cannot make folder a-file/g"),
    ],
)
def test_gbuffers(call, tmp_path, scene, words, pattern):
    (tmp_path / "a-file").write_text("")
    assert_refused(call, ["gbuffers", scene, "--out", "g", *words], pattern)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--stage", "vae"], "--stage data"),
        (["--stage", "export"], "--stage diffusion"),
        (["--steps", "0"], "steps is 0"),
    ],
)
def test_training(call, words, pattern):
    assert_refused(call, ["train", "pocket", *words], pattern)


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
    assert capsys.readouterr().out == "0.1.0\n"
