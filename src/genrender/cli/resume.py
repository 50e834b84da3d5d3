"""`genrender resume`: the command that began a run, carried on."""

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrender.cli.console import note
from genrender.cli.options import Render, Resume
from genrender.cli.render import render
from genrender.errors import MediaError
from genrender.runs.unfinished import read_request, tidy_finished_run
from genrender.storage.run_files import CONFIG_FILE, REQUEST_FILE, UNFINISHED_DIR


def resume(options: Resume, parse: Callable[[Sequence[str]], Any]) -> None:
    """Carries on with an unfinished run; of a finished one it only says so.

    Args:
        parse: understands the words of a command line.

    Raises:
        MediaError: there is no run, or what it depends on has changed.
    """
    path = options.run_dir.resolve()
    if not path.is_dir():
        raise MediaError(f"no run folder {options.run_dir}: expected the folder of a run that was stopped")
    if not (path / UNFINISHED_DIR / REQUEST_FILE).exists() and (path / CONFIG_FILE).exists():
        tidy_finished_run(path)
        note(f"{options.run_dir} is finished already")
        return
    stored = read_request(path)
    words = [str(word) for word in stored["command"]]
    try:
        command = parse(words[1:])
    except SystemExit as error:
        raise MediaError(
            f"{path} was begun by a command that this version does not know; render the run again"
        ) from error
    if not isinstance(command, Render):
        raise MediaError(f"{path} was not begun by a render; render the run again")
    # The command's paths were meant from where it was given.
    place = Path(stored.get("working_directory", "."))
    if not place.is_dir():
        raise MediaError(f"cannot resume {options.run_dir}: the folder {place}, where it was begun, is gone")
    with chdir(place):
        render(replace(command, run_dir=path, debug=options.debug), words, resume=True)
