"""What a result tells of its making: the words that made it, inside videos and contact sheets.

A file that has left its run folder says which settings it comes from, and no folder of whoever made it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TypedDict

from genrender.runs.record import RunRecord
from genrender.storage.json_kinds import misfit
from genrender.storage.untrusted import json_text, parse_json

# What it is called in files.
KEY = "genrender"
# Options that are about the machine where the run was made, with a value or without one.
_OF_THE_MACHINE = ("--run-dir", "--out", "--allow-folder", "--exr-map", "--device", "--progress", "--ray")
_ALONE = ("--debug", "--resume")
# Those that may name files, of which the name is told and no folder; hub ids such as owner/name stay.
_OF_FILES = (
    *("--camera", "--appearance-from", "--keyframes-from", "--model", "--vae", "--motion-adapter"),
    *("--lora", "--embedding", "--controlnet", "--ip-adapter", "--ip-image"),
)
_FOLDER = re.compile(r"(\w+=)?(?:[A-Za-z]:)?(?:[/\\]|\.{1,2}[/\\]|~[/\\])(?:.*[/\\])?", re.DOTALL)


class _Stored(TypedDict):
    genrender: str
    scene: str
    words: list[str]


@dataclass(frozen=True)
class Told:
    """What is known of a result from its file alone.

    Attributes:
        scene: name of the scene's file.
        words: options of the command line, with their values.
    """

    scene: str
    words: tuple[str, ...]


def told_of(record: RunRecord) -> str:
    """What goes into the files of a run, as text."""
    versions: Mapping[str, str] = record.versions
    stored = {
        "genrender": versions["genrender"],
        "scene": Path(record.shot.scene).name,
        "words": list(told_words(record.command)),
    }
    return json_text(stored, indent=None)


def told_words(command: Sequence[str]) -> tuple[str, ...]:
    """The options of a command line that are about the video."""
    kept: list[str] = []
    rest = iter(command)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in _ALONE:
            continue
        if flag in _OF_THE_MACHINE:
            if not equals:
                next(rest, None)
        elif flag in _OF_FILES:
            kept.append(f"{flag}={_without_folder(value if equals else next(rest, ''))}")
        else:
            kept.append(word)
    # What comes before the first option are the program, the command and the scene.
    first = next((i for i, word in enumerate(kept) if word.startswith("--")), len(kept))
    return tuple(kept[first:])


def _without_folder(value: str) -> str:
    """The name of a file with what stands around its path, such as the kind of a control network."""
    found = _FOLDER.match(value)
    return value if found is None else (found[1] or "") + value[found.end() :]


def read_told(text: str) -> Told | None:
    """What `told_of` wrote; None: it is something else."""
    try:
        stored = parse_json(text)
    except ValueError:
        return None
    if misfit(stored, _Stored, "") is not None:
        return None
    return Told(PureWindowsPath(Path(stored["scene"]).name).name, tuple(stored["words"]))


def told_by(record: RunRecord) -> Told:
    """The same of a run folder's record."""
    told = read_told(told_of(record))
    assert told is not None
    return told
