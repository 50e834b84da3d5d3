"""Arrays of all frames of a clip in one file, read and written a few frames at a time.

Plain reads and writes instead of a memory map: what a map has touched counts as this process's memory.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genrender.errors import MediaError


class FrameFile:
    """One array of equal shape for every frame.

    Args:
        path: the file; made where it is missing, and as long as all frames from the beginning, so that a full
            disk is noticed early.
        n_frames: how many frames there are.
        shape: of one frame's array.
        dtype: its element type.

    Raises:
        MediaError: the file cannot be made, read or written.
    """

    def __init__(self, path: Path, n_frames: int, shape: Sequence[int], dtype: Any = np.float32):
        self._path = path
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._n_frames = n_frames
        self._bytes = int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        try:
            path.touch()
            self._file = path.open("r+b", buffering=0)
            self._file.truncate(n_frames * self._bytes)
        except OSError as error:
            raise self._error(error) from error

    def __len__(self) -> int:
        return self._n_frames

    def read(self, frames: Sequence[int]) -> np.ndarray:
        """The arrays of some frames, stacked."""
        out = np.empty((len(frames), *self._shape), self._dtype)
        try:
            for row, frame in enumerate(frames):
                self._go_to(frame)
                view: Any = out[row : row + 1].view(np.uint8)
                if self._file.readinto(view) != self._bytes:
                    raise MediaError(f"cannot read {self._path}: it is shorter than it should be")
        except OSError as error:
            raise self._error(error) from error
        return out

    def write(self, frames: Sequence[int], arrays: np.ndarray) -> None:
        """Replace the arrays of some frames."""
        data = np.ascontiguousarray(arrays, self._dtype)
        try:
            for row, frame in enumerate(frames):
                self._go_to(frame)
                left = data[row : row + 1].tobytes()
                while left:
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        # A clip is handed on and nobody knows who looks at it last.
        if hasattr(self, "_file"):
            self._file.close()

    def _go_to(self, frame: int) -> None:
        self._file.seek(range(self._n_frames)[frame] * self._bytes)

    def _error(self, error: OSError) -> MediaError:
        if isinstance(error, MediaError):
            return error
        return MediaError(f"cannot use {self._path}: {error.strerror or error}; free some space there")
