"""Installs the engine when the user asks: an environment of its own, made by other programs.

The folder has `version` and one environment, `env-...`. `version` reads `incomplete` until everything is
there and the engine has said its version; then it reads that version and the environment's name.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .process import Process

PROGRAM = "genrender"
VERSION_FILE, LOG_FILE, INCOMPLETE = "version", "log.txt", "incomplete"
# What the add-on's ways to the engine need: USD files, LoRAs and weighted prompts among the options.
PACKAGE = "genrender[lora,prompts,usd]"
_PIP_OPTIONS = (
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
    "--no-compile",
    "--only-binary=:all:",
)
_REMOVE = "import shutil, sys\nfor folder in sys.argv[1:]: shutil.rmtree(folder, ignore_errors=True)"


class InstallError(Exception):
    """The engine cannot be installed; one line that says why, and how to mend it."""


@dataclass(frozen=True)
class Source:
    """Where packages come from.

    Attributes:
        place: a package index (a URL), a folder of wheels, or a wheel; empty: the index that pip knows.
        is_online: whether the network may be used.
    """

    place: str
    is_online: bool

    def words(self) -> list[str]:
        """Arguments of pip.

        Raises:
            InstallError: the place is not there, or it needs the network and that may not be used.
        """
        is_index = self.place.startswith(("http://", "https://"))
        if not self.is_online and (is_index or not self.place):
            raise InstallError(
                "Blender may not use the network: allow it in Preferences > System > Network, "
                "or name a folder with the wheels of all packages"
            )
        if is_index:
            return ["--index-url", self.place]
        if not self.place:
            return []
        place = Path(self.place).expanduser().absolute()
        if not (place.is_dir() or (place.is_file() and place.suffix == ".whl")):
            raise InstallError(f"there is no package index, folder or wheel at {self.place}")
        words = ["--find-links", str(place if place.is_dir() else place.parent)]
        return words if self.is_online else [*words, "--no-index"]


def installed(folder: Path) -> tuple[str, Path] | None:
    """The version that was installed and its environment; None: nothing is, or not all of it."""
    try:
        words = (folder / VERSION_FILE).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return None
    return (words[0], folder / words[1]) if len(words) == 2 else None


def isolated(environment: Path) -> tuple[str, ...]:
    """The interpreter of an environment, which sees nothing that PYTHONPATH or the like leads to."""
    return str(programs(environment) / exe("python")), "-I", "-X", "utf8"


def is_incomplete(folder: Path) -> bool:
    """Whether an installation was begun and did not get to its end."""
    return (folder / VERSION_FILE).is_file() and installed(folder) is None


def programs(environment: Path) -> Path:
    """Where an environment has its programs."""
    return environment / ("Scripts" if os.name == "nt" else "bin")


def exe(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def pip_event(line: str) -> dict[str, Any] | None:
    """What a line of pip tells of how it goes."""
    if found := re.match(r"\s*Collecting ([\w.-]+)", line):
        return {"event": "progress", "work": f"finding packages: {found[1]}"}
    if found := re.match(r"\s*(?:Downloading|Using cached) (\S+?)-(\d\S*?)-\S+\.whl \((.+)\)", line):
        return {"event": "progress", "work": f"downloading {found[1]} {found[2]}, {found[3]}"}
    if found := re.match(r"Installing collected packages: (.+)", line):
        return {"event": "progress", "work": f"unpacking {found[1].count(',') + 1} packages"}
    return None


@dataclass
class Install:
    """An installation under way. `poll` is called now and then; nothing waits.

    Attributes:
        folder: where it goes.
        python: the interpreter that the environment is made with.
        version: of genrender, and no other.
        source: where packages come from.
        environment: variables of the programs.
        work, done, total, error, is_cancelled, is_done: as those of a job.
    """

    folder: Path
    python: str
    version: str
    source: Source
    environment: Mapping[str, str]
    work: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    is_cancelled: bool = False
    is_done: bool = False
    _process: Process | None = None
    _stages: list[tuple[str, Sequence[str]]] = field(default_factory=list)

    def start(self) -> None:
        """Begins anew, whatever an earlier try has left.

        Raises:
            InstallError: the source cannot serve.
            OSError: the folder cannot be written, or a program not be started.
        """
        words = self.source.words()
        self.folder.mkdir(parents=True, exist_ok=True)
        left = [str(old) for old in self.folder.glob("env-*")]
        self._write(INCOMPLETE)
        (self.folder / LOG_FILE).unlink(missing_ok=True)
        # A name of its own: what an earlier try still holds open is in nobody's way.
        self._env = Path(tempfile.mkdtemp(prefix="env-", dir=self.folder))
        python = isolated(self._env)
        pip = [*python, "-m", "pip", "install", *_PIP_OPTIONS, *words, f"{PACKAGE}=={self.version}"]
        remove = [self.python, "-I", "-c", _REMOVE, *left]
        self._stages = [("removing what was there", remove)] if left else []
        self._stages += [
            ("making an environment", [self.python, "-I", "-m", "venv", str(self._env)]),
            ("finding packages", pip),
            ("trying the engine", [*python, "-m", PROGRAM, "--version"]),
        ]
        self._next()

    @property
    def is_under_way(self) -> bool:
        return self._process is not None

    def poll(self) -> bool:
        """Takes in what was told, and goes on to the next stage; whether anything is new."""
        if self._process is None:
            return False
        code = self._process.code()  # before the events, so that none comes after the last look
        events = self._process.events()
        for event in events:
            self.work = event["work"]
            self.done, self.total = event.get("done", 0), event.get("total", 0)
        if code is None:
            return bool(events)
        self._process = None
        if code:
            self.error = (
                f"{self._why() or f'{self.work} ended with code {code}'} (see {self.folder / LOG_FILE})"
            )
        elif self._stages:
            self._next()
        else:
            self._write(f"{self.version} {self._env.name}")
            self.is_done = True
        return True

    def cancel(self) -> None:
        """Ends what goes on; the next try begins anew."""
        if self._process is not None:
            self._process.end()
            self._process = None
            self.is_cancelled = True

    def _next(self) -> None:
        self.work, command = self._stages.pop(0)
        self.done = self.total = 0
        self._process = Process(
            command,
            {**self.environment, "PYTHONUNBUFFERED": "1"},
            self.folder / LOG_FILE,
            understand=pip_event,
        )

    def _write(self, text: str) -> None:
        beside = self.folder / (VERSION_FILE + ".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.folder / VERSION_FILE)

    def _why(self) -> str:
        """The line of the log that says it best: pip's last error, else the last line."""
        lines = (self.folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line.strip() for line in lines if line.strip()]
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        return (errors or lines or [""])[-1]
