"""A part of a clip: frames that one run makes against keyframes that are the same for every part.

Frames of a part depend on the keyframes and on themselves alone, so parts may be made anywhere, in any order.
They go through the networks in chunks that the whole clip's numbers decide, and never those of a part:
kernels round differently where more rows go through them at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.sampling.appearance import Appearance
from genrender.sampling.store import FrameTensors


@dataclass(frozen=True)
class Part:
    """Frames that are made together.

    Attributes:
        frames: their numbers in the clip, ascending.
        chunk_size: frames that go through the networks at once.
    """

    frames: tuple[int, ...]
    chunk_size: int

    @property
    def chunks(self) -> list[list[int]]:
        """The frames, cut where the whole clip would be cut."""
        return [list(chunk) for _, chunk in groupby(self.frames, key=lambda frame: frame // self.chunk_size)]

    def rows(self, frames: Iterable[int]) -> list[int]:
        """Where some of the frames stand among them."""
        return [self._row_of[frame] for frame in frames]

    @cached_property
    def _row_of(self) -> dict[int, int]:
        return {frame: row for row, frame in enumerate(self.frames)}


def whole_chunks(frames: Sequence[int], n_frames: int, chunk_size: int) -> tuple[int, ...]:
    """Frames, and all that share a chunk with one of them in a clip of so many.

    Example:
        >>> whole_chunks([3, 4, 5], 100, 4)
        (0, 1, 2, 3, 4, 5, 6, 7)
    """
    chunks = sorted({frame // chunk_size for frame in frames})
    return tuple(
        frame
        for chunk in chunks
        for frame in range(chunk * chunk_size, min((chunk + 1) * chunk_size, n_frames))
    )


class FinalLatents:
    """Latents of a part and of the keyframes that it was made against, by their numbers in the clip.

    Args:
        made: latents of the part.
        part: which frames these are.
        appearance: the keyframes; None: there are none but those of the part.
        n_frames: of the clip.
    """

    def __init__(self, made: FrameTensors, part: Part, appearance: Appearance | None, n_frames: int) -> None:
        self._made, self._part, self._n_frames = made, part, n_frames
        self._lent: dict[int, Float32[Tensor, "C h w"]] = {}
        if appearance is not None and appearance.is_of_this_clip:
            self._lent = dict(zip(appearance.frames, appearance.final, strict=True))

    def __len__(self) -> int:
        return self._n_frames

    def __getitem__(self, frames: Sequence[int], /) -> Float32[Tensor, "n C h w"]:
        return torch.cat([self._of(frame) for frame in frames])

    def _of(self, frame: int) -> Float32[Tensor, "1 C h w"]:
        if frame in self._lent:
            return self._lent[frame][None]
        return self._made[self._part.rows([frame])]
