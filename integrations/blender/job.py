"""One video in the making: passes by a second Blender, then frames by the engine, in a folder to go on from.

The folder has `job.json` (what was asked for), `scene.blend` (a copy, until the passes are there), `passes`,
`run` (the engine's) or `preview`, and `log.txt`. What decides how to go on is read from these files, so
a job that was cancelled, or whose Blender was closed, goes on in any other Blender.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .process import Process

JOB_FILE, SCENE_FILE, LOG_FILE = "job.json", "scene.blend", "log.txt"
# What a folder says of itself.
UNFINISHED, FINISHED, NO_JOB = "unfinished", "finished", "none"


@dataclass(frozen=True)
class Request:
    """What was asked for, as `job.json` keeps it.

    Attributes:
        kind: `video`, or `preview` of the passes alone.
        scene: name of the scene in `scene.blend`.
        layer: name of its view layer.
        frames: numbers of the frames, evenly spaced.
        size: width and height of the passes in pixels.
        pixel_aspect: width and height of a pixel, which keep what the camera sees.
        left_out: objects that are not shown: name, and the file of a linked one or "".
        road: how the engine gets the scene: exr, usd or glb.
        charts: which objects get new texture coordinates: overlapping, missing or none.
        use_scripts: whether drivers and scripts of the file may run, as in the Blender that asks.
        options: further arguments of `genrender render`.
        offline: whether the engine must not use the network.
    """

    kind: str
    scene: str
    layer: str
    frames: list[int]
    size: list[int]
    pixel_aspect: list[float]
    left_out: list[list[str]]
    road: str
    charts: str
    use_scripts: bool
    options: list[str]
    offline: bool
    blend: str = ""

    def save(self, folder: Path) -> None:
        beside = folder / (JOB_FILE + ".new")
        beside.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")
        beside.replace(folder / JOB_FILE)

    @classmethod
    def load(cls, folder: Path) -> "Request":
        """Raises OSError, ValueError or TypeError where the file is not there or not ours."""
        return cls(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))

    @property
    def passes(self) -> str:
        """Where the passes lie in the job's folder: EXR files, or one scene file."""
        return "passes" if self.road == "exr" else f"passes/scene.{'usdc' if self.road == 'usd' else 'glb'}"


def state(folder: Path) -> str:
    """Whether a folder holds a job that can be gone on with, a finished one or none."""
    if not (folder / JOB_FILE).is_file():
        return NO_JOB
    done = (folder / "run" / "config.json", folder / "preview" / "contact_sheet.png")
    return FINISHED if any(file.is_file() for file in done) else UNFINISHED


def frame_files(folder: Path) -> list[Path]:
    """The finished frames, in order."""
    return sorted((folder / "run" / "frames").glob("[0-9]*.png"))


@dataclass(frozen=True)
class Programs:
    """What the stages start.

    Attributes:
        blender: a second Blender that reads the script of passes; the job's folder comes behind it.
        engine: genrender.
        environment: variables of both.
    """

    blender: Sequence[str]
    engine: Sequence[str]
    environment: Mapping[str, str]


@dataclass
class Job:
    """A job under way. `poll` is called now and then; nothing waits.

    Attributes:
        work: what is being done, in words.
        done: how much of it.
        total: of how much; 0: not known yet.
        notes: what is worth knowing while it goes on.
        warnings: what may be wrong with the result.
        error: why it ended, in one line.
        is_cancelled: ended because somebody wanted it to.
    """

    folder: Path
    programs: Programs
    work: str = "starting"
    done: int = 0
    total: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    is_cancelled: bool = False
    is_done: bool = False
    _process: Process | None = None
    _stage: str = ""
    _log_begins: int = 0

    def start(self) -> None:
        """Starts with what is not there yet.

        Raises:
            OSError, ValueError, TypeError: the folder holds no job, or a program cannot be started.
        """
        self.request = Request.load(self.folder)
        self._next()

    @property
    def is_under_way(self) -> bool:
        return self._process is not None

    @property
    def stage(self) -> str:
        """`passes` or `engine`; empty before and after."""
        return self._stage

    @property
    def progress(self) -> str:
        """What is being done, in a few words."""
        return f"{self.work} {self.done}/{self.total}" if self.total else self.work

    @property
    def preview(self) -> Path | None:
        """A picture of how it goes, as soon as there is one."""
        places = ("run/contact_sheet.png", "run/unfinished/preview.png", "preview/contact_sheet.png")
        return next((file for place in places if (file := self.folder / place).is_file()), None)

    def poll(self) -> bool:
        """Takes in what was told, and goes on to the next stage; whether anything is new."""
        if self._process is None:
            return False
        code = self._process.code()  # before the events, so that none comes after the last look
        events = self._process.events()
        for event in events:
            self._take(event)
        if code is None:
            return bool(events)
        self._process = None
        # Blender ends well even where it could not begin with the script.
        if code == 0 and (self._stage != "passes" or self._has_passes()):
            self._next()
        else:
            self.error = self.error or self._last_words() or f"{self._stage} ended with code {code}"
            self._stage = ""
        return True

    def cancel(self) -> None:
        """Ends what goes on; what is finished stays for the next time."""
        if self._process is not None:
            self._process.end()
            self._process = None
            self.is_cancelled, self._stage = True, ""

    def _take(self, event: Mapping[str, Any]) -> None:
        text = str(event.get("text", ""))
        if event["event"] == "progress":
            self.work = str(event.get("work", ""))
            self.done, self.total = int(event.get("done", 0)), int(event.get("total", 0))
        elif event["event"] in ("note", "warning"):
            said = self.notes if event["event"] == "note" else self.warnings
            if text not in said:
                said.append(text)
        elif event["event"] == "error":
            self.error = text

    def _next(self) -> None:
        self.done = self.total = 0
        if state(self.folder) == FINISHED:
            self.is_done, self._stage = True, ""
            return
        if not self._has_passes():
            self._start("passes", [*self.programs.blender, str(self.folder)])
            return
        # The copy has served; it may be large. So have pictures that a killed Blender was at.
        for file in (self.folder / SCENE_FILE, *self.folder.glob("unfinished-*")):
            file.unlink(missing_ok=True)
        self._start("engine", [*self.programs.engine, *self._words()])

    def _has_passes(self) -> bool:
        if self.request.road != "exr":
            return (self.folder / self.request.passes).is_file()
        return all((self.folder / exr_name(number)).is_file() for number in self.request.frames)

    def _words(self) -> list[str]:
        """The engine's command line."""
        run, passes = self.folder / "run", self.folder / self.request.passes
        if self.request.kind == "preview":
            return ["preview", str(passes), "--out", str(self.folder / "preview"), *self.request.options]
        if (run / "unfinished" / "request.json").is_file():
            return ["resume", str(run), "--progress", "json"]
        return ["render", str(passes), "--run-dir", str(run), "--progress", "json", *self.request.options]

    def _start(self, stage: str, command: Sequence[str]) -> None:
        self.work, self._stage = stage, stage
        environment = {**self.programs.environment, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        if self.request.offline:
            environment |= {"HF_HUB_OFFLINE": "1"}
        log = self.folder / LOG_FILE
        self._log_begins = log.stat().st_size if log.exists() else 0
        self._process = Process(command, environment, log)

    def _last_words(self) -> str:
        """The log's last line that names an error, else its last: where programs say why they end."""
        with (self.folder / LOG_FILE).open(encoding="utf-8", errors="replace") as log:
            log.seek(self._log_begins)
            lines = [line.strip() for line in log if line.strip()][1:]  # the first is the command
        errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        return (errors or lines or [""])[-1]


def exr_name(number: int) -> str:
    """The file of a frame, inside the job's folder."""
    return f"passes/frame_{number:04d}.exr"


def surroundings() -> dict[str, str]:
    """Variables for other programs: without those that lead Python to Blender's own modules."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONSTARTUP")}
