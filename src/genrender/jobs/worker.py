"""A process that makes one job after the other and keeps the model in memory between them.

    python -m genrender.jobs.worker

reads jobs as JSON, one from each line of stdin, and answers with lines of JSON: what `RunHooks` are told, and
at the end of each job whether it is done. Runs have a process apart from whoever measures them, so that their
peak memory is their own.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any

from genrender.errors import ConfigError, GenRenderError
from genrender.jobs.job import RenderJob, job_from_json, job_to_json
from genrender.jobs.plan import plan
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.storage.memory import reset_peak_memory


class Worker:
    """Makes runs in a process apart, as a context.

    Example:
        >>> with Worker() as worker:
        ...     worker.make(RenderJob(ClipJob(Path("fox.glb")), "a fox"), RunFolder("runs/fox"))
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Lets the process go."""
        if self._process is not None:
            with suppress(BrokenPipeError), self._process:
                pass  # closes the pipes, which ends it, and waits
            self._process = None

    def make(self, job: RenderJob, folder: RunFolder, hooks: RunHooks = SILENT) -> None:
        """Makes a job's run in a folder.

        Raises:
            Cancelled: the hooks say so. The run keeps the steps that it has done.
            ConfigError: the run fails, or its process is gone, killed for its memory for instance.
        """
        if self._process is None:
            # What libraries warn of is about their insides.
            child = [sys.executable, "-W", "ignore", "-m", "genrender.jobs.worker"]
            self._process = subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"job": job_to_json(job), "folder": str(folder.path)}) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            kind, *told = json.loads(line)
            if kind == "done":
                return
            if kind == "error":
                raise ConfigError(told[0])
            getattr(hooks, kind)(*told)
            if hooks.is_cancelled():
                process.terminate()
                self._end()
                hooks.check()
        self._end()
        raise ConfigError("its process has ended before the run was done")


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
    # Whoever started this process has been interrupted as well, and may be gone.
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for line in sys.stdin:
            reset_peak_memory()
            asked = json.loads(line)
            try:
                planned = plan(job_from_json(asked["job"]), RunFolder(asked["folder"]), hooks)
                from genrender.jobs.make import make

                make(planned, hooks)
                tell("done")
            except GenRenderError as error:
                tell("error", str(error))


if __name__ == "__main__":
    serve()
