"""Another program that tells by lines of JSON what it does; nothing here waits for it."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# What a program that was asked to end gets before it is ended by force.
PATIENCE_S = 5.0


class Process:
    """A program under way.

    Args:
        command: program and arguments.
        environment: its variables.
        log: where everything else goes that it says; written on at the end.
        understand: what a line that is no event tells, if anything; the line goes into the log, too.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        understand: Callable[[str], dict[str, Any] | None] = lambda _line: None,
    ) -> None:
        self._understand = understand
        self._log = log.open("a", encoding="utf-8", errors="replace")
        self._log.write("\n" + " ".join(command) + "\n")
        self._log.flush()
        try:
            self._popen = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                encoding="utf-8",
                errors="replace",
                # No console window beside Blender's.
                creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
            )
        except OSError:
            self._log.close()
            raise
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Runs beside Blender and touches nothing of it: lines go into a queue."""
        assert self._popen.stdout is not None
        with self._popen.stdout as lines, self._log as log:
            for line in lines:
                event = None
                if line.startswith("{"):
                    with contextlib.suppress(ValueError):  # no line of ours; it goes into the log
                        event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    self._events.put(event)
                else:
                    log.write(line)
                    if told := self._understand(line):
                        self._events.put(told)

    def events(self) -> list[dict[str, Any]]:
        """What was told since the last call."""
        told = []
        while not self._events.empty():
            told.append(self._events.get())
        return told

    def code(self) -> int | None:
        """The exit code, once the program has ended and all that it told was read."""
        if self._popen.poll() is None or self._reader.is_alive():
            return None
        return self._popen.returncode

    def end(self) -> None:
        """Ends the program, by force where it does not listen."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        self._reader.join(PATIENCE_S)
