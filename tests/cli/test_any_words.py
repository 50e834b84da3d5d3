"""Whatever words follow `genrender`, it answers: with a result, or with lines about the mistake."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrender.cli import COMMANDS

# What a command wants, so that its other words are looked at.
WANTED = {
    "render": ["--prompt", "a fox"],
    "gbuffers": ["--out", "g", "--frames", "1"],
    "unwrap": ["--out", "new.glb"],
}
# What asks for a server, trains or makes many runs; their options are parsed in test_groups.
LONG = {"train", "serve", "study", "compare", "jobs", "submit"}
NASTY = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                " ",
                "-",
                "--",
                "-1",
                "0",
                "1e309",
                "nan",
                "-inf",
                "1_000",
                "٣",
                "0x10",
                "1/0",
                "9" * 400,
                "a" * 5000,
            ),
            *(
                "\0",
                "\x1b[2J",
                "\udcff",
                "é\u0301",
                "\u202e",
                "日本",
                "=",
                "a=",
                "=a",
                "a=b=c",
                "*",
                "[",
                "?",
                "{",
                "%s",
                "${HOME}",
            ),
            *(
                "../..",
                "/dev/null",
                "/",
                ".",
                "~",
                "~nobody",
                "C:\\a",
                "file:///etc/passwd",
                "http://127.0.0.1:9/x",
            ),
            *(
                "none",
                "auto",
                "cpu",
                "cuda:7",
                "orbit,",
                ",",
                "0:1",
                "1,2,3",
                "orbit:1e9",
                "static,0mm",
                "64x",
                "1x1",
                "scene:",
            ),
        ]
    ),
    st.text(max_size=12),
    st.floats().map(str),
    st.integers().map(str),
)


def options_of(command: type) -> dict[str, type]:
    """Every option with the type of its value."""
    found = {}
    for one in fields(command):
        hint = get_type_hints(command, include_extras=True)[one.name]
        if is_dataclass(one.default_factory):
            found |= options_of(one.default_factory)
        else:
            found[one.name.replace("_", "-")] = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return found


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(set(COMMANDS) - LONG)))
    options = options_of(COMMANDS[name])
    words = [name, draw(st.just("SCENE") | NASTY), *(WANTED.get(name, []) if draw(st.booleans()) else [])]
    # Where an error comes from is a traceback's to tell.
    for flag in draw(st.lists(st.sampled_from(sorted(set(options) - {"debug"})), max_size=4)):
        value = [] if options[flag] is bool else [draw(NASTY)]
        words += [f"--{flag}={value[0]}"] if value and draw(st.booleans()) else [f"--{flag}", *value]
    return words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=command_lines())
def test_words_of_any_kind_are_answered(call, scene: Path, words):
    words = [str(scene) if word == "SCENE" else word for word in words]
    # A model that is nowhere: nothing is painted.
    words += ["--model", "nowhere"] if words[0] == "render" else []
    result = call(*words)
    assert result.code in (0, 1, 2)
    assert "Traceback" not in result.err
    if result.code == 2:
        assert result.err.strip()


@pytest.mark.parametrize("name", sorted(COMMANDS))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(NASTY, min_size=1, max_size=3))
def test_words_that_are_no_options_are_refused(call, name, words):
    result = call(name, "--no-such-option", *words)
    assert result.code == 2
    assert result.err.strip()
    assert "Traceback" not in result.err
