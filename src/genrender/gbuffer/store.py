"""The G-buffers of a clip in a file instead of in memory, each read when it is looked at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genrender.gbuffer.gbuffer import OTHER_FIELDS, GBuffer
from genrender.storage.checked_file import DamagedFile
from genrender.storage.frame_file import FrameFile

_RECORD = (
    ("depth", np.float32, ()),
    ("uv", np.float32, (2,)),
    ("object_id", np.int32, ()),
    ("tri_id", np.int32, ()),
    ("bary", np.float32, (2,)),
    ("atlas_id", np.int32, ()),
)


class StoredGBuffers(Sequence[GBuffer]):
    """G-buffers of one size, 32 bytes per pixel and frame on disk.

    Args:
        path: the file; an earlier one is overwritten.
        n_frames: how many there will be.
        height: rows.
        width: pixels per row.
        render: a frame's G-buffer anew, for one that is damaged when it is looked at; None: that is an error.

    Raises:
        MediaError: the file cannot be made, read or written.
    """

    def __init__(
        self,
        path: Path,
        n_frames: int,
        height: int,
        width: int,
        render: Callable[[int], GBuffer] | None = None,
    ):
        # Field after field, not pixel after pixel, so that each is read as an array of its own.
        dtype = np.dtype([(name, kind, (height, width, *more)) for name, kind, more in _RECORD])
        self._file = FrameFile(path, n_frames, (), dtype)
        self._dtype = dtype
        # Little, and mostly the same thing in all frames.
        self._others: dict[int, dict[str, Any]] = {}
        self._render = render

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[frame] for frame in range(len(self))[index]]
        try:
            record = self._file.read([index])[0]
        except DamagedFile:
            if self._render is None:
                raise
            return self._render(index)
        others = self._others[range(len(self))[index]]
        return GBuffer(**{name: record[name] for name, *_ in _RECORD}, **others)

    def write(self, frame: int, gbuffer: GBuffer) -> None:
        """Put a frame's G-buffer in its place."""
        self._others[frame] = {name: getattr(gbuffer, name) for name in OTHER_FIELDS}
        record = np.zeros((), self._dtype)
        for name, *_ in _RECORD:
            record[name] = getattr(gbuffer, name)
        self._file.write([frame], record[None])
