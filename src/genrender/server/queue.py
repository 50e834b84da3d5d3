"""Runs made one after the other: a thread and a process for every device.

A run that is stopped, by its user, by an error or by the end of the server, stays as it is and goes on where
it stopped, to the same frames, when that is asked for.
"""

import datetime
import hashlib
import json
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genrender.errors import GenRenderError
from genrender.jobs.job import RenderJob, job_from_json
from genrender.jobs.worker import Worker
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.runs.unfinished import has_steps
from genrender.server.database import Database, RunEntry, State
from genrender.server.events import Events
from genrender.storage.run_files import CONFIG_FILE

# Estimates that wait; only the last ones are of interest.
KEPT_ESTIMATES = 4
KEPT_LINES = 50


def now() -> str:
    """Date and time in ISO's form."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def has_video(folder: Path) -> bool:
    """Whether a run is finished, whatever else it is to get."""
    return (folder / CONFIG_FILE).is_file() and not has_steps(folder)


def left_state(folder: Path) -> State:
    """The state of a run that is stopped now: its video, where it has one, is a result."""
    return "finished" if has_video(folder) else "stopped"


def pace_key(job: RenderJob, width: int, height: int) -> str:
    """What a model's speed depends on."""
    recipe = asdict(replace(job.recipe, device=None))
    facts = [recipe, job.guidance, bool(job.negative_prompt), job.chunk, width, height]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:32]


@dataclass
class Progress:
    """How far the run is that goes on."""

    work: str
    done: int
    total: int
    began_s: float
    first_done: int
    started_s: float

    def facts(self) -> dict[str, Any]:
        """As the API tells them."""
        now_s = time.monotonic()
        gone, left_s = self.done - self.first_done, None
        if gone > 0:
            left_s = round((now_s - self.began_s) / gone * (self.total - self.done), 1)
        return {
            "work": self.work,
            "done": self.done,
            "total": self.total,
            "elapsed_s": round(now_s - self.started_s, 1),
            "left_s": left_s,
        }


class Queue:
    """Makes the waiting runs of a database.

    Args:
        runs: folder of the run folders.
        devices: one worker for each; None is what this machine takes by itself.
    """

    def __init__(
        self, database: Database, runs: Path, events: Events, devices: tuple[str | None, ...] = (None,)
    ) -> None:
        self._database = database
        self._runs = runs
        self._events = events
        self._news = threading.Condition()
        self._is_over = False
        self._estimates: OrderedDict[str, RenderJob] = OrderedDict()
        self.progress: dict[str, Progress] = {}
        self._stations = [_Station(device) for device in devices]
        for station in self._stations:
            threading.Thread(target=self._work, args=(station,), daemon=True).start()

    def wake(self) -> None:
        """There is a run that waits."""
        with self._news:
            self._news.notify_all()

    def ask_pace(self, key: str, job: RenderJob) -> None:
        """Have a model timed when nothing else is to be done."""
        with self._news:
            self._estimates[key] = job
            while len(self._estimates) > KEPT_ESTIMATES:
                self._estimates.popitem(last=False)
            self._news.notify()

    def cancel(self, run: str) -> None:
        """Stops a run that goes on; what it has done stays."""
        with self._news:  # who takes a run does so in one go
            for station in self._stations:
                if station.run == run:
                    station.is_cancelled = True
                    station.worker.interrupt()

    def end(self, patience_s: float = 12.0) -> None:
        """Stops everything; runs that go on count as stopped."""
        with self._news:
            self._is_over = True
            self._news.notify_all()
        for station in self._stations:
            station.is_cancelled = True
            station.worker.interrupt()
        for station in self._stations:
            station.is_idle.wait(patience_s)

    def _work(self, station: "_Station") -> None:
        with station.worker:
            while True:
                entry = key = job = None
                with self._news:
                    while not self._is_over:
                        entry = self._take()
                        if entry is not None:
                            # Whoever cancels it from here on is heard.
                            station.run, station.is_cancelled = entry.id, False
                            break
                        if self._estimates:
                            key, job = self._estimates.popitem()
                            break
                        self._news.wait()
                    if self._is_over:
                        break
                if entry is not None:
                    self._make(station, entry)
                elif job is not None:
                    self._time(station, str(key), job)
        station.is_idle.set()

    def _take(self) -> RunEntry | None:
        entry = self._database.first_waiting()
        if entry is None:
            return None
        return self._database.change_run(
            entry.id, ("waiting",), state="running", started=now(), ended=None, error=None
        )

    def _make(self, station: "_Station", entry: RunEntry) -> None:
        path, started_s = self._runs / entry.id, time.monotonic()
        notes, warnings = list(entry.notes), list(entry.warnings)

        def tell(kept: list[str], text: str) -> None:
            if text not in kept and len(kept) < KEPT_LINES:
                kept.append(text)
            self._database.change_run(entry.id, notes=notes, warnings=warnings)
            self._events.tell(entry.id)

        def progress(work: str, done: int, total: int) -> None:
            before = self.progress.get(entry.id)
            if before is None or before.work != work:
                now_s = time.monotonic()
                self.progress[entry.id] = Progress(work, done, total, now_s, done, started_s)
            else:
                before.done, before.total = done, total
            self._events.tell(entry.id)

        hooks = RunHooks(
            lambda text: tell(notes, text),
            lambda text: tell(warnings, text),
            progress,
            lambda: station.is_cancelled,
        )
        changes: dict[str, Any] = {"state": "finished", "error": None}
        self._events.tell(entry.id)
        try:
            if entry.wish is not None:
                wish = entry.wish
                station.worker.finish(path, wish["also"], wish["upscale"], station.device, hooks)
            elif has_steps(path):
                station.worker.resume(path, hooks)
            else:
                job = job_from_json(entry.job)
                job = replace(job, recipe=replace(job.recipe, device=station.device))
                if entry.seeds is None:
                    station.worker.make(job, RunFolder(path), hooks)
                else:
                    station.worker.seeds(job, RunFolder(path), entry.seeds, hooks)
            if entry.wish is None and entry.seeds is None:
                self._learn(path, job_from_json(entry.job))
        except Cancelled:
            changes = {"state": "stopped"}
        except GenRenderError as error:
            changes = {"state": "failed", "error": " ".join(str(error).splitlines())}
        except Exception as fault:  # the others that wait shall be made
            traceback.print_exc()
            changes = {
                "state": "failed",
                "error": f"{type(fault).__name__} in the server; its log tells more",
            }
        finally:
            if has_video(path):
                changes["state"] = "finished"
            station.run = None
            self.progress.pop(entry.id, None)
        # The hint how to resume it on a command line is of no use here.
        notes = [note for note in notes if not note.startswith("go on from the last ")]
        self._database.change_run(
            entry.id, ("running",), ended=now(), wish=None, notes=notes, warnings=warnings, **changes
        )
        self._events.tell(entry.id)

    def _learn(self, path: Path, job: RenderJob) -> None:
        """From a finished run, how fast its model is here."""
        record = RunFolder(path).read_record()
        steps = record.making.settings.n_steps
        key = pace_key(job, record.shot.width, record.shot.height)
        known = self._database.pace(key)
        memory = known[1] if known else (record.cost.peak_memory_mb or 0) * 1e6 or None
        self._database.put_pace(key, record.cost.seconds_per_frame / max(steps, 1), memory)

    def _time(self, station: "_Station", key: str, job: RenderJob) -> None:
        if self._database.pace(key) is not None:
            return
        job = replace(job, recipe=replace(job.recipe, device=station.device))
        try:
            found = station.worker.estimate(job, RunFolder(self._runs / "estimate"))
        except GenRenderError:
            return  # a run of it will say why
        frame_s = found["seconds"] / (found["n_frames"] * found["n_steps"])
        self._database.put_pace(key, frame_s, found["memory_bytes"])


class _Station:
    """A device with its worker, and what it is at."""

    def __init__(self, device: str | None) -> None:
        self.device = device
        self.worker = Worker()
        self.run: str | None = None
        self.is_cancelled = False
        self.is_idle = threading.Event()
