"""A clip whose G-buffers were rendered elsewhere.

Example:
    >>> from genrender.shots.exr_shot import ExrShot
    >>> from genrender.gbuffer.exr.survey import open_sequence
    >>> from genrender.shots.clip import render_shot
    >>> clip = render_shot(ExrShot.of(open_sequence("passes/shot_%04d.exr")))
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrender.errors import ConfigError
from genrender.gbuffer.exr.sequence import ExrSequence
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.moments import DEFAULT_FPS, Moment, seconds_of
from genrender.storage.limits import check_extent, check_rate

# A picture may be stretched by this much when it is brought to another size.
MAX_STRETCH = 0.02


@dataclass(frozen=True, eq=False)
class ExrShot:
    """Frames of a sequence, and the size and speed at which they are shown.

    Attributes:
        sequence: where they come from.
        frames: indices into the sequence.
        fps: frames per second.
        width: pixels per row.
        height: rows.
    """

    sequence: ExrSequence
    frames: tuple[int, ...]
    fps: float
    width: int
    height: int

    @classmethod
    def of(
        cls,
        sequence: ExrSequence,
        n_frames: int | None = None,
        fps: float | int | None = None,
        size: tuple[int, int] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> "ExrShot":
        """Frames of a sequence that follow each other.

        Args:
            sequence: where they come from.
            n_frames: None: all from `start` to `end`.
            fps: frames per second; None: what the files tell, else 24.
            size: width and height that frames are brought to; None: their own.
            start: number of the first frame, as in the files' names, or seconds as "0.5s"; None: the first.
            end: number of the last frame, likewise; `n_frames` must then be None. None: the last.

        Raises:
            ConfigError: there are fewer frames, the size has another shape, fps is out of range, or the
                clip is too large.
        """
        if fps is None:
            fps = sequence.fps or DEFAULT_FPS
        check_rate(fps)
        frames = _chosen(sequence, n_frames, float(fps), start, end)
        width, height = size or (sequence.width, sequence.height)
        check_extent(width, height, len(frames))
        stretch = width * sequence.height / (height * sequence.width)
        if not 1 / (1 + MAX_STRETCH) <= stretch <= 1 + MAX_STRETCH:
            raise ConfigError(
                f"size is {width}x{height}, and the files' pictures of {sequence.width}x{sequence.height} "
                "have another shape; give a size of their shape"
            )
        return cls(sequence, frames, float(fps), width, height)

    @property
    def n_frames(self) -> int:
        return len(self.frames)

    @property
    def times_s(self) -> tuple[float, ...]:
        """The frames' times in seconds."""
        return tuple((frame - self.frames[0]) / self.fps for frame in self.frames)

    def gbuffer(self, frame: int) -> GBuffer:
        """What one frame shows, read at every call; at another size the samples at the pixels' centres."""
        whole = self.sequence.gbuffer(self.frames[frame])
        if (whole.height, whole.width) == (self.height, self.width):
            return whole
        rows = ((np.arange(self.height) + 0.5) * whole.height / self.height).astype(np.int64)[:, None]
        columns = ((np.arange(self.width) + 0.5) * whole.width / self.width).astype(np.int64)
        return whole.at(rows, columns)

    def only(self, frames: Sequence[int]) -> "ExrShot":
        """The same with some of its frames, in the order given."""
        return replace(self, frames=tuple(self.frames[frame] for frame in frames))


def _chosen(
    sequence: ExrSequence, n_frames: int | None, fps: float, start: Moment | None, end: Moment | None
) -> tuple[int, ...]:
    """Indices of the frames from `start` on."""
    if end is not None and n_frames is not None:
        raise ConfigError("both an end and a number of frames are given; give one of them")
    numbers = sequence.numbers
    first, last = (
        default if moment is None else round(seconds_of(moment, fps, name) * fps, 6)
        for moment, default, name in ((start, numbers[0], "start"), (end, numbers[-1], "end"))
    )
    chosen = tuple(index for index, number in enumerate(numbers) if first <= number <= last)
    there = f"{sequence.path} holds frames {numbers[0]} to {numbers[-1]}"
    if not chosen or first < numbers[0] or last > numbers[-1]:
        raise ConfigError(f"frames {first:g} to {last:g} are asked for, and {there}; take others")
    if n_frames is not None and not 1 <= n_frames <= len(chosen):
        after = "" if start is None else f", {len(chosen)} of them from {first:g} on"
        raise ConfigError(f"frames is {n_frames}, expected 1 to {len(chosen)}: {there}{after}")
    return chosen[:n_frames]
