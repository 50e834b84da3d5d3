"""Weights in prompts: what is written is what Automatic1111's web UI reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrender.backbones.prompt_weights import plain_text, weighted_parts
from genrender.backbones.sources import unknown_words
from genrender.errors import ConfigError

WRITTEN = {
    "a red fox": [("a red fox", 1.0)],
    "": [("", 1.0)],
    "()": [("", 1.0)],
    "a (red) fox": [("a ", 1.0), ("red", 1.1), (" fox", 1.0)],
    "((red))": [("red", 1.21)],
    "[red]": [("red", 1 / 1.1)],
    "[[red]] fox": [("red", 1 / 1.21), (" fox", 1.0)],
    "(red:1.5)": [("red", 1.5)],
    "(red:.5) (fox : 2 )": [("red", 0.5), (" ", 1.0), ("fox ", 2.0)],
    "(a (red:2) fox:0.5)": [("a ", 0.5), ("red", 1.0), (" fox", 0.5)],
    "(a [red] fox)": [("a ", 1.1), ("red", 1.0), (" fox", 1.1)],
    "(red)(fox)": [("redfox", 1.1)],
    r"a \(red\) \[fox\]": [("a (red) [fox]", 1.0)],
    "a (red fox": [("a ", 1.0), ("red fox", 1.1)],
    "a [red fox": [("a ", 1.0), ("red fox", 1 / 1.1)],
    "red) fox]": [("red) fox]", 1.0)],
    "red:2) fox": [("red:2) fox", 1.0)],
    "ratio 3:4, a: b": [("ratio 3:4, a: b", 1.0)],
    r"a\b": [(r"a\b", 1.0)],
    "(red:x)": [("red:x", 1.1)],
    "a | b": [("a | b", 1.0)],
}


@pytest.mark.parametrize("prompt", WRITTEN)
def test_each_stretch_has_its_weight(prompt):
    found = weighted_parts(prompt)
    assert [text for text, _ in found] == [text for text, _ in WRITTEN[prompt]]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in WRITTEN[prompt]])


@given(st.text(st.characters(exclude_characters="()[]\\<")))
def test_text_without_brackets_is_itself(text):
    assert weighted_parts(text) == ((text, 1.0),)


@given(st.text("ab ()[]:.\\2"))
def test_any_brackets_are_read_or_refused_in_one_line(text):
    try:
        parts = weighted_parts(text)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert all(0 <= weight <= 2 ** len(text) for _, weight in parts)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a <lora:ink:0.8> fox", "the prompt holds <lora:ink:0.8>: a LoRA is no part of a prompt"),
        ("a [red:blue:0.5] fox", r"the prompt holds \[red:blue:0.5\]: texts that change over the steps"),
        ("a [red|blue] fox", r"the prompt holds \[red|blue\]"),
        ("(red:-1)", "a weight of the prompt is -1, expected 0 to 100"),
        ("(red:1000)", "a weight of the prompt is 1000, expected 0 to 100"),
    ],
)
def test_what_the_web_ui_would_not_read_as_text_is_refused(prompt, message):
    with pytest.raises(ConfigError, match=message):
        weighted_parts(prompt)


def test_weights_are_no_unknown_words():
    assert plain_text("a (red:1.5) [[fox]]") == "a red fox"
    assert unknown_words("a (red:1.5) [[dragon]]", {"a", "red"}) == ["dragon"]
