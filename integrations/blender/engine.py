"""Where the engine is: an environment of its own with genrender in it, never Blender's Python."""

import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .install import PROGRAM, exe, installed, is_incomplete, isolated, programs

HOW = "install it in the add-on's preferences, or say there where it is"
AGAIN = "install it again in the add-on's preferences"


class EngineError(Exception):
    """The engine cannot be had; one line that says what was looked for, and how to mend it."""


@dataclass(frozen=True)
class Engine:
    """What starts genrender.

    Attributes:
        command: program and first arguments.
        where: what found it: the preferences, the add-on, or PATH.
    """

    command: tuple[str, ...]
    where: str


def wanted_version() -> str:
    """The version of genrender that belongs to this add-on: its own."""
    manifest = Path(__file__).with_name("blender_manifest.toml").read_text(encoding="utf-8")
    return tomllib.loads(manifest)["version"]


def find_engine(told: str, own: Path) -> Engine:
    """The engine that the user names, else the one that the add-on has installed, else the one on PATH.

    Args:
        told: the program, or the folder of the environment that it is installed in; empty: none is named.
        own: where the add-on installs the engine.

    Raises:
        EngineError: there is no such program, or the add-on's own one is not whole or another version.
    """
    if told:
        place = Path(told).expanduser()
        for candidate in (place, *(place / folder / PROGRAM for folder in ("bin", "Scripts", "."))):
            for program in (candidate, candidate.with_name(candidate.name + ".exe")):
                if program.is_file() and os.access(program, os.X_OK):
                    return Engine((str(program.absolute()),), "the preferences")
        raise EngineError(f"there is no {PROGRAM} at {told}: {HOW}")
    if found := installed(own):
        version, environment = found
        if version != wanted_version():
            raise EngineError(f"the engine is genrender {version}, expected {wanted_version()}: {AGAIN}")
        if not (programs(environment) / exe("python")).exists():
            raise EngineError(f"the engine's Python is gone, as when Blender is moved or updated: {AGAIN}")
        return Engine((*isolated(environment), "-m", PROGRAM), "the add-on")
    if is_incomplete(own):
        raise EngineError(f"the engine was not installed to the end: {AGAIN}")
    if found := shutil.which(PROGRAM):
        return Engine((found,), "PATH")
    raise EngineError(f"no {PROGRAM} on PATH: {HOW}")
