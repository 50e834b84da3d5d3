"""The folder beside every video: what was asked for, with which versions, and every frame."""

import datetime
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

import genrender
from genrender.atomic import atomic_write
from genrender.errors import MediaError
from genrender.media.images import contact_sheet, read_png, write_png
from genrender.media.video import write_video

LIBRARIES = ("torch", "diffusers", "transformers", "numpy")


class RunFolder:
    """Writes and finds the files of one run; each of them appears whole or not at all.

    Attributes:
        path: the folder.
        config_file: `config.json`.
        frames_dir: `frames/`, with `00000.png` and so on.
        video_file: `video.mp4`.
        contact_sheet_file: `contact_sheet.png`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Names a run folder, and makes sure that it can be written before any work begins.

        Nothing is created yet: a run that fails at its next check leaves no empty folder behind. The folder
        of an earlier run is welcome, any other folder must be empty.

        Raises:
            MediaError: the folder cannot be made or written, is a file, or holds something other than a run.
        """
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.frames_dir = self.path / "frames"
        self.video_file = self.path / "video.mp4"
        self.contact_sheet_file = self.path / "contact_sheet.png"
        _check_can_become_run_folder(self.path, self.config_file)

    def start(self, config: Mapping[str, Any], seed: int, command: Sequence[str] | None = None) -> None:
        """Creates the folder, removes what an earlier run left in it, and writes `config.json`.

        Args:
            config: the resolved settings, nested mappings of plain values; paths become strings.
            seed: the number that every random choice of the run derives from.
            command: the words of the command line. None: this process's own.
        """
        text = json.dumps(
            {
                "config": config,
                "seed": seed,
                "command": list(sys.argv if command is None else command),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "versions": versions(),
                "platform": platform.platform(),
            },
            indent=2,
            default=_plain,
        )
        try:
            self.frames_dir.mkdir(parents=True, exist_ok=True)
            for file in (
                self.video_file,
                self.contact_sheet_file,
                self.path / "metrics.json",
                *self.frame_files(),
            ):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise MediaError(f"cannot prepare run folder {self.path}: {error.strerror}") from error
        with atomic_write(self.config_file) as part:
            part.write_text(text + "\n", encoding="utf-8")

    def read_config(self) -> dict[str, Any]:
        """What `start` wrote."""
        try:
            return json.loads(self.config_file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise MediaError(f"{self.path} is no run folder: it holds no config.json") from error
        except ValueError as error:
            raise MediaError(f"cannot read {self.config_file}: it is no JSON file ({error})") from error

    def write_frame(self, index: int, picture: UInt8[np.ndarray, "H W 3"]) -> None:
        """Writes frame number `index`, which counts from 0."""
        write_png(self.frames_dir / f"{index:05d}.png", picture)

    def frame_files(self) -> list[Path]:
        """The frames written so far, in order."""
        return sorted(self.frames_dir.glob("[0-9][0-9][0-9][0-9][0-9].png"))

    def frames(self) -> "Frames":
        """The frames written so far, each read from disk when it is asked for."""
        return Frames(self.frame_files())

    def write_video(self, fps: int | float) -> None:
        """Makes `video.mp4` of the frames written so far."""
        write_video(self.video_file, self.frames(), fps)

    def write_contact_sheet(
        self, rows: Mapping[str, Sequence[np.ndarray] | UInt8[np.ndarray, "F H W 3"]]
    ) -> None:
        """Makes `contact_sheet.png` of the given rows and, below them, the frames written so far."""
        write_png(self.contact_sheet_file, contact_sheet({**rows, "result": self.frames()}))


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


def versions() -> dict[str, str]:
    """The versions that a result may depend on; libraries that are not installed are left out."""
    found = {"genrender": genrender.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _check_can_become_run_folder(path: Path, config_file: Path) -> None:
    try:
        if path.exists() and not path.is_dir():
            raise MediaError(f"cannot use {path} as run folder: it is a file; choose another name")
        if path.is_dir() and not config_file.is_file() and any(path.iterdir()):
            raise MediaError(
                f"cannot use {path} as run folder: it holds files but no config.json, so it is no run's; "
                "choose a new or an empty folder"
            )
        ancestor = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        with tempfile.TemporaryFile(dir=ancestor):
            pass
    except MediaError:
        raise
    except OSError as error:
        raise MediaError(
            f"cannot write to run folder {path}: {error.strerror}; choose another place"
        ) from error


def _plain(value: object) -> str:
    if isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"a run's config holds a {type(value).__name__}, expected plain values")
