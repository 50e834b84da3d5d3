"""Studies: every variant can be asked for, and their files tell what was measured."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from genrender.cli import main
from genrender.errors import ConfigError
from genrender.evaluation.studies import STUDIES
from genrender.evaluation.study import changed
from genrender.evaluation.study_report import Measured, write_study
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.plan import run_config
from genrender.options.measured import parse_seeds, parse_shot

MADE_WITH = {"device": "cpu", "torch": "2.0"}
SCENE = Path(__file__).parents[2] / "examples" / "scenes" / "walking_biped.glb"


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_can_be_rendered_and_is_another_one(name):
    variants = STUDIES[name].variants
    assert len({variant.name for variant in variants}) == len(variants)
    job = RenderJob(ClipJob(SCENE), "a fox")
    jobs = [changed(job, variant.options) for variant in variants]
    configs = [run_config(job) for job in jobs]
    for config in configs:
        config.check()
    lengths = [job.clip.shot.n_frames for job in jobs]
    distinct = {repr(pair) for pair in zip(configs, lengths, strict=True)}
    assert len(distinct) == len(variants)


def figures(error: float) -> dict:
    return {
        "surface_error": {"1": error, "first": 2 * error},
        "sharpness": 3.0,
        "seconds_per_frame": None,
    }


def test_files_hold_every_run_and_the_means_over_seeds(tmp_path):
    first, *_, last = STUDIES["texture-resolution"].variants
    measured = [
        Measured("biped", 7, seed, variant, MADE_WITH, figures(error))
        for seed, variant, error in ((0, first, 0.1), (1, first, 0.3), (0, last, 0.5))
    ]
    write_study(tmp_path, "texture-resolution", measured)
    with (tmp_path / "texture-resolution.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["surface_error.1"]) for row in rows] == [0.1, 0.3, 0.5]
    assert [row["x"] for row in rows] == ["0.5", "0.5", ""]
    assert rows[0]["seconds_per_frame"] == ""
    assert [(row["seed"], row["device"], row["torch"]) for row in rows] == [
        (seed, "cpu", "2.0") for seed in ("0", "1", "0")
    ]
    table = (tmp_path / "texture-resolution.md").read_text()
    assert "| texture | 0.5 | 2 | 0.2 | 0.4 | 3 | - |" in table
    assert "| reproject | - | 1 | 0.5 | 1 | 3 | - |" in table
    assert "<svg" in (tmp_path / "texture-resolution.svg").read_text()


def test_the_length_study_shows_whether_consistency_holds_to_the_end(tmp_path):
    variant = STUDIES["length"].variants[0]
    quarters = {"1": (0.1, 0.2, 0.3, 0.4), "first": (0.5, 0.6, 0.7, None)}
    run = {**figures(0.25), "peak_memory_mb": 9.0, "surface_error_by_quarter": quarters}
    write_study(tmp_path, "length", [Measured("biped", 7, 0, variant, MADE_WITH, run)])
    table = (tmp_path / "length.md").read_text()
    assert f"| {variant.series} | 16 | 1 | 0.25 | 0.4 | 0.5 | - | 3 | 9 |" in table
    with (tmp_path / "length.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["surface_error_by_quarter.1.3"] == "0.4"
    assert row["surface_error_by_quarter.first.3"] == ""


def test_shots_and_seeds():
    assert parse_shot("a b.glb=a red = fox") == (Path("a b.glb"), "a red = fox")
    assert parse_seeds("2, 0,2") == (2, 0)
    for text in ("fox.glb", "=a fox", "fox.glb= "):
        with pytest.raises(ConfigError, match="expected SCENE=TEXT"):
            parse_shot(text)
    with pytest.raises(ConfigError, match="expected whole numbers"):
        parse_seeds("1,x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no scene is given"),
        (["nowhere.glb=a fox"], "nowhere.glb"),
        ([f"{SCENE}=a fox", "--frames", "1"], "frames is 1"),
        ([f"{SCENE}=a fox", "--steps", "0"], "steps"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(words, message, capsys, tmp_path):
    out = tmp_path / "out"
    assert main(["study", "keyframes", *words, "--out", str(out), "--run-dir", str(tmp_path / "runs")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "runs").exists()
    assert not out.exists()


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(capsys, tmp_path, monkeypatch):
    """Two variants of one scene; the second call makes nothing anew."""
    study = STUDIES["keyframes"]
    monkeypatch.setitem(STUDIES, "keyframes", replace(study, variants=study.variants[:2]))
    words = ["study", "keyframes", f"{SCENE}=a red biped", "--frames", "3", "--steps", "2", "--seeds", "0"]
    words += ["--out", str(tmp_path / "out"), "--run-dir", str(tmp_path / "runs")]
    assert main(words) == 0
    assert "is there already" not in capsys.readouterr().err
    before = (tmp_path / "out" / "keyframes.csv").read_text()
    rows = list(csv.DictReader(before.splitlines()))
    assert len(rows) == 2
    assert all(row["seed"] == "0" and row["device"] and row["torch"] for row in rows)
    assert all(float(row["surface_error.1"]) > 0 for row in rows)
    assert main(words) == 0
    assert capsys.readouterr().err.count("is there already") == 2
    assert (tmp_path / "out" / "keyframes.csv").read_text() == before


def test_runs_of_sequences_of_one_name_would_share_a_folder(capsys):
    """Folders are named after scenes without what stands for their numbers."""
    assert main(["study", "alpha", "a/wave_*.obj=a wave", "b/wave_####.obj=a wave"]) == 2
    assert "two scenes have the same file name" in capsys.readouterr().err
