"""A run through jobs alone: planned, made, cancelled, resumed and found again, without a command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jobs.tiny_jobs import tiny_job
from tiny_models import tiny_unet
from tiny_sources import save_sd

from genrender.backbones.recipe import Recipe
from genrender.config import PRESETS
from genrender.errors import ConfigError, MediaError, ModelError, SceneError
from genrender.jobs.job import job_from_json, job_to_json
from genrender.jobs.make import make
from genrender.jobs.plan import plan, run_config
from genrender.jobs.resume import resume
from genrender.jobs.reuse import is_done
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.shots.clip import ShotConfig

CLIP = tiny_job().clip


class Listener:
    """Writes down what it is told, and cancels when so many steps are done."""

    def __init__(self, cancel_after: int | None = None):
        self.notes: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.cancel_after = cancel_after

    def is_cancelled(self) -> bool:
        return any(what == "diffusion" and done == self.cancel_after for what, done, _ in self.progress)

    @property
    def hooks(self) -> RunHooks:
        return RunHooks(
            self.notes.append,
            self.notes.append,
            lambda what, done, total: self.progress.append((what, done, total)),
            self.is_cancelled,
        )


def frames(folder: RunFolder) -> list[bytes]:
    return [file.read_bytes() for file in folder.frame_files()]


def test_a_cancelled_run_goes_on_to_the_same_frames(tmp_path, capsys):
    job = tiny_job()
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    listener = Listener()
    planned = plan(job, whole, listener.hooks)
    assert (planned.shot.n_frames, planned.config.n_steps) == (3, 2)
    assert planned.disk_bytes > 0
    assert not whole.path.exists()
    make(planned, listener.hooks)
    assert listener.progress == [
        *(("G-buffers", frame, 3) for frame in range(4)),
        *(("diffusion", step, 2) for step in range(3)),
        *(("frames", frame, 3) for frame in range(4)),
    ]
    assert "loading model pocket" in listener.notes
    assert is_done(job, whole)
    assert not is_done(replace(job, seed=1), whole)

    canceller = Listener(cancel_after=1)
    with pytest.raises(Cancelled):
        make(plan(job, stopped), canceller.hooks)
    assert canceller.progress[-1] == ("diffusion", 1, 2)
    assert frames(stopped) == []
    assert not is_done(job, stopped)
    resumed = Listener()
    assert resume(stopped.path, resumed.hooks) is not None
    assert [done for what, done, _ in resumed.progress if what == "diffusion"] == [0, 2]
    assert frames(stopped) == frames(whole)
    assert len(frames(whole)) == 3
    assert is_done(job, stopped)
    assert resume(stopped.path) == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"clip": replace(CLIP, shot=ShotConfig(times_s=(0.0, 0.5)))}, ConfigError, "times_s is given"),
        (
            {"clip": replace(CLIP, shot=ShotConfig(backdrop="ground")), "background_color": (1, 2, 3)},
            ConfigError,
            r"backdrop is 'ground' and background_color is \(1, 2, 3\), expected one of them",
        ),
        ({"prompt": " "}, ConfigError, "the prompt is empty"),
        ({"steps": 0}, ConfigError, "steps is 0"),
        ({"method": "per-frame", "alpha": 0.5}, ConfigError, "--alpha means nothing with --method per-frame"),
        (
            {"method": "static-texture", "prompts_at": ((1, "a cat"),)},
            ConfigError,
            "--prompt-at means nothing with --method static-texture",
        ),
        (
            {"method": "static-texture", "lock": 1.0},
            ConfigError,
            "--lock means nothing with --method static-texture",
        ),
        ({"recipe": Recipe(revision="main")}, ModelError, "model pocket is on this machine"),
        ({"out": Path("video.avi")}, MediaError, "expected the name of an MP4 file"),
        ({"object_prompts": (("Nobody", "a fox"),)}, SceneError, "Nobody"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        plan(replace(tiny_job(), **change), RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_the_preset_locks_ours_unless_the_prompt_changes():
    job = replace(tiny_job(), lock=None)
    changing = replace(job, prompts_at=((1, "a cat"),))
    assert run_config(job).lock == PRESETS[job.preset].lock == 1
    assert run_config(changing).lock == run_config(replace(job, method="per-frame", keyframes=None)).lock == 0
    assert run_config(replace(changing, lock=0.5)).lock == 0.5


def test_noise_levels_count_the_steps_and_belong_to_an_appearance(tmp_path):
    job, lender = replace(tiny_job(), steps=None), RunFolder(tmp_path / "lender")
    recipe = replace(job.recipe, timesteps=(900, 500))
    planned = plan(replace(job, recipe=recipe), lender)
    assert planned.config.n_steps == 2
    make(planned)
    borrower = replace(job, appearance_from=lender.path)
    assert plan(replace(borrower, recipe=recipe), RunFolder(tmp_path / "same")).config.n_steps == 2
    with pytest.raises(ConfigError, match=r"of other timesteps \(\(900, 500\), here \(700, 300\)\)"):
        plan(replace(borrower, recipe=replace(recipe, timesteps=(700, 300))), RunFolder(tmp_path / "other"))
    # A run ends at the last of its sigmas.
    euler = replace(job.recipe, sampler="euler", sigmas=(10.0, 3.0, 0.0))
    assert plan(replace(job, recipe=euler), RunFolder(tmp_path / "sigmas")).config.n_steps == 2


def test_noise_levels_that_a_sampler_does_not_take_are_refused_before_geometry(tmp_path):
    recipe = replace(tiny_job().recipe, sigmas=(10.0, 1.0), sampler="ddim")
    job, folder, listener = replace(tiny_job(), steps=None, recipe=recipe), tmp_path / "run", Listener()
    with pytest.raises(ConfigError, match="DDIMScheduler takes no sigmas"):
        make(plan(job, RunFolder(folder)), listener.hooks)
    assert listener.progress == []
    assert not folder.exists()


def test_a_model_without_an_unconditional_branch_says_what_it_does_not_read(tmp_path):
    model = save_sd(tmp_path / "lcm")
    tiny_unet(time_cond_proj_dim=8).save_pretrained(model / "unet")
    job = replace(tiny_job(), steps=1, recipe=replace(tiny_job().recipe, base=str(model)))
    for name, asked, n_told in (
        ("plain", {}, 0),
        ("both", {"negative_prompt": "a", "guidance_rescale": 0.5}, 2),
    ):
        listener = Listener()
        make(plan(replace(job, **asked), RunFolder(tmp_path / name)), listener.hooks)
        assert sum("takes guidance as an input" in note for note in listener.notes) == n_told


def test_a_job_is_plain_data():
    job = replace(tiny_job(), appearance_from=Path("run"), object_prompts=(("a", "b"),), settings=("a.b=1",))
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job
    stored = job_to_json(job)
    stored["clip"]["shot"]["loop"] = 3
    with pytest.raises(ConfigError, match=r"job\.clip\.shot\.loop is 3, expected true or false"):
        job_from_json(stored)
    del stored["prompt"]
    stored["clip"]["shot"]["loop"] = False
    with pytest.raises(ConfigError, match=r"job\.prompt is missing"):
        job_from_json(stored)
