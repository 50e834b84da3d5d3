"""How far a batch is: every job's state, as it is shown meanwhile and written down."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict

from genrender.batches.lines import Task
from genrender.errors import MediaError
from genrender.storage.atomic import atomic_write
from genrender.storage.json_kinds import from_json, misfit
from genrender.storage.limits import duration_as_text
from genrender.storage.untrusted import json_text, read_json

State = Literal["waiting", "running", "done", "failed", "stopped"]
SUMMARY_FILE, TABLE_FILE = "summary.json", "summary.md"


@dataclass
class JobState:
    """Where a job is.

    Attributes:
        job: its name.
        line: in the file.
        state: waiting, running, done, failed, or stopped by whoever stopped the batch.
        attempts: how often it was begun since the batch was begun last.
        seconds: that its attempts took, of earlier calls too.
        error: why it failed.
        was_there: an earlier call had made it.
        device: where the last attempt was told to compute; None: where this machine does by itself.
        command: words of the command line that asks for the same.
        folder: where its runs are.
        log: what was told of it.
    """

    job: str
    line: int
    command: list[str]
    folder: str
    log: str
    state: State = "waiting"
    attempts: int = 0
    seconds: float = 0.0
    error: str | None = None
    was_there: bool = False
    device: str | None = None


@dataclass
class Work:
    """What a running job is at, by its own words."""

    what: str = ""
    done: int = 0
    total: int = 0


class _File(TypedDict):
    jobs: list[JobState]


def read_summary(folder: Path) -> dict[str, JobState]:
    """The jobs of an earlier call, by name; empty where there was none.

    Raises:
        MediaError: the file is no summary.
    """
    file = folder / SUMMARY_FILE
    expected = "the summary of a batch: remove it, finished runs are found without it"
    try:
        stored = read_json(file, MediaError, expected)
    except FileNotFoundError:
        return {}
    wrong = misfit(stored, _File, "")
    if wrong is not None:
        raise MediaError(f"{file}: {wrong}; expected {expected}")
    return {job.job: job for job in (from_json(JobState, one) for one in stored["jobs"])}


def new_state(task: Task, log: Path, earlier: Mapping[str, JobState]) -> JobState:
    """A job's state before a batch begins.

    A render is known by its run folder. Of a comparison or a study the folder does not tell whether its
    figures were written, so that the earlier summary has to say so, too.
    """
    made = JobState(task.name, task.line, ["genrender", *task.words], str(task.folder), str(log))
    before = earlier.get(task.name)
    if before is not None and before.command == made.command:
        made.seconds, made.device = before.seconds, before.device
    else:
        before = None
    if task.job is not None:
        is_done = task.is_there()
    else:
        is_done = before is not None and before.state == "done" and task.is_there(before.device)
    if is_done:
        made.state, made.was_there = "done", True
    return made


def counts(jobs: Sequence[JobState]) -> dict[State, int]:
    """How many are in which state, those that are in some."""
    order: tuple[State, ...] = ("done", "failed", "running", "waiting", "stopped")
    found: dict[State, int] = {state: sum(job.state == state for job in jobs) for state in order}
    return {state: n for state, n in found.items() if n}


def counts_as_text(jobs: Sequence[JobState]) -> str:
    """Such as `12 of 20 done, 1 failed, 2 running, 5 waiting`."""
    found = counts(jobs)
    others = [f"{n} {state}" for state, n in found.items() if state != "done"]
    return ", ".join([f"{found.get('done', 0)} of {len(jobs)} done", *others])


def write_summary(folder: Path, file: Path, jobs: Sequence[JobState]) -> None:
    """Writes `summary.json` and the same as a table, `summary.md`."""
    stored = {
        "file": str(file),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "counts": counts(jobs),
        "jobs": [asdict(job) for job in jobs],
    }
    with atomic_write(folder / SUMMARY_FILE) as part:
        part.write_text(json_text(stored) + "\n", encoding="utf-8")
    rows = ["| line | job | state | attempts | time | what |", "|---:|---|---|---:|---:|---|"]
    for job in jobs:
        took = duration_as_text(job.seconds) if job.seconds else ""
        what = (job.error or "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {job.line} | {job.job} | {job.state} | {job.attempts} | {took} | {what} |")
    text = f"# {file.name}\n\n{counts_as_text(jobs)}\n\n" + "\n".join(rows) + "\n"
    with atomic_write(folder / TABLE_FILE) as part:
        part.write_text(text, encoding="utf-8")
