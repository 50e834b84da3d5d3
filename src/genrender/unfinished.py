"""A run that has not reached its end: what was asked for, and how far it has come.

The folder `unfinished/` in the run folder holds the request, the clip's G-buffers, and what the diffusion
carries from step to step. It goes when the run is complete. Whatever counts in it is replaced as a whole, so
that a run that is killed at any moment finds the last step that was done.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from genrender.atomic import atomic_write
from genrender.diffusion.run_store import STATE_FILE
from genrender.errors import MediaError
from genrender.media.run_folder import PART, REQUEST_FILE, UNFINISHED_DIR, RunFolder, to_plain, versions

PREVIEW_FILE = "preview.png"


class UnfinishedRun:
    """The files of one run that is under way, as a context: they stay only where the run can be resumed.

    Args:
        folder: where the run will be.
        command: the words of the command line that asked for it.
        resume: go on where an earlier attempt stopped; else what that has left is taken away.

    Raises:
        MediaError: the folder cannot be made, or there is nothing to resume.

    Example:
        >>> with UnfinishedRun(folder, sys.argv) as unfinished:
        ...     make_video(pipeline, clip, config, folder, unfinished=unfinished)
    """

    def __init__(self, folder: RunFolder, command: Sequence[str], resume: bool = False):
        self.path = folder.unfinished_dir
        self.preview_file = folder.path / PREVIEW_FILE
        self.gbuffer_file = self.path / "gbuffers.bin"
        self._folder = folder
        self._command = list(command)
        self._resume = resume
        self._made: list[Path] = []

    def __enter__(self) -> "UnfinishedRun":
        if self._resume:
            read_request(self._folder.path)
            remove_leftovers(self._folder)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        missing = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"cannot make folder {self.path}: {error.strerror}; choose another place"
            ) from error
        self._made = missing
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not self.can_be_resumed:
            shutil.rmtree(self.path, ignore_errors=True)
            self.preview_file.unlink(missing_ok=True)
            for place in self._made:
                if place.is_dir() and not any(place.iterdir()):
                    place.rmdir()

    @property
    def can_be_resumed(self) -> bool:
        """Whether a step has been done whose result is here."""
        return (self.path / STATE_FILE).exists() and (self.path / REQUEST_FILE).exists()

    def begin(self, request: Mapping[str, Any]) -> float:
        """Write down what is asked for, or make sure that it is what the earlier attempt was asked for.

        Args:
            request: everything that the frames depend on, nested mappings of plain values.

        Returns:
            The seconds that earlier attempts have taken.

        Raises:
            MediaError: the earlier attempt was another request, or by another version.
        """
        record = {
            "request": json.loads(json.dumps(request, default=to_plain)),
            "versions": versions(),
            "command": self._command,
            "working_directory": os.getcwd(),
        }
        if self._resume:
            self._check(read_request(self._folder.path), record)
            return self._read_seconds()
        with atomic_write(self.path / REQUEST_FILE) as part:
            part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return 0.0

    def _check(self, stored: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        for what, remedy in (
            ("versions", "install what it was begun with, or render it again"),
            ("request", "render it again"),
        ):
            changed = _differences(stored.get(what), record[what])
            if changed:
                name, before, now = changed[0]
                raise MediaError(
                    f"cannot resume {self._folder.path}: {name} was {before!r} when it was begun, and is "
                    f"{now!r} now; {remedy}"
                )

    def note_seconds(self, seconds: float) -> None:
        """Keep how long all attempts together have taken."""
        with atomic_write(self.path / "seconds.json") as part:
            part.write_text(json.dumps(seconds))

    def _read_seconds(self) -> float:
        try:
            return float(json.loads((self.path / "seconds.json").read_text()))
        except (OSError, ValueError):
            return 0.0  # it was stopped before its first step was over


def read_request(folder: Path) -> dict[str, Any]:
    """What an unfinished run was asked for: `request`, `versions`, `command`, `working_directory`.

    Raises:
        MediaError: there is no unfinished run, or its file cannot be read.
    """
    file = folder / UNFINISHED_DIR / REQUEST_FILE
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MediaError(f"{folder} holds no unfinished run: there is no {file}") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot read {file} ({error}); render the run again") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("command"), list):
        raise MediaError(f"{file} is not of a run of genrender; render the run again")
    return stored


def remove_leftovers(folder: RunFolder) -> None:
    """Take away what writing leaves behind where a process is killed in the middle of it."""
    for left in [*folder.path.iterdir(), *folder.unfinished_dir.iterdir()]:
        if not PART.match(left.name):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """A short name for a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _differences(before: object, now: object, name: str = "") -> list[tuple[str, object, object]]:
    """The leaves in which two nested mappings differ: their names and both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            difference
            for key in sorted({*before, *now}, key=str)
            for difference in _differences(
                before.get(key), now.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    return [] if before == now else [(name, before, now)]
