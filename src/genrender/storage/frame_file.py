"""Arrays of all frames of a clip in one file, read and written a few frames at a time.

Plain reads and writes instead of a memory map: what a map has touched counts as this process's memory. A file
is open only while it is read or written: a clip is handed on, nobody knows who looks at it last, and Windows
removes no file that is open. Behind every frame's array stands its checksum.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrender.errors import MediaError
from genrender.storage.checked_file import CHECKSUM_BYTES, DamagedFile, checksum


class FrameFile:
    """One array of equal shape for every frame.

    Args:
        path: the file; made where it is missing, and as long as all frames from the beginning, so that most
            file systems tell early that their disk is too small.
        n_frames: how many frames there are.
        shape: of one frame's array.
        dtype: its element type.
        must_exist: the file is one of these already, and what it holds counts.
        is_sparse: few frames may ever be written: no space is set aside for the others.

    Raises:
        MediaError: the file cannot be made, read or written.
        DamagedFile: it must exist and is missing or of another size, or what is read is not what was written;
            a frame that never was written counts as damaged.
    """

    def __init__(
        self,
        path: Path,
        n_frames: int,
        shape: Sequence[int],
        dtype: Any = np.float32,
        must_exist: bool = False,
        is_sparse: bool = False,
    ):
        self._path = path
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._n_frames = n_frames
        self._bytes = int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        try:
            size = n_frames * (self._bytes + CHECKSUM_BYTES)
            if must_exist and (not path.exists() or path.stat().st_size != size):
                raise DamagedFile(path)
            path.touch()
            with self._opened("r+b") as file:
                file.truncate(size)
                if size and not is_sparse and hasattr(os, "posix_fallocate"):
                    with _only_a_full_disk():
                        os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise self._error(error) from error

    def __len__(self) -> int:
        return self._n_frames

    def read(self, frames: Sequence[int]) -> np.ndarray:
        """The arrays of some frames, stacked."""
        out = np.empty((len(frames), *self._shape), self._dtype)
        try:
            with self._opened("rb") as file:
                for row, frame in enumerate(frames):
                    position = self._go_to(file, frame)
                    view: Any = out[row : row + 1].view(np.uint8)
                    n_bytes, found = file.readinto(view), file.read(CHECKSUM_BYTES)
                    if n_bytes != self._bytes or found != checksum(view.data, position):
                        raise DamagedFile(self._path)
        except OSError as error:
            raise self._error(error) from error
        return out

    def write(self, frames: Sequence[int], arrays: np.ndarray) -> None:
        """Replace the arrays of some frames."""
        data = np.ascontiguousarray(arrays, self._dtype)
        try:
            with self._opened("r+b") as file:
                for row, frame in enumerate(frames):
                    position = self._go_to(file, frame)
                    array = data[row : row + 1].tobytes()
                    left = array + checksum(array, position)
                    while left:
                        left = left[file.write(left) :]
        except OSError as error:
            raise self._error(error) from error

    def check(self, frames: Sequence[int]) -> None:
        """Raises DamagedFile unless all of these frames can be read."""
        for frame in frames:
            self.read([frame])

    def sync(self) -> None:
        """What was written outlives a crash of the machine from here on."""
        try:
            with self._opened("r+b") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise self._error(error) from error

    def _opened(self, mode: Literal["rb", "r+b"]) -> FileIO:
        return self._path.open(mode, buffering=0)

    def _go_to(self, file: FileIO, frame: int) -> int:
        position = range(self._n_frames)[frame]
        file.seek(position * (self._bytes + CHECKSUM_BYTES))
        return position

    def _error(self, error: OSError) -> MediaError:
        if isinstance(error, MediaError):
            return error
        return MediaError(f"cannot use {self._path}: {error.strerror or error}; free some space there")


class FrameCache:
    """What a function finds for single frames, kept once it was asked for.

    Small arrays that stay, one for every frame, between the large ones of the networks that come and go:
    in memory they would split up what is free, until hardly any large array fits into the same place again.

    Args:
        find: the array of a frame, of equal shape and type for all.
        n_frames: how many frames there are.
        path: a file for what was found; whatever it holds is overwritten. None: in memory.
    """

    def __init__(self, find: Callable[[int], np.ndarray], n_frames: int, path: Path | None = None):
        self._find = find
        self._n_frames = n_frames
        self._path = path
        self._file: FrameFile | None = None
        self._is_in_file = np.zeros(n_frames, bool)
        self._in_memory: dict[int, np.ndarray] = {}

    def __getitem__(self, frame: int) -> np.ndarray:
        if self._path is None:
            if frame not in self._in_memory:
                self._in_memory[frame] = self._find(frame)
            return self._in_memory[frame]
        if self._file is not None and self._is_in_file[frame]:
            with suppress(DamagedFile):  # then it is found once more
                return self._file.read([frame])[0]
        found = self._find(frame)
        if self._file is None:
            self._file = FrameFile(self._path, self._n_frames, found.shape, found.dtype, is_sparse=True)
        self._file.write([frame], found[None])
        self._is_in_file[frame] = True
        return found


@contextmanager
def _only_a_full_disk() -> Iterator[None]:
    """Not every file system can set space aside; what then fails later fails later."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
