"""Every command of README and docs is run, as it stands or in small with stand-ins, or it is said why not.

`pytest -m nightly` runs them; what was run last, and what is never run here, stands in docs/tried.md.
"""

import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from glob import glob
from pathlib import Path

import pytest
from page.served_page import ServedPage
from stand_ins import make_all, stand_in
from test_examples import load_script

from genrender.cli import main as genrender

ROOT = Path(__file__).resolve().parents[1]
told = load_script(ROOT / "tools" / "commands.py")
PAGES = [page for page in told.pages() if told.commands(page)]

# Commands, or how they begin, that are not run, and why. Everything else is.
NOT_RUN = {
    "make": "`make test` runs these tests, and `make demo` and `make page` are run by hand before a release",
    "genrender study": "renders for hours: tests/evaluation runs studies at a toy size",
    "genrender train": "trains for days: tests/train runs every stage at a toy size",
    "hf": "needs a network and weights that others own",
    "pip": "needs a network",
    ".venv/bin/python -m pip": "needs a network",
    "python -m pip": "makes a wheel of the project: `make release` does",
    "genrender batch JOBS.jsonl --server": "needs a page that goes on: tests/page/test_page_batches.py sends "
    "batches to one",
    "genrender render SCENE --prompt TEXT --frames 512 --workers 16": "needs a Ray cluster: "
    "tests/distributed begin one",
    "openjd": "is a program of its own: tests/integrations/test_farm_files.py runs it on this job",
    "python integrations/farm/opencue_job.py": "needs opencue-pyoutline: "
    "tests/integrations/test_farm_files.py makes its job where that is installed",
    "python -m venv": "makes the environment that these tests run in",
    ".": "is the shell's",
    "blender": "needs Blender, a program of its own",
    "python tests/reference/render.py": "needs Blender, a program of its own",
    "python tools/gallery.py": "writes the gallery's pictures anew; its commands are run",
    "python benchmarks/evidence.py": "runs for hours",
    "python benchmarks/frame_hashes.py": "runs for minutes by hand, before and after a change",
    "python benchmarks/speed.py": "needs an idle machine; a test runs it at a toy size",
    "python benchmarks/video_backbone.py": "needs a trained motion module",
    "python examples/05_what_each_mechanism_does.py": "is run by tests/test_examples.py",
    ".venv/bin/python benchmarks/frame_hashes.py": "runs for minutes by hand, before and after a change",
    ".venv/bin/python -m pytest": "would run these tests again",
    ".venv/bin/ruff": "is a part of `make test`",
    ".venv/bin/basedpyright": "is a part of `make test`",
    ".venv/bin/lint-imports": "is a part of `make test`",
}
# Pages whose commands are run as they stand; the others in small.
AS_THEY_STAND = ("README", "tutorial", "gallery", "long_videos", "compositing", "passes", "method")
SMALL = {
    "render": ["--frames", "3", "--steps", "1", "--size", "64"],
    "preview": ["--frames", "3", "--size", "64"],
    "submit": ["--frames", "3", "--steps", "1", "--size", "64"],
    "benchmarks/appearance.py": ["--frames", "2", "--steps", "1"],
    "benchmarks/large_scenes.py": ["--tris", "2000", "--objects", "4", "--length", "4", "--measured", "2"],
    "benchmarks/fuzz_scenes.py": ["--mutations", "20"],
    "benchmarks/fuzz_commands.py": ["--tries", "20"],
    "benchmarks/memory.py": ["--frames", "2", "4"],
    "benchmarks/reliability.py": ["--tries", "1"],
    "benchmarks/kills.py": ["--frames", "12", "--every", "5"],
    "benchmarks/workers.py": ["--frames", "12"],
    "benchmarks/fixed_keyframes.py": ["--frames", "12"],
}


def why_not(command) -> str | None:
    """Why a command is not run; None of one that is."""
    text = shlex.join(command.words)
    return next((why for start, why in NOT_RUN.items() if f"{text} ".startswith(f"{start} ")), None)


def whole(command, page: str) -> list[str]:
    """Its words with what stands in for the reader's files, without what may be left out."""
    words, is_optional = [], False
    for word in command.words[1:]:
        is_optional |= word.startswith("[")
        if not is_optional:
            # A sentence of the reader's; after others it is more of the same.
            words += [] if word == "..." and words[-1] != "--prompt" else [stand_in(word, page)]
        is_optional &= not word.endswith("]")
    # It names parts as the shell does; other patterns are quoted, and go on as they are.
    if words[:1] == ["join"]:
        words = [name for word in words for name in sorted(glob(word)) or [word]]
    return words


def test_every_reason_is_one_of_a_command():
    texts = [f"{shlex.join(command.words)} " for page in PAGES for command in told.commands(page)]
    for start in NOT_RUN:
        assert any(text.startswith(f"{start} ") for text in texts), start


def test_what_is_not_run_is_told():
    page = (ROOT / "docs" / "tried.md").read_text(encoding="utf-8")
    for start, why in NOT_RUN.items():
        assert f"| `{start}` | {why} |" in page, start


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-ins")
    make_all(folder)
    return folder


@pytest.mark.nightly
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_run(page, files, tmp_path, monkeypatch):
    commands = [command for command in told.commands(page) if why_not(command) is None]
    if not commands:
        pytest.skip("none of its commands is run")
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    for name in ("examples", "benchmarks", "docs", "tests", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    with ExitStack() as served:
        for command in commands:
            run(command, page, served)


def run(command, page, served) -> None:
    """Runs one command; a page that it serves answers, at a free port, until those after it are done."""
    words = whole(command, page.stem)
    if command.words[:2] == ("genrender", "serve"):
        served.enter_context(ServedPage(Path("genrender-studio"), *words[1:]))
        return
    in_small = [] if page.stem in AS_THEY_STAND else SMALL.get(words[0], [])
    # Parts and prompts at a time name frames of the whole clip.
    in_small = in_small[2:] if {"--only", "--prompt-at"} & set(words) else in_small
    if command.words[0] == "genrender":
        assert genrender([*words, *in_small]) == 0, command.text
    else:
        done = subprocess.run(
            [sys.executable, *words, *in_small], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command.text}\n{done.stdout}{done.stderr}"
