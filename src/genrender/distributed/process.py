"""A process that is asked by lines and answers with lines, wherever it runs."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable


@runtime_checkable
class Process(Protocol):
    """What runs elsewhere. Whoever it works for may go at any moment: it then ends by itself."""

    def ask(self, line: str) -> None:
        """Gives it a line to answer. Where it has ended, nothing happens: its answers tell."""
        ...

    def answers(self) -> Iterator[str]:
        """The lines that it writes, until it ends."""
        ...

    def terminate(self) -> None:
        """Asks it to tidy up and end."""
        ...

    def kill(self) -> None:
        """Ends it now."""
        ...

    def close(self) -> None:
        """Has nothing more to ask; waits until it has ended."""
        ...


# Starts a process that runs Python with these arguments.
Start = Callable[[Sequence[str]], Process]


class LocalProcess:
    """A process of this machine.

    Args:
        arguments: of Python.
        environment: variables that it has; None: those of this process.
        apart: a Ctrl-C in the terminal does not reach it; whoever asks ends it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        apart: bool = False,
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=None if environment is None else dict(environment),
            process_group=0 if apart else None,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answers(self) -> Iterator[str]:
        assert self._process.stdout is not None
        # Not `yield from` the file, which would be closed with this generator.
        while line := self._process.stdout.readline():
            yield line

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        # Closes the pipes, which ends it, and waits.
        with suppress(BrokenPipeError), self._process:
            pass
