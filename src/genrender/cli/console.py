"""What people see while something is going on: notes, warnings and progress, all of it on stderr."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from genrender.runs.hooks import RunHooks
from genrender.storage.limits import duration_as_text
from genrender.storage.memory import peak_memory_mb
from genrender.storage.untrusted import json_text, shown

# How far back rich looks for the speed of work. Its own 30 seconds are too few: a step may take longer, and
# then no time left is shown at all.
SPEED_PERIOD_S = 3600
# How often a line is written where there is no terminal, such as in a log file.
LINE_EVERY_S = 30.0


def say(text: str) -> None:
    """One line of a result."""
    print(shown(text))


def say_json(value: Any) -> None:
    """A result for programs, and nothing else."""
    print(json_text(value))


def note(text: str) -> None:
    print(f"genrender: {shown(text)}", file=sys.stderr)


def warn(text: str) -> None:
    note(f"warning: {text}")


def tell_error(text: str) -> None:
    note(f"error: {text}")


def hooks(progress: "Bars | None" = None) -> RunHooks:
    """What work tells, for people to read."""
    return RunHooks(note, warn) if progress is None else RunHooks(note, warn, progress)


def cell(value: object, style: str = "") -> Text:
    """What a file or a user says, for a table: no markup, and nothing that steers the terminal."""
    return Text(shown(value), style)


def stdout_console() -> Console:
    """For tables on stdout: as wide as the terminal; in a file or a pipe as wide as what they hold.

    What a table's cells hold is text and no markup, and is never cut: it goes on in the next line.
    """
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000
    return Console(width=width, markup=False, highlight=False)


def table(title: str, columns: Mapping[str, Literal["left", "right"]]) -> Table:
    """An empty table.

    Args:
        title: above it.
        columns: on which side each column's text stands, by its heading.
    """
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, side in columns.items():
        made.add_column(name, justify=side, overflow="fold")
    return made


class Bars:
    """One progress bar with time left and peak memory for every kind of work that reports to it.

    Where stderr is no terminal, a line every half minute says how far the work is, however long its steps
    take, and another when each of them is done.
    """

    def __init__(
        self, console: Console | None = None, line_every_s: float = LINE_EVERY_S, shows_memory: bool = True
    ) -> None:
        """Makes bars that appear with the first report.

        Args:
            console: where they are drawn; None: stderr.
            line_every_s: seconds from line to line.
            shows_memory: say this process's peak; another one's is not known.
        """
        self._shows_memory = shows_memory
        self._is_shown = False
        console = console or Console(stderr=True)
        self._is_terminal = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[memory]}"),
            console=console,
            speed_estimate_period=SPEED_PERIOD_S,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: dict[str, tuple[float, int]] = {}
        self._now: tuple[str, int, int] | None = None
        self._line_every_s = line_every_s
        self._is_over = threading.Event()
        self._writer = threading.Thread(target=self._write_lines, daemon=True)

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._is_shown and self._is_terminal:
            self._progress.stop()
        elif self._is_shown:
            self._writer.join()

    def _show(self) -> None:
        """Not before there is something to show: libraries draw bars of their own while they download."""
        self._is_shown = True
        if self._is_terminal:
            self._progress.start()
        else:
            self._writer.start()

    def __call__(self, work: str, done: int, total: int) -> None:
        """Reports that `done` of `total` parts of `work` are done."""
        if not self._is_shown:
            self._show()
        if work in self._tasks and done == 0:  # the same work for another run
            self._progress.remove_task(self._tasks.pop(work))
        if work not in self._tasks:
            self._tasks[work] = self._progress.add_task(work, total=total, memory="")
            self._begun[work] = (time.monotonic(), done)
        self._progress.update(self._tasks[work], completed=done, total=total, memory=self._memory())
        self._now = (work, done, total) if done < total else None
        if done == total and not self._is_terminal:
            note(f"{work}: {total} done in {time.monotonic() - self._begun[work][0]:.1f} s")

    def _write_lines(self) -> None:
        while not self._is_over.wait(self._line_every_s):
            if (now := self._now) is not None:
                note(self._line(*now))

    def _line(self, work: str, done: int, total: int) -> str:
        """How far the work is: what was done before a run went on tells nothing of its speed."""
        begun_s, done_before = self._begun[work]
        said = [f"{work}: {done} of {total}"]
        if done > done_before:
            left_s = (time.monotonic() - begun_s) / (done - done_before) * (total - done)
            said.append(f"about {duration_as_text(left_s)} left")
        if memory := self._memory():
            said.append(memory)
        return ", ".join(said)

    def _memory(self) -> str:
        peak_mb = peak_memory_mb() if self._shows_memory else None
        return "" if peak_mb is None else f"peak {peak_mb:.0f} MB"
