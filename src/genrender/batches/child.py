"""A command of this program in a process of its own, which tells what it is at."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from genrender.errors import ConfigError
from genrender.jobs.worker import WorkerLost, end_soon
from genrender.runs.hooks import Cancelled

_SAID_BY = "genrender: "
_ERROR = "error: "
MISTAKE = 2


class Child:
    """Makes one command after the other.

    A Ctrl-C in the terminal does not reach its processes: whoever asks ends them by `interrupt`. When this
    process is killed they end at the next line that they have to say.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._is_interrupted = False

    def run(self, words: Sequence[str], tell: Callable[[str], None]) -> None:
        """Runs a command to its end.

        Args:
            words: after `genrender`.
            tell: is told every line that it prints.

        Raises:
            Cancelled: `interrupt` was called.
            ConfigError: it says what is wrong; the same words would end the same way.
            WorkerLost: it ended in another way, so that another attempt may succeed.
        """
        self._is_interrupted = False
        error = None
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "genrender", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
            process_group=0,
        ) as process:
            self._process = process
            assert process.stdout is not None
            for line in process.stdout:
                said = line.rstrip("\n").removeprefix(_SAID_BY)
                tell(said)
                if said.startswith(_ERROR):
                    error = said.removeprefix(_ERROR)
        self._process = None
        if process.returncode == 0:
            return
        if self._is_interrupted:
            raise Cancelled("cancelled")
        if process.returncode == MISTAKE and error is not None:
            raise ConfigError(error)
        raise WorkerLost(f"its process has ended with code {process.returncode}; its log tells more")

    def interrupt(self) -> None:
        """Has the command that is being run in another thread stop now."""
        process = self._process
        if process is not None:
            self._is_interrupted = True
            end_soon(process)
