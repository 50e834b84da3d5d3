"""Windows of consecutive frames for networks that see frames together, and one output made of all windows.

Source: context length, overlap and pyramid weights as in AnimateDiff-Evolved's sliding context windows, after
MultiDiffusion (Bar-Tal et al. 2023, 2302.08113), which averages predictions of overlapping parts.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

# Frames that two neighbouring windows share at least.
OVERLAP = 4


def frame_windows(n_frames: int, length: int) -> list[list[int]]:
    """Windows of `length` consecutive frames that cover a clip evenly; a shorter clip is one window.

    Example:
        >>> [(window[0], window[-1]) for window in frame_windows(40, 16)]
        [(0, 15), (12, 27), (24, 39)]
    """
    if n_frames <= length:
        return [list(range(n_frames))]
    stride = max(length - OVERLAP, 1)
    n_gaps = -(-(n_frames - length) // stride)
    starts = [(n_frames - length) * gap // n_gaps for gap in range(n_gaps + 1)]
    return [list(range(start, start + length)) for start in starts]


def window_weights(length: int) -> list[int]:
    """How much a window counts for each of its frames: most in the middle, least at its ends."""
    return [min(place + 1, length - place) for place in range(length)]


def run_windows(
    windows: Sequence[list[int]], work: Callable[[list[int]], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Give windows to `work`, one at a time, and average what it says of frames that several windows hold.

    Yields:
        Frames that no later window holds, and the output for them, in order: no more than a window's
        outputs are kept.
    """
    total: dict[int, int] = {}
    for window in windows:
        for frame, weight in zip(window, window_weights(len(window)), strict=True):
            total[frame] = total.get(frame, 0) + weight
    pending: dict[int, Tensor] = {}
    for number, window in enumerate(windows):
        output = work(window)
        for row, (frame, weight) in enumerate(zip(window, window_weights(len(window)), strict=True)):
            # The share of a frame in one window is 1 to the bit.
            own = output[row] * (weight / total[frame])
            pending[frame] = pending[frame] + own if frame in pending else own
        later = windows[number + 1][0] if number + 1 < len(windows) else window[-1] + 1
        done = [frame for frame in pending if frame < later]
        yield done, torch.stack([pending.pop(frame) for frame in done])
