"""`genrender train pocket` hands its options on; what training does is tested with the training code."""

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from genrender.backbones.loading import default_device
from genrender.backbones.sources import POCKET_FOLDER
from genrender.options.train import Train
from genrender.train.motion import MotionTraining
from genrender.train.pocket import PocketTraining


@pytest.fixture
def configs(monkeypatch) -> list[PocketTraining]:
    """What the training code is asked for."""
    asked: list[PocketTraining] = []
    monkeypatch.setattr("genrender.cli.train.train_pocket", asked.append)
    return asked


def test_options_reach_the_training_code(call, configs):
    result = call(
        *(
            "train",
            "pocket",
            "--out",
            "m",
            "--work-dir",
            "w",
            "--size",
            "gpu",
            "--shards",
            3,
            "--vae-steps",
            4,
        ),
        *("--steps", 5, "--batch", 6, "--stage", "export", "--device", "cuda"),
    )
    assert result.code == 0
    assert result.out == "model folder  m\n"
    (config,) = configs
    assert (config.out, config.work_dir, config.size) == (Path("m"), Path("w"), "gpu")
    assert (config.shards, config.vae_steps, config.steps, config.batch) == (3, 4, 5, 6)
    assert (config.stage, config.device) == ("export", "cuda")


def test_what_is_not_given_keeps_its_default(call, configs):
    assert call("train", "pocket", "--work-dir", "w").code == 0
    assert configs == [PocketTraining(work_dir=Path("w"), out=Path("w/model"), device=str(default_device()))]


def test_defaults_are_told_as_they_are():
    hints = get_type_hints(Train, include_extras=True)
    for name in ("shards", "vae_steps", "clip_steps", "judge_steps", "steps", "batch", "learning_rate"):
        (told,) = (mark.help_behavior_hint for mark in get_args(hints[name])[1:])
        meant = [f"{getattr(PocketTraining, name)}"]
        meant += [f"{getattr(MotionTraining, name)} for motion"] if hasattr(MotionTraining, name) else []
        assert told == f"(default: {'; '.join(meant)})"


def test_a_report_is_of_the_packaged_model_unless_told_otherwise(call, configs):
    result = call("train", "pocket", "--work-dir", "w", "--report", "--characters", "duck.glb=duck")
    assert (result.code, result.out) == (0, "figures and pictures  w/report\n")
    assert call("train", "pocket", "--work-dir", "w", "--report", "--out", "m").code == 0
    packaged, own = configs
    assert (packaged.out, packaged.stage, packaged.characters) == (
        POCKET_FOLDER,
        "report",
        ("duck.glb=duck",),
    )
    assert (own.out, own.stage) == (Path("m"), "report")


def test_a_report_and_a_stage_contradict_each_other(call, configs):
    result = call("train", "pocket", "--report", "--stage", "vae")
    assert result.code == 2
    assert "leave one out" in result.err
    assert configs == []


def test_motion_modules_take_the_options_that_mean_something_to_them(call, monkeypatch):
    asked: list[MotionTraining] = []
    monkeypatch.setattr("genrender.cli.train.train_motion", asked.append)
    result = call("train", "motion", "--work-dir", "w", "--steps", 5, "--init", "m")
    assert (result.code, result.out) == (0, "motion adapter  w/adapter\n")
    assert call("train", "motion", "--work-dir", "w", "--out", "a", "--learning-rate", 0.1).code == 0
    assert asked == [
        MotionTraining(work_dir=Path("w"), out=Path("w/adapter"), base="m", steps=5),
        MotionTraining(work_dir=Path("w"), out=Path("a"), learning_rate=0.1),
    ]
    result = call("train", "motion", "--shards", 3)
    assert result.code == 2
    assert "--shards is not for motion modules; leave it out" in result.err


def test_training_in_the_background_goes_on_alone(call, tmp_path, monkeypatch):
    """It runs from a copy of the code, says what it does in a file, and outlives the command."""
    monkeypatch.chdir(tmp_path)
    # A stage without its input ends at once, with one line.
    result = call("train", "pocket", "--work-dir", "w", "--stage", "vae", "--background")
    assert result.code == 0, result.err
    process = int(re.search(r"process (\d+)", result.out)[1])
    os.waitpid(process, 0)
    assert "run `genrender train pocket --stage data` first" in (tmp_path / "w" / "train.log").read_text()
    assert (tmp_path / "w" / "code" / "genrender" / "train" / "pocket.py").is_file()


def test_every_option_is_a_setting_of_the_training():
    ours = {field.name for field in fields(Train)} - {"model", "debug", "report", "background"}
    assert ours <= {field.name for field in fields(PocketTraining)}
