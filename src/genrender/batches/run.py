"""Jobs made one after the other on every device, whatever becomes of the single ones."""

import datetime
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from genrender.batches.child import Child
from genrender.batches.lines import Task
from genrender.batches.state import JobState, Work, new_state, read_summary, write_summary
from genrender.distributed.process import LocalProcess
from genrender.errors import GenRenderError
from genrender.jobs.worker import Worker, WorkerLost, WorkPlace
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.storage.atomic import check_can_hold_files
from genrender.storage.folder_lock import folder_lock

# How long workers may take to end when nobody wants their runs any more.
PATIENCE_S = 15.0
# How often whoever watches is called.
WATCH_EVERY_S = 0.2


@dataclass(frozen=True)
class BatchConfig:
    """How a batch is made.

    Attributes:
        file: of the jobs.
        folder: holds runs, logs and the summary.
        devices: one worker for each; None is what this machine takes by itself.
        retries: how often a job is begun again whose process has ended before it was done.
        debug: logs say where errors come from.
    """

    file: Path
    folder: Path
    devices: tuple[str | None, ...] = (None,)
    retries: int = 1
    debug: bool = False


class Batch:
    """Makes jobs.

    Args:
        tasks: as `read_tasks` finds them.

    Attributes:
        jobs: where each of them is, in the order of the file.
        at: what those that are running are at, by name.
        stations: what makes them, one for each device.

    Raises:
        MediaError: the folder cannot be used.
    """

    def __init__(self, config: BatchConfig, tasks: Sequence[Task]) -> None:
        check_can_hold_files(config.folder)
        self._config = config
        self._logs = config.folder / "logs"
        earlier = read_summary(config.folder)
        self._tasks = {task.name: task for task in tasks}
        self.jobs = [new_state(task, self._logs / f"{task.name}.log", earlier) for task in tasks]
        self.at: dict[str, Work] = {}
        # Those that wait; what is tried again comes last.
        self._turn = [job for job in self.jobs if job.state == "waiting"]
        self._news = threading.Condition()
        self._is_over = False
        self.stations = [Station(self, device, config) for device in config.devices]

    def run(self, watch: Callable[[], None]) -> None:
        """Makes every job that waits.

        Args:
            watch: called several times a second, in this thread.

        Raises:
            KeyboardInterrupt: as this thread is interrupted, after all that goes on has been stopped.
            MediaError: another process makes this batch, or its folder cannot be written.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        with folder_lock(self._config.folder):
            self._write()
            for station in self.stations:
                station.thread.start()
            try:
                while any(station.thread.is_alive() for station in self.stations):
                    with self._news:
                        self._news.wait(WATCH_EVERY_S)
                    watch()
            finally:
                self._is_over = True
                for station in self.stations:
                    station.interrupt()
                for station in self.stations:
                    station.thread.join(PATIENCE_S)
                self._write()
                watch()

    def take(self, last: Task | None) -> tuple[Task, JobState] | None:
        """The next job: one whose networks are in memory already, else the one that waits longest."""
        with self._news:
            if self._is_over or not self._turn:
                return None
            job = next((job for job in self._turn if _is_alike(self._tasks[job.job], last)), self._turn[0])
            self._turn.remove(job)
            job.state, job.error = "running", None
            job.attempts += 1
            self.at[job.job] = Work()
            return self._tasks[job.job], job

    def ended(self, job: JobState, error: GenRenderError | None) -> None:
        """Writes down how an attempt has ended."""
        with self._news:
            self.at.pop(job.job)
            job.error = None if error is None else " ".join(str(error).splitlines())
            job.state = "done" if error is None else "failed"
            if isinstance(error, Cancelled) or (isinstance(error, WorkerLost) and self._is_over):
                job.state, job.error = "stopped", None
            elif isinstance(error, WorkerLost) and job.attempts <= self._config.retries:
                job.state = "waiting"
                self._turn.append(job)
            self._write()
            self._news.notify_all()

    def _write(self) -> None:
        write_summary(self._config.folder, self._config.file, self.jobs)


def _is_alike(task: Task, last: Task | None) -> bool:
    if task.job is None or last is None or last.job is None:
        return False
    return task.job.recipe == last.job.recipe


class Station:
    """A device with what makes jobs there, in a thread of its own."""

    def __init__(self, batch: Batch, device: str | None, config: BatchConfig) -> None:
        self._batch = batch
        self._device = device
        self._config = config
        self.worker = Worker(config.debug, partial(LocalProcess, apart=True))
        self.child = Child()
        self._is_cancelled = False
        self.thread = threading.Thread(target=self._work, daemon=True)

    def interrupt(self) -> None:
        """Stops what is being made."""
        self._is_cancelled = True
        self.worker.interrupt()
        self.child.interrupt()

    def _work(self) -> None:
        last = None
        with self.worker:
            while (taken := self._batch.take(last)) is not None:
                task, job = taken
                begun_s, error = time.monotonic(), None
                log, job.device = Log(Path(job.log)), self._device
                log.write(f"attempt {job.attempts}: {shlex.join(job.command)}")
                try:
                    self._make(task, job, log)
                except GenRenderError as reason:
                    error = reason
                except Exception as fault:  # the others that wait shall be made
                    log.write(traceback.format_exc())
                    error = GenRenderError(f"{type(fault).__name__} in the batch's own process")
                job.seconds += time.monotonic() - begun_s
                log.write("done" if error is None else f"ended: {error}")
                self._batch.ended(job, error)
                last = task

    def _make(self, task: Task, job: JobState, log: "Log") -> None:
        if self._is_cancelled:
            raise Cancelled("cancelled")
        at = self._batch.at[job.job]

        def progress(what: str, done: int, total: int) -> None:
            if what != at.what or done == total:
                log.write(f"{what}: {done} of {total}")
            at.what, at.done, at.total = what, done, total

        if task.job is not None:
            hooks = RunHooks(
                log.write, lambda text: log.write(f"warning: {text}"), progress, lambda: self._is_cancelled
            )
            self.worker.make(task.job, RunFolder(task.folder), hooks, WorkPlace(self._device, log.file))
            return

        def told(line: str) -> None:
            log.write(line)
            at.what, at.done, at.total = line, 0, 0

        device = [] if self._device is None else [f"--device={self._device}"]
        debug = ["--debug"] if self._config.debug else []
        self.child.run([*task.words, *device, *debug], told)


class Log:
    """What is told of a job, with times, at the end of a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, text: str) -> None:
        """Adds lines."""
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        with self.file.open("a", encoding="utf-8") as log:
            log.write("".join(f"{now}  {line}\n" for line in text.splitlines()))
