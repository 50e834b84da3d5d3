"""A process that makes one job after the other and keeps the model in memory between them.

    python -m genrender.jobs.worker

reads jobs as JSON, one from each line of stdin, and answers with lines of JSON: what `RunHooks` are told, and
at the end of each job whether it is done. Runs have a process apart from whoever measures them, so that their
peak memory is their own. It ends at once when whoever asked is killed.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from subprocess import Popen
from types import FrameType, TracebackType
from typing import Any

from genrender.distributed.process import LocalProcess, Process, Start
from genrender.errors import ConfigError, GenRenderError
from genrender.jobs.also import read_kinds, read_seeds
from genrender.jobs.job import RenderJob, job_from_json, job_to_json
from genrender.jobs.once import make_once
from genrender.jobs.plan import plan
from genrender.jobs.resume import resume
from genrender.jobs.words import job_words
from genrender.media.images import write_png
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, Cancelled, RunHooks
from genrender.storage.child import requests
from genrender.storage.memory import reset_peak_memory
from genrender.storage.run_files import SEEDS_FILE

# How long a process may take to tidy up when it is not wanted any more.
PATIENCE_S = 10.0
# What libraries warn of is about their insides.
_ARGUMENTS = ("-P", "-W", "ignore", "-m", "genrender.jobs.worker")


class WorkerLost(ConfigError):
    """The process that made a run has ended before it was done: another attempt may succeed."""


def end_soon(process: Process | Popen[str]) -> threading.Timer:
    """Asks a process to tidy up and end, and ends it after `PATIENCE_S` unless the timer is cancelled."""
    process.terminate()
    impatience = threading.Timer(PATIENCE_S, process.kill)
    impatience.daemon = True
    impatience.start()
    return impatience


@dataclass(frozen=True)
class WorkPlace:
    """Where a run is made, which its words do not tell.

    Attributes:
        device: instead of the job's.
        log: where stderr goes meanwhile, at the end of the file; None: to that of this process.
    """

    device: str | None = None
    log: Path | None = None


class Worker:
    """Makes runs in a process apart, as a context.

    Args:
        debug: show on stderr where an error of a run comes from.
        start: starts the process, on this machine or on another one.

    Example:
        >>> with Worker() as worker:
        ...     worker.make(RenderJob(ClipJob(Path("fox.glb")), "a fox"), RunFolder("runs/fox"))
    """

    def __init__(self, debug: bool = False, start: Start = LocalProcess) -> None:
        self._debug = debug
        self._start = start
        self._process: Process | None = None
        self._is_interrupted = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Lets the process go."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _stop(self, hooks: RunHooks) -> None:
        """Interrupts the process, so that it tidies up, and passes on what it still has to say."""
        process = self._process
        if process is None:
            return
        impatience = end_soon(process)
        try:
            for line in process.answers():
                kind, *told = json.loads(line)
                if kind in ("note", "warn"):
                    getattr(hooks, kind)(*told)
        finally:
            self._end()
            impatience.cancel()

    def make(
        self,
        job: RenderJob,
        folder: RunFolder,
        hooks: RunHooks = SILENT,
        place: WorkPlace = WorkPlace(),
    ) -> None:
        """Makes a job's run in a folder, as `genrender.jobs.once.make_once` does.

        Raises:
            Cancelled: the hooks say so, or `interrupt` was called. The run keeps the steps that it has done.
            ConfigError: the run fails.
            WorkerLost: its process is gone, killed for its memory for instance.
        """
        where = {"device": place.device, "stderr": None if place.log is None else str(place.log)}
        self._ask({"job": job_to_json(job), "folder": str(folder.path), **where}, hooks)

    def resume(self, folder: Path, hooks: RunHooks = SILENT) -> None:
        """Carries on with an unfinished run of which the job is kept; raises what `make` does."""
        self._ask({"job": None, "folder": str(folder)}, hooks)

    def finish(
        self,
        folder: Path,
        also: str | None,
        upscale: str | None,
        device: str | None,
        hooks: RunHooks = SILENT,
    ) -> None:
        """Adds files to a finished run; raises what `make` does. What is made stays when it stops.

        Args:
            also: as `RenderJob.also`.
            upscale: as `RenderJob.upscale`.
            device: where it computes; None: as a model does.
        """
        wish = {"also": also, "upscale": upscale, "device": device}
        self._ask({"folder": str(folder), "finish": wish}, hooks)

    def seeds(self, job: RenderJob, folder: RunFolder, seeds: str, hooks: RunHooks = SILENT) -> None:
        """Makes a sheet of several seeds, `seeds.png` in the folder, and no run; raises what `make` does."""
        self._ask({"job": job_to_json(job), "folder": str(folder.path), "seeds": seeds}, hooks)

    def estimate(self, job: RenderJob, folder: RunFolder, hooks: RunHooks = SILENT) -> dict[str, Any]:
        """What is ahead of a job: `genrender.jobs.pace.Estimate` with its `seconds`; raises what `make` does.

        The networks stay in memory for the runs that come.
        """
        found = self._ask({"job": job_to_json(job), "folder": str(folder.path), "estimate": True}, hooks)
        assert isinstance(found, dict)
        return found

    def interrupt(self) -> None:
        """Has the run that is being made in another thread stop now, as Ctrl-C would."""
        process = self._process
        if process is not None:
            self._is_interrupted = True
            end_soon(process)

    def _ask(self, asked: Mapping[str, Any], hooks: RunHooks) -> Any:
        """What the process answers at the end."""
        self._is_interrupted = False
        if self._process is None:
            self._process = self._start(_ARGUMENTS)
        try:
            is_done, answer = self._answer_of(self._process, {**asked, "debug": self._debug}, hooks)
        except WorkerLost:
            self._end()
            if self._is_interrupted:
                raise Cancelled("cancelled") from None
            raise
        except BaseException:
            # Cancelled, or interrupted, or the hooks fail: nobody waits for the run any more.
            self._stop(hooks)
            raise
        if is_done:
            return answer
        raise Cancelled("cancelled") if self._is_interrupted else ConfigError(answer)

    def _answer_of(self, process: Process, asked: Mapping[str, Any], hooks: RunHooks) -> tuple[bool, Any]:
        """Whether it is done, and what has come of it; else why it has failed."""
        process.ask(json.dumps(asked))
        for line in process.answers():
            kind, *told = json.loads(line)
            if kind in ("done", "error"):
                return kind == "done", told[0]
            getattr(hooks, kind)(*told)
            if hooks.is_cancelled():
                raise Cancelled("cancelled")
        raise WorkerLost(
            "its process has ended before the run was done, perhaps for want of memory: resume it, or take a "
            "smaller size or fewer keyframes"
        )


def serve() -> None:
    """Answers until stdin ends."""
    answers = os.dup(sys.stdout.fileno())
    # What libraries print is not for whoever waits for the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def tell(*told: Any) -> None:
        os.write(answers, (json.dumps(told) + "\n").encode())

    hooks = RunHooks(
        note=lambda text: tell("note", text),
        warn=lambda text: tell("warn", text),
        progress=lambda *done: tell("progress", *done),
    )
    _let_be_interrupted()
    # Whoever started this process has been interrupted as well, and may be gone.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for line in requests():
            reset_peak_memory()
            asked = json.loads(line)
            if asked.get("stderr") is not None:
                _send_stderr(asked["stderr"])
            try:
                tell("done", _answer(asked, hooks))
            except GenRenderError as error:
                if asked["debug"]:
                    traceback.print_exc()
                tell("error", str(error))
        # Nothing is left to tidy up, and libraries close for a while.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _answer(asked: Mapping[str, Any], hooks: RunHooks) -> dict[str, Any] | None:
    if (wish := asked.get("finish")) is not None:
        from genrender.jobs.finish import finish
        from genrender.jobs.upscale import Upscaler

        upscaler = None if wish["upscale"] is None else Upscaler.load(wish["upscale"], wish["device"])
        finish(Path(asked["folder"]), read_kinds(wish["also"]), upscaler, hooks)
        return None
    if asked["job"] is None:
        resume(Path(asked["folder"]), hooks)
        return None
    job, folder = job_from_json(asked["job"]), RunFolder(asked["folder"])
    if (seeds := asked.get("seeds")) is not None:
        from genrender.jobs.seeds import seed_sheet

        sheet = seed_sheet(plan(job, folder, hooks), read_seeds(seeds), hooks)
        folder.path.mkdir(parents=True, exist_ok=True)
        write_png(folder.path / SEEDS_FILE, sheet)
        return None
    if not asked.get("estimate"):
        words = ["genrender", *job_words(job, folder.path)]
        if asked.get("device") is not None:
            job = replace(job, recipe=replace(job.recipe, device=asked["device"]))
        make_once(job, folder, hooks, words)
        return None
    planned = plan(job, folder, hooks)
    # Only here: PyTorch takes seconds to import, and most that is wrong with a job is found before.
    from genrender.jobs.make import estimate

    ahead = estimate(planned, hooks)
    return {**asdict(ahead), "seconds": ahead.seconds}


def _send_stderr(file: str) -> None:
    """To the end of a file, whoever writes to it in this process."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, sys.stderr.fileno())
    os.close(handle)


def _let_be_interrupted() -> None:
    """Has this process tidy up and end when it is interrupted or terminated, the first time that it is.

    Ctrl-C reaches it as well as whoever started it and then terminates it: that must not disturb the tidying.
    """
    # In the background a shell has programs ignore interrupts; that stays so.
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    is_interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_interrupted
        if not is_interrupted:
            is_interrupted = True
            raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)


if __name__ == "__main__":
    serve()
