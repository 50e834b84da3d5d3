"""From latents to pictures, in one place for all families of models."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def unscaled(vae: Any, latents: Float[Tensor, "1 C h w"]) -> Float[Tensor, "1 C h w"]:
    """Latents as the autoencoder made them, of those that a denoiser makes, whose spread is about 1.

    Autoencoders tell the mean and spread of each channel, or one factor and, for flow matching, one shift.
    """
    config = vae.config
    mean, std = (config.get(name) for name in ("latents_mean", "latents_std"))
    if mean is not None and std is not None:
        mean, std = (torch.tensor(each).to(latents).view(1, -1, 1, 1) for each in (mean, std))
        return latents * std / config.scaling_factor + mean
    latents = latents / config.scaling_factor
    shift = config.get("shift_factor")
    return latents + shift if shift else latents


@contextmanager
def decoding_precision(vae: Any, overflows_in_float16: bool) -> Iterator[None]:
    """In float32 where the autoencoder's float16 overflows and its settings say so, else as it is."""
    own = vae.dtype
    if not (overflows_in_float16 and own == torch.float16 and vae.config.get("force_upcast")):
        yield
        return
    # diffusers' own `to` warns of modules to keep in float32, which autoencoders do not have.
    torch.nn.Module.to(vae, torch.float32)
    try:
        yield
    finally:
        torch.nn.Module.to(vae, own)


@torch.no_grad()
def decoded(
    vae: Any, latents: Float[Tensor, "1 C h w"], overflows_in_float16: bool = False
) -> Float[Tensor, "1 3 H W"]:
    """The picture of a frame's latents, in about [-1, 1], in the precision of the autoencoder.

    Whole, unless diffusers' `vae.enable_tiling()` was called: tiles need less memory, but norms that see a
    part of a picture give it other tones, so that tiles show in even regions (`benchmarks/decoding.py`).

    Args:
        vae: an AutoencoderKL or AutoencoderTiny of any factor.
        latents: as a denoiser makes them.
        overflows_in_float16: the family's autoencoders do where their settings ask for `force_upcast`. All
            settings do that name nothing else, so the family has to say whether it is meant.
    """
    with decoding_precision(vae, overflows_in_float16):
        return vae.decode(unscaled(vae, latents.to(vae.dtype)), return_dict=False)[0]
