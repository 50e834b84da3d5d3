"""What README and docs say can be typed, clicked and built."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from test_examples import load_script

from genrender.cli import COMMANDS, parse
from genrender.cli import main as genrender

ROOT = Path(__file__).resolve().parents[1]
told = load_script(ROOT / "tools" / "commands.py")
ALL = [command for page in told.pages() for command in told.commands(page)]
GENRENDER = [command for command in ALL if command.words[0] == "genrender"]


def name(command) -> str:
    return f"{command.page}:{command.line}: {command.text}"


def test_commands_are_found():
    assert len(GENRENDER) > 50
    assert {command.words[1] for command in GENRENDER} >= {
        "render",
        "preview",
        "inspect",
        "diagnose",
        "serve",
    }


@pytest.mark.parametrize("command", GENRENDER, ids=name)
def test_the_command_line_understands(command):
    # "..." is a sentence of the reader's, brackets are what may be left out.
    words = [word.strip("[]") for word in command.words[1:]]
    assert words[0] in COMMANDS
    if "..." in words and words[words.index("...") - 1] != "--prompt":
        words.remove("...")
    parse(words)


@pytest.mark.parametrize("command", [one for one in ALL if one.words[0] != "genrender"], ids=name)
def test_other_commands_name_what_is_there(command):
    program, *words = command.words
    match program.removeprefix(".venv/bin/"):
        case "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case "python" if words[0] == "-m":
            assert words[1] in ("pytest", "venv", "pip")
        case "python":
            script = ROOT / words[0]
            text = "".join(
                file.read_text() for file in (script, script.with_name("shared.py")) if file.exists()
            )
            for word in words[1:]:
                flag = word.strip("[]")
                if flag.startswith("--"):
                    assert flag in text or f"{flag[2:].replace('-', '_')}:" in text, flag
        case "pip":
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            for word in words:
                for extra in re.findall(r"genrender\[([a-z,]+)\]", word):
                    assert set(extra.split(",")) <= set(extras)
        case "blender":
            assert (ROOT / words[words.index("--python") + 1]).is_file()
        case "openjd":
            template = (ROOT / words[1]).read_text()
            for value in (one for flag, one in pairwise(words) if flag == "-p"):
                assert f"- name: {value.partition('=')[0]}\n" in template, value
        case "ruff" | "basedpyright" | "lint-imports" | "mkdocs":
            pass  # tools of the extra dev; `make test` runs them
        case ".":
            assert words == [".venv/bin/activate"]
        case "hf" | "git" | "cd":
            pass  # a network, or the reader's own folder
        case other:
            pytest.fail(f"nothing tells whether {other} is right")


def test_the_first_commands_of_the_tutorial_run_in_small(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tutorial.md"
    mine = [command for command in told.commands(page) if command.words[0] == "genrender"]
    for command in mine[:3]:
        small = ["--frames", "3", "--steps", "1", "--size", "64"] if command.words[1] == "render" else []
        assert genrender([*command.words[1:], *small]) == 0, name(command)
    assert (tmp_path / "runs" / "rough" / "video.mp4").is_file()
    assert "Dance" in capsys.readouterr().out


def test_the_man_page_has_every_command_and_option(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    page = load_script(ROOT / "tools" / "man.py").man_page()
    text = page.replace("\\-", "-").replace("\\:", "")
    assert all(f".SS genrender {command}\n" in text for command in COMMANDS)
    assert known_flags() <= set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    if (groff := shutil.which("groff")) is not None:
        file = tmp_path / "genrender.1"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [groff, "-man", "-ww", "-Kutf8", "-Tutf8", file], capture_output=True, check=True
        )
        assert (done.stderr, b"genrender render" in done.stdout) == (b"", True)


# Options and commands in running text.


@cache
def known_flags() -> frozenset[str]:
    reference = load_script(ROOT / "tools" / "reference.py").command_line()
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*", reference))


@pytest.mark.parametrize("page", told.pages(), ids=lambda page: page.name)
def test_commands_in_running_text_exist(page):
    for code in re.findall(r"`genrender ([^`]+)`", page.read_text(encoding="utf-8").replace("\n", " ")):
        words = [word.strip("[]") for word in shlex.split(code)]
        if words[0] in ("COMMAND", "--version"):
            continue
        assert words[0] in COMMANDS, code
        for word in words[1:]:
            if word.startswith("--"):
                assert word in known_flags() | {"--help", "--help-all"}, code


def test_the_site_is_built_without_a_broken_link(tmp_path):
    # Not --quiet: then it counts no warnings, and broken links pass.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r'(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)"', file.read_text(encoding="utf-8")
        )
        assert not fetched, file


@pytest.mark.parametrize("page", told.pages(), ids=lambda page: page.name)
def test_files_that_a_page_links_to_are_there(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        made = page.parent == ROOT / "docs" and link in ("command_line.md", "python.md", "symptoms.md")
        assert made or (page.parent / link).exists(), link
