"""A file of jobs, one JSON object a line, read and checked before any of them begins.

    {"scene": "fox.glb", "prompt": "a red fox", "frames": 24, "seed": 3}
    {"job": "rivals", "command": "compare", "scene": "fox.glb", "prompt": "a red fox", "frames": 24}
    {"command": "study", "name": "alpha", "shots": ["fox.glb=a red fox"], "seeds": "0"}

Names and values are those of the command line, with underscores.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, GenRenderError, MediaError
from genrender.jobs.job import RenderJob
from genrender.jobs.once import is_complete
from genrender.jobs.plan import plan
from genrender.options.by_name import command_of
from genrender.options.commands import Compare, Render, Study
from genrender.options.job import render_job
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.scene.load import scene_label
from genrender.storage.untrusted import (
    MAX_JSON_BYTES,
    SHOWN_LENGTH,
    file_name,
    json_text,
    parse_json,
    read_bytes,
    shown,
)

MAX_JOB_NAME = 100
EXAMPLE = '{"scene": "fox.glb", "prompt": "a red fox"}'
# Each command with what stands before its options, in order.
COMMANDS: dict[str, tuple[type, tuple[str, ...]]] = {
    "render": (Render, ("scene",)),
    "compare": (Compare, ("scene",)),
    "study": (Study, ("name", "shots")),
}
# What is the batch's to say, and why.
OF_BATCH = {
    "run_dir": "every job has a folder of its own in that of the batch",
    "device": "give it to the batch",
    "progress": "the batch tells how far it is",
    "resume": "a batch always goes on where it was stopped",
    "debug": "give it to the batch",
    "json": "figures are in the runs' folders",
}


@dataclass(frozen=True)
class Task:
    """One line of the file.

    Attributes:
        name: of the job, its folder and its log.
        line: its number, from 1.
        command: render, compare or study.
        words: those of the command line that asks for the same, after `genrender`.
        folder: where its run, or its runs, go.
        job: of a render.
        runs: folders of all runs that it makes, with what each is asked for.
        results: files that it writes beside them.
    """

    name: str
    line: int
    command: str
    words: tuple[str, ...]
    folder: Path
    job: RenderJob | None
    runs: tuple[tuple[RenderJob, Path], ...] = field(repr=False)
    results: tuple[Path, ...] = ()

    def is_there(self, device: str | None = None) -> bool:
        """Whether everything that it makes is on the disk.

        Args:
            device: that a comparison or a study was told to compute on.
        """
        return all(
            is_complete(on_device(job, device), RunFolder(folder)) for job, folder in self.runs
        ) and all(file.exists() for file in self.results)


@dataclass(frozen=True)
class Read:
    """What a file asks for.

    Attributes:
        tasks: of all lines that can be used.
        mistakes: of the others: the line's number, and what is wrong.
        warnings: what may make results worse than they could be, with the lines that it is about.
    """

    tasks: tuple[Task, ...]
    mistakes: tuple[tuple[int, str], ...]
    warnings: Mapping[str, list[int]]


def read_lines(file: Path) -> list[tuple[int, Any]]:
    """What stands in a file of jobs: numbers of lines, and their objects or why they are none.

    Raises:
        MediaError: it cannot be read, or is empty.
    """
    expected = f"expected one JSON object a line, such as {EXAMPLE}"
    try:
        data = read_bytes(file, MediaError, MAX_JSON_BYTES, expected)
    except FileNotFoundError:
        raise MediaError(f"no file {file}: {expected}") from None
    except OSError as error:
        raise MediaError(f"cannot read {file}: {error.strerror or error}; {expected}") from error
    found: list[tuple[int, Any]] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip():
            try:
                found.append((number, parse_json(line)))
            except ValueError as error:
                found.append((number, ConfigError(str(error).replace("in line 1, column", "at column"))))
    if not found:
        raise MediaError(f"{file} is empty, {expected}")
    return found


def read_tasks(file: Path, folder: Path, hooks: RunHooks) -> Read:
    """The jobs of a file, each looked at as its command would before any slow work. Nothing is written.

    Args:
        folder: of the batch.
        hooks: told how many lines have been looked at.

    Raises:
        MediaError: the file cannot be read.
    """
    tasks: dict[str, Task] = {}
    outs: dict[tuple[Path, str], int] = {}
    mistakes: list[tuple[int, str]] = []
    warnings: dict[str, list[int]] = {}
    lines = read_lines(file)
    for done, (number, values) in enumerate(lines):
        hooks.report("jobs checked", done, len(lines))
        try:
            task = _task(values, number, folder, lambda text: warnings.setdefault(text, []).append(number))  # noqa: B023
            if (other := tasks.get(_folded(task.name))) is not None:
                raise ConfigError(_same_name(task, other))
            for out in task.results if task.job is None else filter(None, [task.job.out]):
                place = (out.resolve().parent, _folded(out.name))
                if (before := outs.setdefault(place, number)) != number:
                    raise ConfigError(f"it writes {out}, and so does line {before}; give another out")
            tasks[_folded(task.name)] = task
        except GenRenderError as error:
            mistakes.append((number, " ".join(str(error).splitlines())))
    hooks.report("jobs checked", len(lines), len(lines))
    return Read(tuple(tasks.values()), tuple(mistakes), warnings)


def _same_name(task: Task, other: Task) -> str:
    if task.words == other.words:
        return f"it asks for the same as line {other.line}; leave one of them out"
    if task.name != other.name:
        return (
            f"the job of line {other.line} is called {other.name!r}, which for Windows and macOS is the same "
            f"name as {task.name!r}; give each another name"
        )
    return f"the job of line {other.line} is called {task.name!r}, too; give each another name"


def _folded(name: str) -> str:
    """A file's name as systems compare it that know no case and one form of an accent."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def asked_values(values: Any) -> tuple[str | None, str, dict[str, Any]]:
    """A line's name for the job, its command, and its options by name.

    Raises:
        ConfigError: it is no object, or says what is the batch's to say.
    """
    if isinstance(values, ConfigError):
        raise values
    if not isinstance(values, dict):
        raise ConfigError(f"it is no JSON object, expected one such as {EXAMPLE}")
    named = {name.replace("-", "_"): value for name, value in values.items() if value is not None}
    name, command = named.pop("job", None), named.pop("command", "render")
    if command not in COMMANDS:
        raise ConfigError(f"command is {_short(command)}, expected {' or '.join(COMMANDS)}")
    if name is not None and (
        not isinstance(name, str) or file_name(name) != name or not 0 < len(name) <= MAX_JOB_NAME
    ):
        raise ConfigError(
            f"job is {_short(name)}, expected a name that can be a folder's: up to {MAX_JOB_NAME} letters, "
            "digits, hyphens, no blanks"
        )
    for option, why in OF_BATCH.items():
        if option in named:
            raise ConfigError(f"{option} cannot stand in a line: {why}")
    if command == "render" and "seeds" in named:
        raise ConfigError("seeds makes a sheet and no run: give every seed a line of its own, with seed")
    return name, command, named


def _short(value: Any) -> str:
    """A value as it stands in the file; letters beyond ASCII stay letters."""
    text = f'"{value}"' if isinstance(value, str) else json_text(value, indent=None)
    return shown(text, SHOWN_LENGTH)


def _task(values: Any, number: int, folder: Path, warn: Callable[[str], None]) -> Task:
    name, command, named = asked_values(values)
    kind, positional = COMMANDS[command]
    options = command_of(kind, named)
    if name is None:
        name = default_name(command, named, options)
    place = folder / "runs" / name
    asked = {**named, "run_dir": str(place)}
    if kind is Study:
        asked = {"out": str(place), **asked}  # its files beside its runs
    options = command_of(kind, asked)
    words = (command, *_words(asked, positional))
    hooks = RunHooks(warn=warn)
    if isinstance(options, Render):
        job = render_job(options)
        task = Task(name, number, command, words, place, job, ((job, place),))
        if not task.is_there():
            plan(job, RunFolder(place), hooks)
        return task
    runs, results = _measured(options, hooks)
    return Task(name, number, command, words, place, None, runs, results)


def _measured(
    options: Compare | Study, hooks: RunHooks
) -> tuple[tuple[tuple[RenderJob, Path], ...], tuple[Path, ...]]:
    """The runs of a comparison or a study, and the files that it writes."""
    # Only here: they import PyTorch, which takes seconds.
    from genrender.evaluation.compare import checked_jobs
    from genrender.evaluation.study import checked_cells, folder_of
    from genrender.options.measured import compare_job, study_job

    if isinstance(options, Compare):
        compared = compare_job(options)
        jobs = checked_jobs(compared, hooks)
        runs = tuple((job, compared.folder / name) for name, job in jobs.items())
        return runs, () if compared.report is None else (compared.report,)
    asked = study_job(options)
    cells, _ = checked_cells(asked, hooks)
    results = tuple(asked.out / f"{asked.name}.{end}" for end in ("csv", "svg", "md"))
    return tuple((cell.job, folder_of(cell, asked)) for cell in cells), results


def on_device(job: RenderJob, device: str | None) -> RenderJob:
    """The job on a device; None: on that which this machine takes by itself."""
    return replace(job, recipe=replace(job.recipe, device=device))


def default_name(command: str, named: Mapping[str, Any], options: Any) -> str:
    """What a job without a name is called: the same for the same line, wherever that stands in the file."""
    label = options.name if isinstance(options, Study) else scene_label(options.scene)
    plain = json_text({"command": command, **dict(sorted(named.items()))}, indent=None)
    digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return file_name(f"{label[:60]}-{digest}")


def _words(named: Mapping[str, Any], positional: tuple[str, ...]) -> list[str]:
    """The words of a command line that say the same."""
    first = [word for name in positional for word in _values(named[name])]
    rest: list[str] = []
    for name, value in named.items():
        flag = f"--{name.replace('_', '-')}"
        if name in positional or value is False:
            continue
        rest += [flag] if value is True else [f"{flag}={one}" for one in _values(value)]
    return [*first, *rest]


def _values(value: Any) -> list[str]:
    many = value if isinstance(value, list) else [value]
    return [f"{one:g}" if isinstance(one, float) and one.is_integer() else str(one) for one in many]
