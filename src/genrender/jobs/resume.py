"""A run that was stopped, carried on."""

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from genrender.errors import ConfigError, MediaError
from genrender.jobs.finishing import kept_wish
from genrender.jobs.job import RenderJob, job_from_json
from genrender.jobs.plan import Plan, plan
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.runs.unfinished import read_request, tidy_finished_run
from genrender.storage.run_files import CONFIG_FILE, REQUEST_FILE, UNFINISHED_DIR

ReadWords = Callable[[Sequence[str]], RenderJob]


@dataclass(frozen=True)
class Begun:
    """What an unfinished run was begun with.

    Attributes:
        job: what was asked for.
        command: the words of the command line that asked for it.
        place: the folder that relative paths are meant from.
    """

    job: RenderJob
    command: tuple[str, ...]
    place: Path


def resume(folder: Path, hooks: RunHooks = SILENT, read_words: ReadWords | None = None) -> Plan | list[Path]:
    """Carries on with an unfinished run, from the last step that it finished.

    A finished run gets the files that it was still to get, from the last frame of theirs.

    The process works in the folder where the run was begun while this lasts: relative paths were meant from
    there.

    Args:
        folder: the run folder.
        read_words: the job of a command line's words, for runs that were begun by a version which kept
            nothing else.

    Returns:
        What was made; the files that a finished run got, of which there may be none.

    Raises:
        MediaError: there is no run, or what it depends on has changed.
    """
    path = folder.resolve()
    if not path.is_dir():
        raise MediaError(f"no run folder {folder}: expected the folder of a run that was stopped")
    if not (path / UNFINISHED_DIR / REQUEST_FILE).exists() and (path / CONFIG_FILE).exists():
        tidy_finished_run(path)
        if kept_wish(path) is None:
            return []
        from genrender.jobs.finish import go_on

        return go_on(path, hooks)
    begun = read_begun(path, read_words)
    if not begun.place.is_dir():
        raise MediaError(
            f"cannot resume {folder}: the folder {begun.place}, where it was begun, is gone; put it back, or "
            "render the run again"
        )
    with chdir(begun.place):
        made = plan(begun.job, RunFolder(path), hooks)
        # Only here: PyTorch takes seconds to import.
        from genrender.jobs.make import make

        make(made, hooks, begun.command, resume=True)
    return made


def read_begun(path: Path, read_words: ReadWords | None = None) -> Begun:
    """What an unfinished run was begun with.

    Raises:
        MediaError: there is no unfinished run, or it cannot be told what it was asked for.
    """
    stored = read_request(path)
    words = tuple(stored["command"])
    if "job" in stored:
        try:
            job = job_from_json(stored["job"])
        except ConfigError as error:
            raise MediaError(f"{path}: {error}; render the run again") from error
    elif read_words is not None:
        try:
            job = read_words(words)
        except (ConfigError, MediaError) as error:
            raise MediaError(f"{path}: {error}") from error
    else:
        raise MediaError(f"{path} keeps no job: resume it with `genrender resume`, or render the run again")
    return Begun(job, words, Path(stored["working_directory"]))
