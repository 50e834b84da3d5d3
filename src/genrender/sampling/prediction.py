"""From a model's output to the clean latents that it implies, and back, whatever the scheduler.

| here | meaning |
|---|---|
| alpha_bar | share of variance that is signal in the network's input, in (0, 1] |
| model_input | sqrt(alpha_bar) x0 / s + sqrt(1 - alpha_bar) epsilon, as the network sees it |
| s | spread of the clean latents that the network expects: 1, but for EDM's networks |
| epsilon | the noise in it |
| v | sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x0 / s |

Schedulers differ in the space in which they keep latents, but all show the network the same kind of input
(`scale_model_input`), so one formula serves them all. They differ in where they keep the noise levels, too,
which the table of samplers says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.backbones.samplers import Levels, sampler_of


@dataclass(frozen=True)
class X0Rule:
    """What clean latents follow from what a network sees and says at one evaluation.

    Attributes:
        alpha_bar: share of variance that is signal in the network's input.
        predicts: `epsilon`, `v_prediction` or `sample`; `minus_v` is v with its sign turned, which EDM's
            networks predict.
        spread: of the clean latents that the network expects.
    """

    alpha_bar: float
    predicts: str
    spread: float = 1.0

    def x0(
        self, output: Float32[Tensor, "F C h w"], model_input: Float32[Tensor, "F C h w"]
    ) -> Float32[Tensor, "F C h w"]:
        """The clean latents that a model output implies."""
        signal, noise = self.alpha_bar**0.5, (1 - self.alpha_bar) ** 0.5
        if self.predicts == "sample":
            return output
        if self.predicts == "epsilon":
            return (model_input - noise * output) / signal
        v = -output if self.predicts == "minus_v" else output
        return self.spread * (signal * model_input - noise * v)

    def output(
        self, x0: Float32[Tensor, "F C h w"], model_input: Float32[Tensor, "F C h w"]
    ) -> Float32[Tensor, "F C h w"]:
        """The model output that implies these clean latents: the inverse of `x0`."""
        # Without noise there is nothing to tell apart, and every output implies the input.
        signal, noise = self.alpha_bar**0.5, max((1 - self.alpha_bar) ** 0.5, 1e-6)
        if self.predicts == "sample":
            return x0
        if self.predicts == "epsilon":
            return (model_input - signal * x0) / noise
        v = (signal * model_input - x0 / self.spread) / noise
        return -v if self.predicts == "minus_v" else v


def x0_rules(scheduler: Any) -> list[X0Rule]:
    """How clean latents follow at every evaluation of the scheduler's current timesteps.

    Raises:
        ConfigError: nothing is known about the scheduler.
    """
    sampler, kind = sampler_of(scheduler), scheduler.config.get("prediction_type", "epsilon")
    spread = 1.0
    if sampler.is_edm:
        # Karras et al. (2022), table 1: with their c_skip and c_out, what a network says is v up to its sign.
        spread, kind = scheduler.config.sigma_data, "v_prediction" if kind == "v_prediction" else "minus_v"
    alpha_bars = ALPHA_BARS[sampler.levels](scheduler, len(scheduler.timesteps)).tolist()
    return [X0Rule(alpha_bar, kind, spread) for alpha_bar in alpha_bars]


def _of_sigmas(sigmas: Any, spread: float = 1.0) -> Float32[Tensor, "S"]:
    # Noise levels need not be those of whole timesteps (Karras et al. 2022).
    sigmas = torch.as_tensor(sigmas).float().cpu()
    return spread**2 / (spread**2 + sigmas**2)


def _of_interpolated(scheduler: Any, n_evaluations: int, offset: int) -> Float32[Tensor, "S"]:
    """Every second evaluation is made between two noise levels; another list has those, `offset` earlier."""
    sigmas, between = (torch.as_tensor(each).cpu() for each in (scheduler.sigmas, scheduler.sigmas_interpol))
    sigmas = sigmas[:n_evaluations].clone()
    sigmas[1::2] = between[1 - offset : n_evaluations - offset : 2]
    return _of_sigmas(sigmas)


def _of_midpoints(scheduler: Any, n_evaluations: int) -> Float32[Tensor, "S"]:
    """Every second evaluation is made half way between two noise levels, on their logarithms."""
    sigmas = scheduler.sigmas[:n_evaluations].clone()
    sigmas[1::2] = (sigmas[0 : n_evaluations - 1 : 2] * sigmas[1::2]).sqrt()
    return _of_sigmas(sigmas)


# alpha_bar of the network's input at every evaluation, of which there are so many.
ALPHA_BARS: dict[Levels, Callable[[Any, int], Float32[Tensor, "S"]]] = {
    "alphas": lambda of, _: of.alphas_cumprod[of.timesteps.long().cpu()].float(),
    "sigmas": lambda of, n: _of_sigmas(of.sigmas[:n]),
    "interpolated": partial(_of_interpolated, offset=0),
    "interpolated before": partial(_of_interpolated, offset=1),
    "midpoints": _of_midpoints,
    "edm": lambda of, n: _of_sigmas(of.sigmas[:n], of.config.sigma_data),
}
