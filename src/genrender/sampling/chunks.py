"""Frames go through the networks a chunk at a time, and fewer at a time where memory does not suffice."""

from collections.abc import Callable, Iterator, Sequence

import torch
from accelerate.utils.memory import clear_device_cache
from diffusers.utils import logging
from torch import Tensor

from genrender.storage.memory import MemoryGrowth

logger = logging.get_logger(__name__)


def frame_chunks(n_frames: int, chunk_size: int) -> list[list[int]]:
    """Consecutive frame numbers in chunks of at most `chunk_size`."""
    return [list(range(start, min(start + chunk_size, n_frames))) for start in range(0, n_frames, chunk_size)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device has told that its memory does not suffice."""
    # Only CUDA has a class of its own for this; the others tell it in words.
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


class Chunks:
    """How many frames go through a network at once: halved whenever they are too many for the memory.

    Args:
        size: frames to begin with, at least 1.
        is_aligned: chunks end where multiples of their size do, so that it does not matter which frames are
            asked for.

    Attributes:
        growth: looked at after every chunk.
    """

    def __init__(self, size: int, is_aligned: bool = False) -> None:
        self.size = size
        self._is_aligned = is_aligned
        self.growth = MemoryGrowth()

    def run(
        self, frames: Sequence[int], work: Callable[[list[int]], Tensor]
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Give frames to `work`, at most `size` at once; what it says is too much for the memory goes to it
        again in two halves, down to single frames.

        Yields:
            The frames of a chunk and what became of them, in order.
        """
        start = 0
        while start < len(frames):
            chunk = list(frames[start : start + self.size])
            if self._is_aligned:
                chunk = [frame for frame in chunk if frame // self.size == chunk[0] // self.size]
            try:
                result = work(chunk)
            except (MemoryError, RuntimeError) as error:
                if len(chunk) == 1 or not is_out_of_memory(error):
                    raise
                self.size = len(chunk) // 2
                logger.warning(
                    f"the memory does not suffice for {len(chunk)} frames at once; "
                    f"going on with chunks of {self.size}"
                )
            else:
                yield chunk, result
                start += len(chunk)
                del result
                self.growth.limit()
                continue
            # Not before the error is gone: its traceback holds what the failed attempt had allocated.
            clear_device_cache(garbage_collection=True)
