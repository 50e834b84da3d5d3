"""The folder beside every video: what was asked for, with which versions, and every frame."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genrender.errors import MediaError
from genrender.media.images import contact_sheet, enlarged, read_png, write_png
from genrender.media.video import write_video
from genrender.runs.record import RunRecord, read_record
from genrender.storage.atomic import TEMPORARY, atomic_folder, atomic_write, check_can_hold_files
from genrender.storage.run_files import (
    APPEARANCE_FILE,
    CONFIG_FILE,
    CONTACT_SHEET_FILE,
    FRAME_FILES,
    FRAMES_DIR,
    OF_FINISHED,
    OF_UNFINISHED,
    REQUEST_FILE,
    UNFINISHED_DIR,
    VIDEO_FILE,
    frame_file,
)
from genrender.storage.untrusted import json_text, read_json


class RunFolder:
    """Writes and finds the files of one run. The whole run appears at once, or not at all.

    Naming a run folder neither looks at it nor changes it: it may be one that can only be read.

    Attributes:
        path: the folder.
        config_file: `config.json`.
        frames_dir: `frames/`, with `00000.png` and so on.
        video_file: `video.mp4`.
        contact_sheet_file: `contact_sheet.png`.
        appearance_file: `appearance.npz`, from which other shots take their look.
        unfinished_dir: `unfinished/`, which is there while the run is under way.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config_file = self.path / CONFIG_FILE
        self.frames_dir = self.path / FRAMES_DIR
        self.video_file = self.path / VIDEO_FILE
        self.contact_sheet_file = self.path / CONTACT_SHEET_FILE
        self.appearance_file = self.path / APPEARANCE_FILE
        self.unfinished_dir = self.path / UNFINISHED_DIR

    def check_can_be_filled(self) -> None:
        """Makes sure, before any work begins, that a run can be written here.

        Nothing is created yet: a run that fails at its next check leaves no empty folder behind. The folder
        of an earlier run is welcome, any other folder must be empty.

        Raises:
            MediaError: the folder cannot be made or written, is a file, or holds something other than a run.
        """
        _check_can_become_run_folder(self)

    @contextmanager
    def replaced(self) -> Iterator["RunFolder"]:
        """Gives an empty run folder to fill, which takes this one's place when the block ends well.

        An earlier run in this folder is there until then, and for good if the block raises. Files that no run
        makes stay.

        Example:
            >>> with folder.replaced() as draft:
            ...     draft.write_record(record)
        """
        with atomic_folder(self.path, replaces=OF_FINISHED) as part:
            draft = RunFolder(part)
            draft.frames_dir.mkdir()
            yield draft

    def write_record(self, record: RunRecord) -> None:
        """Writes `config.json`."""
        with atomic_write(self.config_file) as part:
            part.write_text(json_text(record.to_json(), to_plain) + "\n", encoding="utf-8")

    def read_record(self) -> RunRecord:
        """What `write_record` wrote, checked as in `genrender.runs.record.read_record`."""
        return read_record(self.config_file)

    def write_frame(self, index: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Writes frame number `index`, which counts from 0."""
        write_png(self.frames_dir / frame_file(index), picture)

    def frame_files(self) -> list[Path]:
        """The frames written so far, in order."""
        return sorted(self.path.glob(FRAME_FILES))

    def frames(self) -> "Frames":
        """The frames written so far, each read from disk when it is asked for."""
        return Frames(self.frame_files())

    def write_video(
        self, fps: int | float, scale: int = 1, repeat: int = 1, comment: str | None = None
    ) -> None:
        """Makes `video.mp4` of the frames written so far.

        Args:
            fps: frames per second.
            scale: how many times as wide and high as the frames the video is.
            repeat: how often it shows them all.
            comment: see `genrender.media.video.write_video`.
        """
        frames = (frame for _ in range(repeat) for frame in self.frames())
        write_video(self.video_file, (enlarged(frame, scale) for frame in frames), fps, comment)

    def write_contact_sheet(
        self,
        rows: Mapping[str, Sequence[np.ndarray] | UInt8[np.ndarray, "F H W 3"]],
        texts: Mapping[str, str] | None = None,
    ) -> None:
        """Makes `contact_sheet.png` of the given rows and, below them, the frames written so far.

        Args:
            texts: see `genrender.media.images.write_png`.
        """
        write_png(self.contact_sheet_file, contact_sheet({**rows, "result": self.frames()}), texts)


class Frames(Sequence[np.ndarray]):
    """PNG files that behave like a list of uint8 RGB pictures without all being in memory."""

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Frames(self.files[index])
        return read_png(self.files[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(read_png, self.files)


def _check_can_become_run_folder(folder: RunFolder) -> None:
    path = folder.path
    check_can_hold_files(path)
    try:
        is_empty = not path.exists() or all(map(_is_left_by_a_run, path.iterdir()))
    except OSError as error:
        raise MediaError(f"cannot look into folder {path}: {error.strerror}; choose another place") from error
    if not is_empty and not _is_run(folder):
        raise MediaError(
            f"cannot use {path} as run folder: it holds files but no config.json of a run; "
            "choose a new or an empty folder"
        )


def _is_left_by_a_run(path: Path) -> bool:
    """Whether a run that was killed left this: something half-written, or `unfinished/` and nothing else."""
    if path.name == UNFINISHED_DIR and path.is_dir():
        return all(
            OF_UNFINISHED.fullmatch(file.name) or TEMPORARY.fullmatch(file.name) for file in path.iterdir()
        )
    return bool(TEMPORARY.fullmatch(path.name))


def _is_run(folder: RunFolder) -> bool:
    """Many a project has a config.json, and its files are not ours to replace."""
    for file in (folder.config_file, folder.unfinished_dir / REQUEST_FILE):
        try:
            if "genrender" in read_json(file, MediaError, "a run", allow_infinity=True)["versions"]:
                return True
        except (OSError, MediaError, KeyError, TypeError):
            continue
    return False


def to_plain(value: object) -> str:
    """Paths as strings, for JSON."""
    if isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"a run's config holds a {type(value).__name__}, expected plain values")
