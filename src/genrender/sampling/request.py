"""What can be told to be wrong with a call of the pipeline before anything is computed."""

from collections.abc import Sequence
from typing import Any

from genrender.config import MethodConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.sampling.appearance import Appearance


def check_request(
    prompt: Any,
    negative_prompt: Any,
    gbuffers: Sequence[GBuffer],
    n_steps: int,
    chunk_size: int,
    output_type: str,
    vae_factor: int,
) -> None:
    """Raises ConfigError for arguments that make no clip; see `GenerativeRenderingPipeline.__call__`."""
    # diffusers takes a list of prompts as a batch of pictures, but a clip has one prompt.
    for name, text in (("prompt", prompt), ("negative prompt", negative_prompt)):
        if not (isinstance(text, str) or (text is None and name == "negative prompt")):
            raise ConfigError(
                f"the {name} is of type {type(text).__name__}, expected one str: call once per clip"
            )
    if not gbuffers:
        raise ConfigError("no G-buffers: expected one per frame, at least one")
    sizes = {(gbuffer.height, gbuffer.width) for gbuffer in gbuffers}
    if len(sizes) > 1:
        raise ConfigError(f"G-buffers of several sizes {sorted(sizes)}: render all frames at one size")
    height, width = next(iter(sizes))
    if height % vae_factor or width % vae_factor:
        near = "x".join(str(max(side // vae_factor, 1) * vae_factor) for side in (width, height))
        raise ConfigError(
            f"pictures of {width}x{height} pixels: expected multiples of the VAE factor {vae_factor}, "
            f"for instance {near}"
        )
    for name, value in (("num_inference_steps", n_steps), ("chunk_size", chunk_size)):
        if value < 1:
            raise ConfigError(f"{name} is {value}, expected at least 1")
    if output_type not in ("np", "pil", "latent"):
        raise ConfigError(f"output_type is {output_type!r}, expected np, pil or latent")


def check_appearance(
    appearance: Appearance,
    gbuffers: Sequence[GBuffer],
    config: MethodConfig,
    n_evaluations: int,
    channels: int,
) -> None:
    """Raises ConfigError where another run's appearance cannot be taken over by this one.

    Args:
        appearance: of the other run.
        gbuffers: of this clip, one size throughout.
        config: this run's method.
        n_evaluations: of the model, per frame.
        channels: of the latents.
    """
    config.check_can_carry_appearance()
    their_evaluations, _, their_channels, *_ = appearance.latents.shape
    theirs = (*appearance.control.shape[1:], their_evaluations, their_channels)
    ours = (gbuffers[0].height, gbuffers[0].width, n_evaluations, channels)
    if theirs != ours:
        raise ConfigError(
            f"the appearance is of height, width, steps and channels {theirs}, expected {ours}: "
            "make both runs alike in these"
        )
