"""A run that has not reached its end: what was asked for, and how far it has come.

`unfinished.json` and `unfinished.pt` lie in the run folder from the first step until the run is complete.
Each is replaced as a whole, so that a run that is killed at any moment finds the last state that was written.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from genrender.atomic import atomic_write
from genrender.diffusion.step_state import StepState
from genrender.errors import MediaError
from genrender.media.run_folder import PART, UNFINISHED_FILE, RunFolder, to_plain, versions

STATE_FILE = "unfinished.pt"
PREVIEW_FILE = "preview.png"
# Between two states that are written: a step of a small model takes less time than writing.
STATE_EVERY_S = 2.0


@dataclass(frozen=True)
class Progress:
    """What `unfinished.pt` holds.

    Attributes:
        state: of the diffusion.
        seconds: that the run has taken so far, all its attempts together.
    """

    state: StepState
    seconds: float


class UnfinishedRun:
    """The files of one run that is under way.

    Args:
        folder: where the run will be.
        request: everything that the frames depend on, nested mappings of plain values.
        command: the words of the command line that asked for it.
    """

    def __init__(self, folder: RunFolder, request: Mapping[str, Any], command: Sequence[str]):
        self.folder = folder
        self.request_file = folder.unfinished_file
        self.state_file = folder.path / STATE_FILE
        self.preview_file = folder.path / PREVIEW_FILE
        self._record = {
            "request": json.loads(json.dumps(request, default=to_plain)),
            "versions": versions(),
            "command": list(command),
            "working_directory": os.getcwd(),
        }
        self._request_is_written = False
        self._saved_at_s = float("-inf")

    @property
    def _digest(self) -> str:
        return hashlib.sha256(json.dumps(self._record["request"]).encode()).hexdigest()

    def save(self, state: StepState, seconds: float, is_last: bool) -> None:
        """Write how far the run has come, unless that was done a moment ago.

        Raises:
            MediaError: the disk is full, or the folder cannot be written; the state before is still there.
        """
        if not is_last and time.monotonic() - self._saved_at_s < STATE_EVERY_S:
            return
        if not self._request_is_written:
            self._begin()
        with atomic_write(self.state_file) as part:
            torch.save({"digest": self._digest, "seconds": seconds, **asdict(state)}, part)
        self._saved_at_s = time.monotonic()

    def _begin(self) -> None:
        try:
            self.folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"cannot make folder {self.folder.path}: {error.strerror}; choose another place"
            ) from error
        with atomic_write(self.request_file) as part:
            part.write_text(json.dumps(self._record, indent=2) + "\n", encoding="utf-8")
        self._request_is_written = True

    def load(self) -> Progress | None:
        """How far an earlier attempt has come; None: not through its first step.

        Raises:
            MediaError: the earlier attempt was another request, by another version, or its files are damaged.
        """
        self._check_request(read_request(self.folder.path))
        if not self.state_file.exists():
            return None
        try:
            stored = torch.load(self.state_file, map_location="cpu", weights_only=True)
            digest, seconds = stored.pop("digest"), stored.pop("seconds")
            progress = Progress(StepState(**stored), seconds)
        # What a damaged file makes the loader raise knows no limits.
        except Exception as error:
            raise MediaError(
                f"cannot read {self.state_file}: it is damaged; delete it to begin the run again"
            ) from error
        # A state of an earlier request, left when the folder was given to this one.
        return progress if digest == self._digest else None

    def _check_request(self, stored: Mapping[str, Any]) -> None:
        place = self.folder.path
        for what, remedy in (
            ("versions", "install what it was begun with, or render it again"),
            ("request", "render it again"),
        ):
            changed = _differences(stored.get(what), self._record[what])
            if changed:
                name, before, now = changed[0]
                raise MediaError(
                    f"cannot resume {place}: {name} was {before!r} when it was begun, and is {now!r} now; "
                    f"{remedy}"
                )

    def clear(self) -> None:
        """Take the files away: the run is complete."""
        for file in (self.state_file, self.request_file, self.preview_file):
            file.unlink(missing_ok=True)


def read_request(folder: Path) -> dict[str, Any]:
    """What an unfinished run was asked for: `request`, `versions`, `command`, `working_directory`.

    Raises:
        MediaError: there is no unfinished run, or its file cannot be read.
    """
    file = folder / UNFINISHED_FILE
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MediaError(f"{folder} holds no unfinished run: there is no {file.name}") from error
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot read {file} ({error}); render the run again") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("command"), list):
        raise MediaError(f"{file} is not of a run of genrender; render the run again")
    return stored


def remove_leftovers(folder: RunFolder) -> None:
    """Take away what writing leaves behind where a process is killed in the middle of it."""
    for left in folder.path.iterdir():
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
