"""The gate for what users and files say: bounded, valid Unicode, finite, fit to be shown."""

import json
import math
import os
from pathlib import Path
from typing import Annotated, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrender.errors import ConfigError, MediaError
from genrender.scene.load import scene_label
from genrender.storage.checked_file import DamagedFile, read_checked
from genrender.storage.json_kinds import Range, misfit
from genrender.storage.untrusted import (
    MAX_FILE_NAME_BYTES,
    check_number,
    check_path,
    check_text,
    file_name,
    json_text,
    library_errors,
    parse_json,
    read_bytes,
    read_json,
    shown,
    valid_text,
)

ANY_TEXT = st.text(st.characters())  # lone surrogates, too
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


def test_bytes_are_read_up_to_a_bound(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"12345")
    assert read_bytes(file, MediaError, 5, "cut it") == b"12345"
    with pytest.raises(MediaError, match=r"a.bin: has 0 MB, expected at most 0 MB; cut it"):
        read_bytes(file, MediaError, 4, "cut it")


def test_files_that_say_that_they_are_empty_are_bounded_too():
    # The system's own files have a size of 0 and content none the less.
    whole = read_bytes(Path("/proc/self/status"), MediaError, 10**6, "")
    assert b"VmHWM" in whole
    with pytest.raises(MediaError):
        read_bytes(Path("/proc/self/status"), MediaError, 100, "")


@pytest.mark.parametrize("kind", ["/dev/zero", "/dev/null", "pipe", "folder"])
def test_what_may_never_end_is_not_read(tmp_path, kind):
    path = tmp_path / kind.strip("/").replace("/", "-")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    with pytest.raises(OSError, match="no ordinary file"):
        read_bytes(path, MediaError, 100, "")
    with pytest.raises(DamagedFile):
        read_checked(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "its JSON cannot be read"),
        (b"[1, NaN]", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"1e999", "the number 1e999 is too large"),
        (b"-1e999", "the number -1e999 is too large"),
        (b"1" + b"0" * 400, r"the number 100000000000\.\.\. is too large"),
        (b"1" + b"0" * 10_000, r"the number 100000000000\.\.\. is too large"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'"\xff"', "no text in UTF-8"),
    ],
)
def test_json_that_is_refused(tmp_path, text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(ConfigError, match=f"a.json: .*{reason}.*; expected a list"):
        read_json(tmp_path / "a.json", ConfigError, "a list")


@given(JSON)
def test_json_is_read_as_it_was_written_with_valid_texts(content):
    # Surrogates that make a pair are one character, in JSON as here.
    again = parse_json(json.dumps(content))
    json.dumps(again, ensure_ascii=False).encode()
    if "\\ud" not in json.dumps(content):
        assert again == content


@given(ANY_TEXT)
def test_valid_text_is_unicode_and_changes_nothing_that_is(text):
    valid = valid_text(text)
    valid.encode()
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert valid == text


@given(ANY_TEXT)
def test_shown_text_is_one_line_that_steers_nothing(text):
    line = shown(text)
    line.encode()
    assert line.splitlines() in ([line], [])
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_shown_text_can_be_read():
    assert shown("a red fox, Ø 狐 🦊") == "a red fox, Ø 狐 🦊"
    assert shown("red\x1b[31m\n\u202efox\udcff") == "red\\x1b[31m\\n\\u202efox\N{REPLACEMENT CHARACTER}"
    assert shown("a" * 9, 5) == "aaaa…"


@given(ANY_TEXT)
def test_file_names_are_names_that_every_system_takes(text):
    name = file_name(text)
    assert len(name.encode()) <= MAX_FILE_NAME_BYTES - 64
    assert not set(name) & set('<>:"/\\|?*[]\0\n')
    assert name.strip(". ") == name


def test_file_names_that_will_do_stay():
    assert file_name("walking_biped-2.5 Ø") == "walking_biped-2.5_Ø"
    assert file_name('wave_*: "up/down"') == "wave_up_down"
    assert [file_name(name) for name in ("Con", "nul.v2", "COM1", "lpt12", "console")] == [
        *("Con_", "nul_.v2", "COM1_", "lpt12", "console")
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 10_001, "10,001 characters"),
        ("fox\udcff", "no valid text"),
        ("\ud800", "no valid text"),
        ("a\0b", "null characters"),
    ],
)
def test_texts_that_are_refused(text, reason):
    with pytest.raises(ConfigError, match=f"^prompt .*{reason}") as raised:
        check_text("prompt", text, ConfigError)
    str(raised.value).encode()
    check_text("prompt", "a red fox, Ø 狐 🦊", ConfigError)


def test_paths_that_are_refused(tmp_path):
    check_path("out", tmp_path / ("ä" * 127), ConfigError)
    check_path("out", tmp_path / "broken\udcff", ConfigError)  # a file system may hold such a name
    for path, reason in (
        (tmp_path / ("ä" * 128), "a name of 256 bytes"),
        (tmp_path.joinpath(*["abcdefgh"] * 500), "a path of"),
        (tmp_path / "a\0b", "null characters"),
        (tmp_path / "\ud800", "no valid text"),
    ):
        with pytest.raises(ConfigError, match=f"^out .*{reason}"):
            check_path("out", path, ConfigError)


def test_numbers_that_are_refused():
    for number in (float("nan"), float("inf"), -float("inf"), 2**63, -(10**400), 10**5000):
        with pytest.raises(ConfigError, match=r"^fps is "):
            check_number("fps", number, ConfigError)
    check_number("fps", 2**63 - 1, ConfigError)
    check_number("fps", 1e308, ConfigError)


@pytest.mark.parametrize(
    "error", [OverflowError, TypeError, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), KeyError]
)
def test_what_libraries_raise_becomes_one_line(error):
    message = r"^a.usd: its library cannot read it \(.*\); export it anew$"
    with (
        pytest.raises(MediaError, match=message),
        library_errors("a.usd", MediaError, "export it anew"),
    ):
        raise error
    with pytest.raises(ConfigError, match=r"^ours$"), library_errors("a.usd", MediaError, ""):
        raise ConfigError("ours")
    # What is no library's way of refusing a file is not hidden.
    for other in (KeyboardInterrupt, MemoryError, OSError):
        with pytest.raises(other), library_errors("a.usd", MediaError, ""):
            raise other


def test_written_json_is_strict():
    value = {
        "rate": math.inf,
        "low": [-math.inf, (math.nan, 1.5)],
        "name": "fox\udcff",
        "scene": Path("a.glb"),
    }
    text = json_text(value, str)
    read = json.loads(text, parse_constant=pytest.fail)
    assert read == {
        "rate": "Infinity",
        "low": ["-Infinity", ["NaN", 1.5]],
        "name": "fox\ufffd",
        "scene": "a.glb",
    }


class Inner(TypedDict):
    kind: Literal["node", "mesh"]
    pairs: list[tuple[str, float]]


class Record(TypedDict):
    width: Annotated[int, Range(1, 100)]
    name: str | None
    inner: Inner
    ids: dict[str, list[int]]
    loop: NotRequired[bool]


FITTING = {
    "width": 5,
    "name": None,
    "inner": {"kind": "mesh", "pairs": [["a", 1], ["b", 0.5]]},
    "ids": {"x": [1]},
    "more": 3,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"loop": True}, None),
        ({"loop": 1}, "r.loop is 1, expected true or false"),
        ({"width": "5"}, 'r.width is "5", expected a whole number'),
        ({"width": True}, "r.width is true, expected a whole number"),
        ({"width": 5.5}, "r.width is 5.5, expected a whole number"),
        ({"width": 0}, "r.width is 0, expected 1 to 100"),
        ({"width": 10**30}, "r.width is a very large number, expected a whole number"),
        ({"name": 7}, "r.name is 7, expected a text or null"),
        ({"inner": None}, "r.inner is null, expected an object with entries"),
        ({"inner": {"kind": "mesh"}}, "r.inner.pairs is missing"),
        ({"inner": {"kind": [], "pairs": []}}, "r.inner.kind is a list of 0, expected node or mesh"),
        (
            {"inner": {"kind": "mesh", "pairs": [["a"]]}},
            "r.inner.pairs[0] is a list of 1, expected a list of 2",
        ),
        ({"inner": {"kind": "mesh", "pairs": [["a", "b"]]}}, 'r.inner.pairs[0][1] is "b", expected a number'),
        ({"ids": {"x\x1b": [None]}}, r'r.ids["x\u001b"][0] is null, expected a whole number'),
        ({"ids": [1]}, "r.ids is a list of 1, expected an object with entries"),
    ],
)
def test_entries_that_do_not_fit(change, message):
    assert misfit({**FITTING, **change}, Record, "r") == message


def test_folders_named_after_scenes_have_names_that_file_systems_take():
    assert scene_label(Path("a/wave_*.obj")) == "wave"
    assert scene_label(Path("a/Robot Arm.glb")) == "Robot_Arm"
    assert len(f"compare-{scene_label(Path('x' * 250 + '.glb'))}-20260101-000000-12".encode()) <= 255
    assert scene_label(Path("a/wave \udcff<1>.glb")) == "wave_\N{REPLACEMENT CHARACTER}_1"
