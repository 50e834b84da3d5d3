"""From a model's output to the clean latents that it implies, and back, whatever the scheduler.

| here | meaning |
|---|---|
| alpha_bar | share of variance that is signal in the network's input, in (0, 1] |
| model_input | sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) epsilon, as the network sees it |
| epsilon | the noise in it |
| v | sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x0 |

Schedulers differ in the space in which they keep latents, but all show the network the same kind of input
(`scale_model_input`), so one formula serves them all.
"""

from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.errors import ConfigError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def signal_shares(scheduler: Any) -> Float32[Tensor, "S"]:
    """alpha_bar of the network's input at every evaluation of the scheduler's current timesteps.

    Raises:
        ConfigError: the scheduler's networks predict something else than noise, v or the picture.
    """
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind not in PREDICTION_TYPES:
        raise ConfigError(
            f"{type(scheduler).__name__} predicts {kind!r}, and clean latents are known for "
            f"{', '.join(PREDICTION_TYPES)}: choose another scheduler, or leave latent normalisation and x0 "
            "synchronisation off"
        )
    n_evaluations = len(scheduler.timesteps)
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) >= n_evaluations:
        # Noise levels need not be those of whole timesteps (Karras et al. 2022).
        return 1 / (1 + torch.as_tensor(sigmas[:n_evaluations]).float().cpu() ** 2)
    return scheduler.alphas_cumprod[scheduler.timesteps.long().cpu()].float()


def predicted_x0(
    output: Float32[Tensor, "F C h w"],
    model_input: Float32[Tensor, "F C h w"],
    alpha_bar: float,
    prediction_type: str,
) -> Float32[Tensor, "F C h w"]:
    """The clean latents that a model output implies."""
    signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    if prediction_type == "sample":
        return output
    if prediction_type == "v_prediction":
        return signal * model_input - noise * output
    return (model_input - noise * output) / signal


def output_for_x0(
    x0: Float32[Tensor, "F C h w"],
    model_input: Float32[Tensor, "F C h w"],
    alpha_bar: float,
    prediction_type: str,
) -> Float32[Tensor, "F C h w"]:
    """The model output that implies these clean latents: the inverse of `predicted_x0`."""
    signal, noise = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    if prediction_type == "sample":
        return x0
    # Without noise there is nothing to tell apart, and every output implies the input.
    noise = max(noise, 1e-6)
    if prediction_type == "v_prediction":
        return (signal * model_input - x0) / noise
    return (model_input - signal * x0) / noise
