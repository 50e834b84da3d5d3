"""Everything that a run needs to go on after a step as if it had never stopped."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor


@dataclass(frozen=True)
class StepState:
    """Where a run stands between two steps.

    Attributes:
        step: how many evaluations of the model are done.
        latents: of all frames, as the scheduler keeps them.
        scheduler: what the scheduler remembers: multistep samplers need earlier outputs, others count.
        generator: state of the generator that stochastic schedulers draw from.
    """

    step: int
    latents: Float32[Tensor, "F C h w"]
    scheduler: dict[str, Any]
    generator: Tensor

    @classmethod
    def capture(cls, step: int, latents: Tensor, scheduler: Any, generator: torch.Generator) -> "StepState":
        """The state now. Tensors are shared, not copied: store them before the next step."""
        remembered = {
            name: value
            for name, value in vars(scheduler).items()
            if not name.startswith("_internal") and _can_be_stored(value)
        }
        return cls(step, latents, remembered, generator.get_state())

    def restore(self, scheduler: Any, generator: torch.Generator) -> None:
        """Put scheduler, whose timesteps are set, and generator back into this state."""
        vars(scheduler).update(self.scheduler)
        generator.set_state(self.generator)


def _can_be_stored(value: object) -> bool:
    """Whether PyTorch's safe loader reads it back. What else schedulers hold follows from their settings."""
    if isinstance(value, list | tuple):
        return all(map(_can_be_stored, value))
    return value is None or isinstance(value, Tensor | bool | int | float | str)
