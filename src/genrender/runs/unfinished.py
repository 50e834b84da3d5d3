"""A run that has not reached its end: what was asked for, and how far it has come.

The folder `unfinished/` in the run folder holds the request, the clip's G-buffers, and what the diffusion
carries from step to step. It goes when the run is complete. Whatever counts in it is replaced as a whole, so
that a run that is killed at any moment finds the last step that was done.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from genrender.errors import MediaError
from genrender.runs.folder import RunFolder, to_plain
from genrender.runs.record import Request, differences, versions
from genrender.storage.atomic import atomic_write, remove_leftovers
from genrender.storage.checked_file import DamagedFile, checksum, read_checked, write_checked
from genrender.storage.folder_lock import lock_folder
from genrender.storage.json_kinds import misfit
from genrender.storage.run_files import (
    GBUFFERS_FILE,
    PARTS_DIR,
    PREVIEW_FILE,
    REQUEST_FILE,
    SECONDS_FILE,
    STATE_FILE,
    UNFINISHED_DIR,
)
from genrender.storage.untrusted import json_text, read_json

_LOGGER = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.1


class UnfinishedRun:
    """The files of one run that is under way, as a context: they stay only where the run can be resumed.

    Args:
        folder: where the run will be.
        command: the words of the command line that asked for it.
        resume: go on where an earlier attempt stopped; else what that has left is taken away.
        job: what was asked for as plain values, to go on with without a command line.

    Attributes:
        command: as given.

    Raises:
        MediaError: the folder cannot be made, another process works in it, or there is nothing to resume.

    Example:
        >>> with UnfinishedRun(folder, sys.argv) as unfinished:
        ...     make_video(pipeline, clip, config, folder, unfinished=unfinished)
    """

    def __init__(
        self,
        folder: RunFolder,
        command: Sequence[str],
        resume: bool = False,
        job: Mapping[str, Any] | None = None,
    ):
        self.path = folder.unfinished_dir
        self.preview_file = self.path / PREVIEW_FILE
        self.gbuffer_file = self.path / GBUFFERS_FILE
        self.is_begun = False
        self._folder = folder
        self.command = list(command)
        self._job = job
        self._resume = resume
        self._made: list[Path] = []
        self._lock: int | None = None

    def __enter__(self) -> "UnfinishedRun":
        if self._resume:
            read_request(self._folder.path)
        self._made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            self._folder.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self._folder.path)
            if not self._resume:
                self._remove()
            self.path.mkdir(exist_ok=True)
            for folder in (self._folder.path, self.path):
                remove_leftovers(folder)
        except MediaError:
            self._leave()
            raise
        except OSError as error:
            self._leave()
            raise MediaError(
                f"cannot make folder {self.path}: {error.strerror}; choose another place"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            # What a kill in the middle of an exchange has left of the run before this one.
            remove_leftovers(self._folder.path, kinds=("old",))
        if kind is None or not self.can_be_resumed:
            self._remove()
        self._leave()

    def _remove(self) -> None:
        _remove_unfinished(self.path)

    def _leave(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        for place in self._made:
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()

    @property
    def can_be_resumed(self) -> bool:
        """Whether a step has been done whose result is here."""
        return has_steps(self._folder.path)

    def begin(self, request: Mapping[str, Any], n_threads: int | None = None) -> float:
        """Write down what is asked for, or make sure that it is what the earlier attempt was asked for.

        Args:
            request: everything that the frames depend on, nested mappings of plain values.
            n_threads: that a processor computes with, on which last bits depend: another number is warned of.

        Returns:
            The seconds that earlier attempts have taken.

        Raises:
            MediaError: the earlier attempt was another request, or by another version.
        """
        record = {
            "request": json.loads(json_text(request, to_plain)),
            "versions": versions(),
            "command": self.command,
            "working_directory": os.getcwd(),
            **({} if n_threads is None else {"n_threads": n_threads}),
            **({} if self._job is None else {"job": json.loads(json_text(self._job))}),
        }
        seconds = 0.0
        if self._resume:
            stored = read_request(self._folder.path)
            self._check(stored, record)
            if (before := stored.get("n_threads")) not in (None, n_threads):
                _LOGGER.warning(
                    "the run was begun with OMP_NUM_THREADS=%s and goes on with %s: frames may differ in "
                    "their last bit from those of a run that was never stopped",
                    before,
                    n_threads,
                )
            seconds = self._read_seconds()
        else:
            sealed = {**record, "checksum": _checksum_of(record)}
            with atomic_write(self.path / REQUEST_FILE) as part:
                part.write_text(json_text(sealed) + "\n", encoding="utf-8")
        self.is_begun = True
        return seconds

    def _check(self, stored: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        for what, remedy in (
            ("versions", "install what it was begun with, or render it again"),
            ("request", "render it again"),
        ):
            changed = differences(stored.get(what), record[what])
            if changed:
                name, before, now = changed[0]
                raise MediaError(
                    f"cannot resume {self._folder.path}: {name} was {before!r} when it was begun, and is "
                    f"{now!r} now; {remedy}"
                )

    def note_seconds(self, seconds: float) -> None:
        """Keep how long all attempts together have taken."""
        write_checked(self.path / SECONDS_FILE, json.dumps(seconds).encode())

    def _read_seconds(self) -> float:
        try:
            return float(json.loads(read_checked(self.path / SECONDS_FILE)))
        except DamagedFile:
            state = self.path / STATE_FILE
            if not state.exists():
                return 0.0  # it was stopped before its first step was over
            # At most as long as this, if it was never left alone.
            return max(0.0, state.stat().st_mtime - (self.path / REQUEST_FILE).stat().st_mtime)


def has_steps(folder: Path) -> bool:
    """Whether a run folder keeps steps that its run can go on from."""
    unfinished = folder / UNFINISHED_DIR
    is_begun = (unfinished / STATE_FILE).exists() or (unfinished / PARTS_DIR).exists()
    return is_begun and (unfinished / REQUEST_FILE).exists()


def wait_until_idle(folder: Path, patience_s: float) -> None:
    """Waits until no other process is at work in a run folder, but no longer than so many seconds."""
    until_s = time.monotonic() + patience_s
    while _is_at_work(folder) and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)


def _is_at_work(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        lock = lock_folder(folder)
    except MediaError:
        return True
    if lock is not None:
        os.close(lock)
    return False


def read_request(folder: Path) -> dict[str, Any]:
    """What an unfinished run was asked for: `request`, `versions`, `command`, `working_directory`.

    Raises:
        MediaError: there is no unfinished run, or its file cannot be read.
    """
    file = folder / UNFINISHED_DIR / REQUEST_FILE
    expected = "what a run of genrender begins with: render the run again"
    try:
        stored = read_json(file, MediaError, expected, allow_infinity=True)
    except FileNotFoundError as error:
        raise MediaError(
            f"{folder} holds no unfinished run: there is no {file}; give the folder of a run that was stopped"
        ) from error
    if (wrong := misfit(stored, Request, "")) is not None:
        what = wrong if isinstance(stored, dict) else "it holds no entries"
        raise MediaError(f"{file}: {what}; it is damaged, or of another version: render the run again")
    if stored.pop("checksum") != _checksum_of(stored):
        raise DamagedFile(file)
    return stored


def _checksum_of(record: Mapping[str, Any]) -> str:
    return checksum(json.dumps(record, sort_keys=True).encode()).hex()


def tidy_finished_run(folder: Path) -> None:
    """Takes away what a process has left that was killed when its run was complete and cleanup had begun.

    Raises:
        MediaError: another process is at work there, or what is left cannot be removed.
    """
    unfinished = folder / UNFINISHED_DIR
    lock = lock_folder(folder)
    try:
        remove_leftovers(folder, kinds=("part", "probe", "old"))
        if unfinished.exists():
            _remove_unfinished(unfinished)
    except OSError as error:
        raise MediaError(f"cannot tidy {folder}: {error.strerror}; change its permissions") from error
    finally:
        if lock is not None:
            os.close(lock)


def _remove_unfinished(path: Path) -> None:
    """What makes it count goes first, lest half of it be resumed."""
    for name in (STATE_FILE, REQUEST_FILE):
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def file_digest(path: Path) -> str:
    """A short name for a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
