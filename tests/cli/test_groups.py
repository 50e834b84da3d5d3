"""Options in groups: none is lost, and what is parsed is what was asked for."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from genrender.cli import COMMANDS, main, parse
from genrender.cli.groups import GROUPS, flat, grouped
from genrender.cli.options import Gbuffers, Preview, Render


def test_words_become_the_command_whatever_the_group():
    words = ["render", "fox.glb", "--prompt", "a fox", "--frames", "5", "--set", "a=1", "--set", "b=2"]
    words += ["--noise", "fixed", "--merge", "x*=X", "--seed", "7", "--loop"]
    expected = {
        "frames": 5,
        "set": ("a=1", "b=2"),
        "noise": "fixed",
        "merge": ("x*=X",),
        "seed": 7,
        "loop": True,
    }
    assert parse(words) == Render(Path("fox.glb"), "a fox", **expected)
    assert parse(words[:4]) == Render(Path("fox.glb"), "a fox")
    assert parse(["preview", "fox.glb"]) == Preview(Path("fox.glb"))


@pytest.mark.parametrize("command", COMMANDS.values())
def test_grouping_loses_nothing(command):
    made = grouped(command)
    inner = [
        (one.name, part)
        for one in fields(made)
        if one.name in GROUPS and made is not command
        for part in fields(one.default_factory)
    ]
    names = [one.name for one in fields(made) if one.name not in GROUPS or made is command]
    names += [part.name for _, part in inner]
    assert sorted(names) == sorted(one.name for one in fields(command))
    for _, part in inner:
        assert part.default == command.__dataclass_fields__[part.name].default


def test_what_is_flat_stays():
    options = Gbuffers(Path("fox.glb"), Path("out"))
    assert flat(Gbuffers, options) is options


def test_help_is_grouped_and_every_option_explained(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["render", "--help"]) == 0
    text = capsys.readouterr().out
    titles = re.findall(r"^\W+(\w+) options\W+$", text, re.MULTILINE)
    assert titles == ["shot", "content", "networks", "consistency"]
    for group, (about, _) in GROUPS.items():
        assert about in text, group
    assert max(map(len, text.splitlines())) <= 80
