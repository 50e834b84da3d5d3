"""`genrender evaluate` and `diagnose` on runs that `render` made, and what they say of anything else."""

import json
import shutil
import subprocess
import sys

import pytest

from genrender.runs.folder import RunFolder


@pytest.fixture
def run_dir(call, scene, model, tmp_path):
    words = ("--prompt", "a red fox", "--model", model, "--frames", 6, "--size", 64, "--steps", 2)
    result = call("render", scene, *words, "--camera", "orbit", "--run-dir", tmp_path / "run")
    assert result.code == 0, result.err
    return tmp_path / "run"


def test_metrics_are_printed_and_kept(call, run_dir):
    result = call("evaluate", run_dir, "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out)
    for part in ("surface", "foreground", "background"):
        assert set(metrics[f"{part}_error"]) == {"1", "4", "16", "first"}
    assert metrics["surface_error"]["1"] >= 0
    for stride, quarters in metrics["surface_error_by_quarter"].items():
        assert len(quarters) == 4
        measured = [quarter for quarter in quarters if quarter is not None]
        assert min(measured) <= metrics["surface_error"][stride] <= max(measured)
    assert metrics["surface_error"]["16"] is None
    assert 0 < metrics["clip_frame_consistency"] <= 1.0001
    assert -1 <= metrics["clip_prompt_fidelity"] <= 1
    assert json.loads((run_dir / "metrics.json").read_text()) == metrics
    assert metrics["depth_agreement"] is None
    assert metrics["relative_sharpness"] is None


def test_people_get_plain_words_and_nothing_is_cut(call, run_dir, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = call("evaluate", run_dir.name).out  # in the folder where it lies
    assert max(map(len, out.splitlines())) <= 80
    for text in (
        "surface error",
        "objects",
        "adjacent",
        "to the first",
        "to --reference",
    ):
        assert text in out
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    assert out.splitlines()[0] == f"{run_dir.name}: 6 frames"
    metrics = json.loads(call("evaluate", run_dir, "--json").out)
    assert f"{metrics['surface_error']['1']:.3g}" in out
    assert f"{metrics['sharpness']:.3g}" in out


@pytest.mark.parametrize("command", ["evaluate", "diagnose"])
def test_a_folder_that_is_not_there_is_told_before_libraries_load(command):
    script = (
        "import sys; from genrender.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code if 'torch' not in sys.modules else 99)"
    )
    told = subprocess.run([sys.executable, "-c", script, command, "nowhere"], capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr == (
        "genrender: error: no run folder nowhere: expected the folder that `genrender render` printed\n"
    )


def test_sharpness_is_related_to_a_reference(call, run_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "other")
    metrics = json.loads(call("evaluate", run_dir, "--reference", tmp_path / "other", "--json").out)
    assert metrics["relative_sharpness"] == 1


def test_a_run_is_diagnosed(call, run_dir, tmp_path):
    result = call("diagnose", run_dir, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert set(report["symptoms"]) == {"flicker", "texture sticking", "blur", "colour drift"}
    assert report["symptoms"]["blur"]["is_present"] is None
    shutil.copytree(run_dir, tmp_path / "other")
    text = call("diagnose", run_dir, "--reference", tmp_path / "other").out
    assert "flicker" in text


@pytest.mark.parametrize("command", ["evaluate", "diagnose"])
def test_the_reference_must_show_the_same_shot(call, run_dir, tmp_path, command):
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    config = json.loads((other / "config.json").read_text())
    config["config"]["times_s"][0] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    result = call(command, run_dir, "--reference", other)
    assert result.code == 2
    assert "another shot (times_s differs)" in result.err.splitlines()[-1]


@pytest.mark.parametrize(
    "words", [("--reference", "nowhere"), ("--clip", "nowhere", "--depth-model", "nowhere")]
)
def test_what_can_be_measured_is_printed_before_the_error(call, run_dir, words):
    whole = json.loads(call("evaluate", run_dir, "--json").out)
    result = call("evaluate", run_dir, "--json", *words)
    assert result.code == 2
    assert "nowhere" in result.err.splitlines()[-1]
    metrics = json.loads(result.out)
    absent = {"clip_frame_consistency", "clip_prompt_fidelity"} if "--clip" in words else set()
    assert metrics == {**whole, **dict.fromkeys(absent)}


@pytest.mark.parametrize("command", ["evaluate", "diagnose"])
def test_what_is_no_finished_run_is_said(call, run_dir, tmp_path, command):
    nowhere = tmp_path / "nowhere"
    told = {
        nowhere: f"no run folder {nowhere}",
        tmp_path: f"{tmp_path} is no run folder: it holds no config.json",
    }
    for path, said in told.items():
        result = call(command, path)
        assert result.code == 2
        assert said in result.err
    RunFolder(run_dir).frame_files()[0].unlink()
    result = call(command, run_dir)
    assert result.code == 2
    assert "holds 5 frames" in result.err
