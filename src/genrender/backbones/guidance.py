"""Guidance: how what a model says with and without the prompt becomes one output, step by step."""

import copy
from dataclasses import dataclass
from typing import Any

from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from jaxtyping import Float32
from torch import Tensor

from genrender.backbones.protocol import Step
from genrender.errors import ConfigError


@dataclass(frozen=True)
class Guidance:
    """How the branches of a model's output are combined.

    Attributes:
        scale: weight of classifier-free guidance; 1 or less does without.
        rescale: share in [0, 1] of the output that gets the conditional branch's spread, against too bright
            pictures.
        guider: of diffusers, which says what is combined when, and how; then neither of the above counts.
    """

    scale: float
    rescale: float = 0.0
    guider: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.rescale <= 1:
            raise ConfigError(f"guidance_rescale is {self.rescale:g}, expected a number in 0..1")
        if self.guider is not None:
            check_guider(self.guider)
            # It is told about every step, and other runs may have it, too.
            object.__setattr__(self, "guider", copy.copy(self.guider))

    @property
    def is_on(self) -> bool:
        """Whether an unconditional branch is wanted, at some steps at least."""
        return self.scale > 1 if self.guider is None else True

    def n_branches(self, step: Step) -> int:
        """2 where the unconditional branch is needed at a step, else 1."""
        if self.guider is None:
            return 1 + self.is_on
        self._tell(step)
        return self.guider.num_conditions

    def combined(
        self,
        conditional: Float32[Tensor, "F C h w"],
        unconditional: Float32[Tensor, "F C h w"] | None,
        step: Step,
    ) -> Float32[Tensor, "F C h w"]:
        """The guided output; without an unconditional one at a step, `unconditional` is None."""
        if self.guider is not None:
            self._tell(step)
            combined = self.guider.forward(conditional, unconditional)
            # In older versions of diffusers a tuple, whose first entry it is.
            return combined.pred if hasattr(combined, "pred") else combined[0]
        if unconditional is None:
            return conditional
        # lerp would round differently from diffusers, whose output we promise to match.
        output = unconditional + self.scale * (conditional - unconditional)
        return rescale_noise_cfg(output, conditional, self.rescale) if self.rescale > 0 else output

    def _tell(self, step: Step) -> None:
        self.guider.set_state(step.index, step.n_steps, step.timestep)


def check_guider(guider: Any) -> None:
    """Raises ConfigError for a guider that cannot be honoured.

    That is one which asks the networks for more than a conditional and an unconditional output, or remembers
    outputs of earlier steps, which would be those of other frames.
    """
    name = type(guider).__name__
    if not isinstance(guider, BaseGuidance):
        raise ConfigError(f"the guider is a {name}, expected one of diffusers.guiders")
    asks_for_more = guider._input_predictions != ["pred_cond", "pred_uncond"]
    changes_networks = type(guider).prepare_models is not BaseGuidance.prepare_models
    if asks_for_more or changes_networks:
        raise ConfigError(
            f"the guider {name} runs the networks with layers left out, which is not done here: choose one "
            "that combines a conditional and an unconditional output, such as ClassifierFreeGuidance"
        )
    if getattr(guider, "adaptive_projected_guidance_momentum", None) is not None:
        raise ConfigError(
            f"the guider {name} has momentum, which mixes outputs of different frames: set "
            "adaptive_projected_guidance_momentum=None"
        )
