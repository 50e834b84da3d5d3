"""One value per frame, computed whenever it is looked at."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float

# RGB of a clip's frames, "F H W 3": all in memory, or each read when it is looked at. The underscores let two
# clips of one function differ in length.
Pictures = Sequence[Float[np.ndarray, "_H _W 3"]] | Float[np.ndarray, "_F _H _W 3"]
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
