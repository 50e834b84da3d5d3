"""One value per frame, computed whenever it is looked at."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class PerFrame(Sequence[Value], Generic[Value]):
    """One value per frame, computed whenever it is looked at, so that a clip need not lie in memory."""

    def __init__(self, at: Callable[[int], Value], n_frames: int):
        self.at = at
        self.n_frames = n_frames

    def __len__(self) -> int:
        return self.n_frames

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.at(frame) for frame in range(self.n_frames)[index]]
        return self.at(range(self.n_frames)[index])
