"""`genrender compare` from its words to its table; the runs themselves are those of `genrender render`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genrender.cli import main
from genrender.cli.compare import print_table
from genrender.errors import ConfigError
from genrender.evaluation.compare import job_of, method_names
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.plan import run_config
from genrender.jobs.words import job_words
from genrender.methods.table import METHODS
from genrender.metrics.table import COMPARED, look_up
from genrender.options.commands import Compare
from genrender.shots.clip import ShotConfig

SCENE = Path(__file__).parents[2] / "examples" / "scenes" / "walking_biped.glb"
JOB = RenderJob(
    ClipJob(SCENE, ShotConfig(n_frames=4)),
    "a red biped",
    keyframes=2,
    alpha=0.25,
    settings=("noise.degradation=0.1", "injection.alpha_end=0"),
)


def test_a_methods_words_ask_for_what_was_asked_and_nothing_else():
    words = job_words(job_of(JOB, "generative"), Path("here"))
    assert words == [
        *("render", str(SCENE), "--prompt=a red biped", "--frames=4", "--keyframes=2", "--alpha=0.25"),
        *("--set=noise.degradation=0.1", "--set=injection.alpha_end=0", "--run-dir=here"),
    ]


def test_only_what_means_something_to_a_rival_reaches_it():
    """Both have keyframes; what weight our features have is nothing to a rival."""
    words = job_words(job_of(JOB, "tokenflow"), Path("here"))
    assert words == [
        *("render", str(SCENE), "--prompt=a red biped", "--frames=4", "--method=tokenflow", "--keyframes=2"),
        "--run-dir=here",
    ]
    assert not any("keyframes" in word for word in job_words(job_of(JOB, "cross-frame"), Path("x")))


@pytest.mark.parametrize("name", METHODS)
def test_the_words_of_every_method_are_understood(name):
    """What is left for a method is accepted by it, so that no run fails for a word of ours."""
    asked = replace(JOB, engine="reproject", noise="nearest", lock=0.5, prompts_at=((1, "snow"),))
    job = job_of(asked, name)
    run_config(job).check()
    assert (job.prompts_at == ()) == METHODS[name].is_baked
    assert (job.lock == 0.5) == (name == "generative")


def test_methods_are_listed_once_and_must_be_known():
    assert method_names(" per-frame,generative ,per-frame") == ("per-frame", "generative")
    for text in ("", ","):
        with pytest.raises(ConfigError, match="no method, expected some of generative"):
            method_names(text)
    with pytest.raises(ConfigError, match="unknown method 'magic', expected some of generative"):
        method_names("generative,magic")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.glb", "--prompt", "a fox"], "nowhere.glb"),
        ([str(SCENE), "--prompt", "a fox", "--methods", "magic"], "unknown method 'magic'"),
        ([str(SCENE), "--prompt", "a fox", "--alpha", "2"], "alpha is 2"),
        ([str(SCENE), "--prompt", " "], "the prompt is empty"),
        ([str(SCENE), "--prompt", "a fox", "--frames", "1"], "frames is 1, expected at least 2"),
        ([str(SCENE), "--prompt", "a fox", "--report", "."], "it is a folder"),
        ([str(SCENE), "--prompt", "a fox", "--report", "nowhere/page.html"], "nowhere"),
    ],
)
def test_bad_input_is_told_in_one_line_before_anything_is_made(words, message, capsys, tmp_path):
    folder = tmp_path / "runs"
    assert main(["compare", *words, "--run-dir", str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_runs_are_measured_and_kept(capsys, tmp_path):
    """Two methods; the second call makes nothing anew, and another seed makes everything anew."""
    folder = tmp_path / "runs"
    words = ["compare", str(SCENE), "--prompt", "a red biped", "--frames", "3", "--steps", "2"]
    words += ["--methods", "generative,per-frame", "--run-dir", str(folder), "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out)
    assert list(results) == ["generative", "per-frame"]
    for figures in results.values():
        assert {key for key in COMPARED if look_up(figures, key) is None} == {
            "surface_error.4",
            "surface_error.16",
            "texel_std",
            "depth_agreement",
            "gpu_peak_memory_mb",
        }
        assert figures["peak_memory_mb"] > 100
        assert figures["seconds_per_frame"] > 0
    assert results["per-frame"]["relative_sharpness"] == 1
    assert results["generative"]["surface_error"]["1"] < results["per-frame"]["surface_error"]["1"]
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*/config.json")}
    assert len(made) == 2

    assert main([*words]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == results
    assert captured.err.count("is there already") == 2
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/config.json")} == made

    # Without the CLIP that was asked for, all other figures are there, and the call has failed.
    assert main([*words, "--clip", "nowhere"]) == 2
    captured = capsys.readouterr()
    assert "no CLIP" in captured.err.splitlines()[-1]
    clip = {"clip_frame_consistency", "clip_prompt_fidelity"}
    for name, figures in json.loads(captured.out).items():
        assert {key for key in clip if figures[key] is None} == clip
        assert figures == {**results[name], **dict.fromkeys(clip)}

    next(folder.glob("per-frame/frames/*.png")).unlink()
    page = tmp_path / "page.html"
    assert main([*words, "--report", str(page)]) == 0
    assert capsys.readouterr().err.count("is there already") == 1  # a run that lost a frame is made again
    assert page.read_text(encoding="utf-8").count("<video") == 2

    assert main([*words, "--seed", "1", "--methods", "per-frame"]) == 0
    assert "is there already" not in capsys.readouterr().err


def test_the_table_of_all_methods_can_be_read_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = Compare.methods.split(",")
    figures = {key.split(".")[0]: {"1": 2.0, "first": 3.0} if "." in key else 1.0 for key in COMPARED} | {
        "surface_error": {"1": 0.0751, "4": 0.0893, "16": None, "first": 0.0912}
    }
    print_table("a fox", dict.fromkeys(names, figures))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count(" 0.0751") for line in lines) == len(names)
    assert any(line.startswith(" CLIP frame consistency ") for line in lines), "labels stand on one line"
    assert not any("16 apart" in line for line in lines), "nobody measured it"


def test_a_prompt_is_shown_as_it_was_given(capsys):
    """Square brackets are no markup, and escape sequences steer nothing."""
    strides = {"1": 0.1, "4": 0.2, "16": 0.3, "first": 0.4}
    figures = {key.split(".")[0]: strides if "." in key else 1.0 for key in COMPARED}
    print_table("a [red] fox [/bold] \x1b[2J", {"generative": figures})
    title = capsys.readouterr().out.splitlines()[0]
    assert title.rstrip() == "a [red] fox [/bold] \\x1b[2J"
