"""Options in groups: every one is explained, and what is parsed is what was asked for."""

import math
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
from genrender.cli import ALL_HELP, COMMANDS, main, parse
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.words import job_words
from genrender.options.commands import Preview, Render
from genrender.options.groups import Consistency, Content, Model, Objects, View
from genrender.options.job import render_job
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import ShotConfig


def test_words_become_the_command_whatever_the_group():
    words = ["render", "fox.glb", "--prompt", "a fox", "--frames", "5", "--set", "a=1", "--set", "b=2"]
    words += ["--noise", "fixed", "--merge", "x*=X", "--seed", "7", "--loop"]
    assert parse(words) == Render(
        Path("fox.glb"),
        "a fox",
        view=View(frames=5),
        consistency=Consistency(noise="fixed", set=("a=1", "b=2")),
        objects=Objects(merge=("x*=X",)),
        model=Model(seed=7),
        content=Content(loop=True),
    )
    assert parse(words[:4]) == Render(Path("fox.glb"), "a fox")
    assert parse(["preview", "fox.glb"]) == Preview(Path("fox.glb"))


def flags_of(command) -> list[str]:
    """Every option of a command, whatever its group."""
    return [
        flag
        for one in fields(command)
        for flag in (
            flags_of(one.default_factory)
            if is_dataclass(one.default_factory)
            else [{"target": "for"}.get(one.name, one.name.replace("_", "-"))]  # `for` is a word of Python
        )
    ]


@pytest.mark.parametrize("command", COMMANDS.values())
def test_no_two_options_of_a_command_have_one_name(command):
    assert len(set(flags_of(command))) == len(flags_of(command))


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("verify", "number of frames, at least 2"),
        ("study", "frames of every clip (the study length has its own)"),
        ("study", "diffusion steps (the study steps has its own)"),
    ],
)
def test_help_says_what_holds_for_one_command_alone(name, fact, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([name, "--help"]) == 0
    assert fact in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_read_in_one_screen_and_names_every_option(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert sum(math.ceil(max(1, len(line)) / 100) for line in text.splitlines()) <= 60
    assert main([name, ALL_HELP]) == 0
    whole = capsys.readouterr().out
    positional = {"scene", "name", "shots", "jobs", "run-dir", "run-dirs", "model", "shell"}
    for flag in {*flags_of(COMMANDS[name])} - positional:
        assert re.search(rf"--{flag}\b", text), flag
        assert re.search(rf"(?m)^\W*--{flag}\b", whole), flag


def test_all_groups_are_explained_when_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["render", ALL_HELP]) == 0
    text = capsys.readouterr().out
    titles = re.findall(r"^\W+(\w+) options\W+$", text, re.MULTILINE)
    assert titles == [
        *("view", "model", "moments", "content", "objects", "looks", "adapters", "sampling", "networks"),
        *("consistency", "extras", "parts", "rival"),
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_a_job_as_words_is_the_job_again():
    shot = ShotConfig(
        animation="Walk",
        n_frames=5,
        fps=12.5,
        start="0.5s",
        camera="orbit,35mm",
        loop=True,
        backdrop="ground",
        uv="unwrap",
        objects=ObjectRule("mesh", (("a*", "A"), ("b*", "B")), ("c",)),
    )
    clip = ClipJob(Path("a b.glb"), shot, (64, 32), Path("map.json"), (Path("x"), Path("y")))
    recipe = Recipe(
        base="tiny",
        revision="v1",
        variant="fp16",
        vae="taesd",
        controls=(Control("normal", "C:/a.b", 0.7, 0.0, 0.5), Control(scale=2.0), Control("lineart", "x")),
        loras=(Lora("ink.safetensors", 0.8), Lora("own/er")),
        embeddings=("a.safetensors", "b"),
        image_prompts=(ImagePrompt("face", (Path("a.png"),), 0.3), ImagePrompt("style", (Path("b.png"),))),
        motion_adapter="mm",
        sampler="ddim",
        timesteps=(999, 1),
        precision="float32",
        device="cpu",
        placement="model",
        safety_checker=False,
        allow_pickle=True,
    )
    job = RenderJob(
        clip,
        "a 'red' fox=1",
        negative_prompt="--blurry",
        object_prompts=(("A", "one"), ("B", "two=2")),
        prompts_at=((2, "a=b"), (4, "snow")),
        recipe=recipe,
        preset="fast",
        steps=3,
        guidance=0.0,
        guidance_rescale=0.5,
        guess_mode=True,
        clip_skip=2,
        keyframes=2,
        noise="nearest",
        engine="texture",
        alpha=0.0,
        unify="mean",
        settings=("a.b=1", "c.d=2"),
        seed=5,
        lock=0.5,
        repeat=2,
        chunk=3,
        appearance_from=Path("run"),
    )
    assert render_job(parse(job_words(job, Path("here")))) == job
    bare = RenderJob(
        ClipJob(Path("a.glb"), size=64),
        "a fox",
        background_color=(1, 2, 255),
        method="per-frame",
        recipe=Recipe(
            image_prompts=(ImagePrompt("face", (Path("a.png"), Path("b.png"))),), sigmas=(14.6, 0.25, 0.0)
        ),
    )
    assert render_job(parse(job_words(bare, Path("here")))) == bare


def test_the_command_line_alone_imports_neither_arrays_nor_scenes():
    """Help and mistakes are told at once: what commands need is imported when they run."""
    script = "import sys, genrender.cli; print(*{'numpy', 'torch', 'genrender.scene.load'} & {*sys.modules})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
