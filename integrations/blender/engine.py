"""Where the engine is: an environment of its own with genrender in it, never Blender's Python."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "genrender"
HOW = "say in the add-on's preferences where genrender is installed"


class EngineError(Exception):
    """The engine cannot be had; one line that says what was looked for, and how to mend it."""


@dataclass(frozen=True)
class Engine:
    """What starts genrender.

    Attributes:
        command: program and first arguments.
        where: what found it: the preferences, or PATH.
    """

    command: tuple[str, ...]
    where: str


def find_engine(told: str) -> Engine:
    """The engine that the user names, else the one on PATH.

    Args:
        told: the program, or the folder of the environment that it is installed in; empty: none is named.

    Raises:
        EngineError: there is no such program.
    """
    if told:
        place = Path(told).expanduser()
        for candidate in (place, *(place / folder / PROGRAM for folder in ("bin", "Scripts", "."))):
            for program in (candidate, candidate.with_name(candidate.name + ".exe")):
                if program.is_file() and os.access(program, os.X_OK):
                    return Engine((str(program.absolute()),), "the preferences")
        raise EngineError(f"there is no {PROGRAM} at {told}: {HOW}")
    if found := shutil.which(PROGRAM):
        return Engine((found,), "PATH")
    raise EngineError(f"no {PROGRAM} on PATH: {HOW}")
