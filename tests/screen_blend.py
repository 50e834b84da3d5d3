"""What engines without geometry hand out, for tests of what is done with it."""

from collections.abc import Callable

import torch
from torch import Tensor


class ScreenBlend:
    """Keyframes' features go to frames by a rule of the test's own; pixels show what lies in the same place.

    Args:
        carry: features "K C h w" of the keyframes to features "F C h w" of the frames.
        valid: which of the frames' pixels show surface; all of it is seen.
    """

    def __init__(self, carry: Callable[[Tensor], Tensor], valid: Tensor) -> None:
        self.surface = valid
        self._carry = carry

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self._carry(features), self.surface

    def shows(self, pixels: Tensor) -> Tensor:
        return torch.logical_and(self.surface, pixels.any(0))
