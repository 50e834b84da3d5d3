"""`genrender batch`: many jobs of a file."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from genrender.batches.lines import read_tasks
from genrender.batches.run import Batch, BatchConfig
from genrender.batches.state import SUMMARY_FILE, TABLE_FILE, JobState, Work, counts_as_text
from genrender.cli.console import Bars, cell, hooks, note, say, tell_error, warn
from genrender.cli.serve import token_of
from genrender.errors import ConfigError
from genrender.options.commands import Batch as Options
from genrender.server.client import Client
from genrender.storage.limits import duration_as_text

# Of a file with many mistakes so many are told.
SHOWN_MISTAKES = 20
BAR_WIDTH = 24
# Where there is no terminal, seconds from line to line.
LINE_EVERY_S = 30.0


def batch(options: Options) -> int:
    """Checks all lines, then makes all jobs.

    Returns:
        0: all are done; 1: some have failed.

    Raises:
        ConfigError: a line cannot be used.
        MediaError: the file cannot be read, or the folder cannot be used.
    """
    if options.retries < 0:
        raise ConfigError(f"--retries is {options.retries}, expected 0 or more")
    if options.server is not None:
        return _by_server(options, options.server)
    if options.name is not None:
        raise ConfigError("--name is what a server calls the batch: give --server, too, or leave it out")
    folder = options.run_dir or Path("runs") / f"batch-{options.jobs.stem}"
    with Bars(shows_memory=False) as bars:
        read = read_tasks(options.jobs, folder, hooks(bars))
    for text, lines in read.warnings.items():
        warn(f"{_lines(lines)}: {text}")
    tell_of_mistakes(options.jobs, read.mistakes, len(read.tasks) + len(read.mistakes))
    config = BatchConfig(options.jobs, folder, options.device or (None,), options.retries, options.debug)
    made = Batch(config, read.tasks)
    n_there = sum(job.was_there for job in made.jobs)
    note(f"{len(made.jobs)} jobs, of which {n_there} are done already")
    if options.check:
        return 0
    with _Display(made) as display:
        made.run(display.update)
    return _result(made.jobs, folder)


def _by_server(options: Options, address: str) -> int:
    """The same in a server's queue."""
    from genrender.cli.batch_server import ServerBatch

    given = {"--run-dir": options.run_dir, "--device": options.device}
    for name, value in given.items():
        if value:
            raise ConfigError(
                f"{name} is for jobs on this machine, and --server has another make them; leave one out"
            )
    client = Client(address, token_of(options.token))
    made = ServerBatch(client, options.jobs, options.name or options.jobs.stem)
    tell_of_mistakes(options.jobs, sorted(made.mistakes), len(made.jobs) + len(made.mistakes))
    note(f"{len(made.jobs)} jobs, of which {sum(job.was_there for job in made.jobs)} are done already")
    if options.check:
        return 0
    try:
        with _Display(made) as display:
            made.run(display.update)
    except KeyboardInterrupt:
        note("the server goes on with what was sent; the same command follows it again")
        raise
    failed = _tell_failed(made.jobs)
    say(f"jobs  {counts_as_text(made.jobs)}")
    say(f"page  {address.rstrip('/')}/#gallery")
    return 1 if failed else 0


def tell_of_mistakes(file: Path, mistakes: Sequence[tuple[int, str]], n_lines: int) -> None:
    """Tells what is wrong with lines.

    Raises:
        ConfigError: something is.
    """
    for line, text in mistakes[:SHOWN_MISTAKES]:
        tell_error(f"{file}, line {line}: {text}")
    if mistakes:
        more = len(mistakes) - SHOWN_MISTAKES
        raise ConfigError(
            f"{len(mistakes)} of {n_lines} lines of {file} cannot be used"
            f"{f' ({more} are not told here)' if more > 0 else ''}: nothing was begun; mend them"
        )


def _lines(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"lines {', '.join(map(str, numbers[:5]))}{more}"


def _result(jobs: Sequence[JobState], folder: Path) -> int:
    failed = _tell_failed(jobs)
    say(f"jobs     {counts_as_text(jobs)}")
    say(f"runs     {folder / 'runs'}")
    say(f"summary  {folder / TABLE_FILE}, {folder / SUMMARY_FILE}")
    return 1 if failed else 0


def _tell_failed(jobs: Sequence[JobState]) -> bool:
    """Whether jobs have failed or were stopped by somebody else, and why."""
    failed = [job for job in jobs if job.state in ("failed", "stopped")]
    for job in failed[:SHOWN_MISTAKES]:
        tell_error(f"line {job.line}, {job.job}: {job.error or job.state}; see {job.log}")
    return bool(failed)


@runtime_checkable
class _Watched(Protocol):
    """Jobs that are made, here or by a server."""

    jobs: list[JobState]
    at: dict[str, Work]


class _Display:
    """What people see while a batch goes on: a table that is drawn anew; without a terminal, lines."""

    def __init__(self, made: _Watched) -> None:
        self._batch = made
        self._console = Console(stderr=True, markup=False, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._begun_s = self._line_s = time.monotonic()
        self._known = {job.job: (job.state, job.attempts) for job in made.jobs}
        self._n_before = sum(job.state == "done" for job in made.jobs)

    def __enter__(self) -> "_Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self) -> None:
        """Shows where all jobs are now."""
        for job in self._batch.jobs:
            if self._known[job.job] != (now := (job.state, job.attempts)):
                self._known[job.job] = now
                if job.state != "running":
                    self._tell(job)
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._line_s > LINE_EVERY_S:
            self._line_s = time.monotonic()
            at = [f"{name} ({_work_text(self._batch, name)})" for name in list(self._batch.at)]
            note(", ".join([self._head(), *at]))

    def _tell(self, job: JobState) -> None:
        """A line about what has just ended."""
        place = (
            f"[{sum(one.state in ('done', 'failed') for one in self._batch.jobs)}/{len(self._batch.jobs)}]"
        )
        if job.state == "waiting":
            text = f"{place} {job.job} is tried again: {job.error}"
        elif job.state == "done":
            text = f"{place} {job.job} done in {duration_as_text(job.seconds)}"
        else:
            text = f"{place} {job.job} {job.state}{f': {job.error}' if job.error else ''}"
        if self._console.is_terminal:
            self._console.print(cell(text, "red" if job.state == "failed" else ""))
        else:
            note(text)

    def _head(self) -> str:
        jobs = self._batch.jobs
        n_made = sum(job.state == "done" for job in jobs) - self._n_before
        n_left = sum(job.state in ("waiting", "running") for job in jobs)
        said = counts_as_text(jobs)
        if n_made and n_left:
            left_s = (time.monotonic() - self._begun_s) / n_made * n_left
            said += f", about {duration_as_text(left_s)} left"
        return said

    def _table(self) -> RenderableType:
        rows = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(4):
            rows.add_column(overflow="ellipsis", no_wrap=True)
        for job in self._batch.jobs:
            at = self._batch.at.get(job.job)
            if at is None:
                continue
            share = ProgressBar(max(at.total, 1), at.done, BAR_WIDTH) if at.total else ""
            again = f"attempt {job.attempts}" if job.attempts > 1 else ""
            rows.add_row(cell(job.job), share, cell(_work_text(self._batch, job.job)), again)
        bar = ProgressBar(len(self._batch.jobs), sum(job.state == "done" for job in self._batch.jobs), 60)
        return Group(rows, bar, cell(self._head()))


def _work_text(made: _Watched, name: str) -> str:
    at = made.at.get(name)
    if at is None or not at.what:
        return "begins"
    return f"{at.what}, {at.done} of {at.total}" if at.total else at.what
