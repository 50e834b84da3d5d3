"""A process that looks at files for another one, so that no file can harm or delay it.

    python -m genrender.storage.helper TASKS MEMORY_BYTES

answers requests, one from each line of stdin, by a function of the module TASKS: a line of JSON, and the
bytes that it announces. What is read there comes from outside: a file that needs too much time or memory
costs its request and the process, nothing else.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

from genrender import errors
from genrender.errors import GenRenderError, MediaError
from genrender.storage.child import requests
from genrender.storage.limits import bound_memory, bytes_as_text, duration_as_text
from genrender.storage.untrusted import json_text

try:
    import resource
except ImportError:  # on Windows, where memory has no bound
    resource = None

IDLE_S = 900.0
MODULE = "genrender.storage.helper"


class ReaderEndedError(MediaError):
    """A process that read a file has ended in the middle of it."""


def is_reader() -> bool:
    """Whether this process is one of those, and its end costs no more than its request."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == MODULE


class Helper:
    """One process that does one task at a time; it begins with the first, and ends when nobody asks.

    Args:
        tasks: the module whose functions answer.
        memory_bytes: that the process may take; None: no bound.

    Attributes:
        is_kept: it does not end when nobody asks: it holds what later calls need.
    """

    def __init__(self, tasks: str, memory_bytes: int | None = None) -> None:
        self._tasks = tasks
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._idle: threading.Timer | None = None
        self.is_kept = False

    def call(self, task: str, timeout_s: float, **arguments: Any) -> tuple[Any, bytes]:
        """What a function answers: plain values, and bytes such as those of a picture.

        Raises:
            GenRenderError: what the function raises.
            ReaderEndedError: it takes too long, or its process ends.
        """
        with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                return self._answer(task, timeout_s, arguments)
            finally:
                if not self.is_kept:
                    self.rest()

    def rest(self) -> None:
        """Its process ends if nobody asks for long."""
        self._idle = threading.Timer(IDLE_S, self._end_idle)
        self._idle.daemon = True
        self._idle.start()

    def _end_idle(self) -> None:
        with self._turn:
            self.end()

    def end(self) -> None:
        """Lets the process go; the next call has another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            process.wait()

    def _begun(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.end()
            words = (self._tasks, str(self._memory_bytes or 0))
            # -P: where the command was given, beside files from outside, no module is looked for.
            child = [sys.executable, "-P", "-W", "ignore", "-m", MODULE, *words]
            self._process = subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _answer(self, task: str, timeout_s: float, arguments: dict[str, Any]) -> tuple[Any, bytes]:
        process = self._begun()
        assert process.stdin is not None
        assert process.stdout is not None
        started_s = time.monotonic()
        impatience = threading.Timer(timeout_s, process.kill)
        impatience.daemon = True
        impatience.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps({"task": task, "arguments": arguments}).encode() + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
            data = b"" if answer is None else process.stdout.read(answer["n_bytes"])
        except BaseException:  # Ctrl-C: nobody waits for this answer, and the next one has another process
            self.end()
            raise
        finally:
            impatience.cancel()
        if answer is None or len(data) < answer["n_bytes"]:
            self.end()
            raise ReaderEndedError(self._why(time.monotonic() - started_s >= timeout_s, timeout_s))
        if answer["error"] is not None:
            kind, text = answer["error"]
            raise getattr(errors, kind, GenRenderError)(text)
        return answer["value"], data

    def _why(self, is_late: bool, timeout_s: float) -> str:
        if is_late:
            return (
                f"this took longer than {duration_as_text(timeout_s)} and was stopped: take a smaller scene, "
                "fewer frames or a smaller size"
            )
        bound = f" more than {bytes_as_text(self._memory_bytes)} of memory, or" if self._memory_bytes else ""
        return f"the process that read the file has ended: the file needs{bound} what a reader cannot take"


def serve(tasks: str, memory_bytes: int) -> None:
    """Answers until stdin ends."""
    answers = os.dup(sys.stdout.fileno())
    # What libraries print is not for whoever waits for the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # Ctrl-C is for the server, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            bound_memory(memory_bytes)
    module = importlib.import_module(tasks)
    for line in requests():
        asked = json.loads(line)
        value, data, error = None, b"", None
        try:
            value, data = getattr(module, asked["task"])(**asked["arguments"])
        except GenRenderError as known:
            error = (type(known).__name__, " ".join(str(known).splitlines()))
        except MemoryError:
            error = ("MediaError", "there is too little memory for this: take a smaller scene or size")
        except Exception as unknown:  # it is told here and there, and the next request may go well
            traceback.print_exc()
            error = (
                "MediaError",
                f"this cannot be read ({type(unknown).__name__}); the server's log tells more",
            )
        text = json_text({"value": value, "error": error, "n_bytes": len(data)}, indent=None)
        _write(answers, text.encode() + b"\n" + data)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    with suppress(BrokenPipeError):
        while rest:
            rest = rest[os.write(handle, rest) :]


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
