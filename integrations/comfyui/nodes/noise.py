"""Mechanism 1: the initial noise of a clip lives on its surfaces."""

from typing import Any, get_args

import torch
from comfy_api.latest import io

from genrender.config import NoiseConfig, NoiseMode
from genrender.errors import ConfigError
from genrender.noise.initial import surface_noise

from .types import CATEGORY, CLIP, RenderedClip, progress

# Channels of the latents of Stable Diffusion 1.x, 2.x and XL, and picture pixels along a latent pixel.
USUAL_LATENTS = (4, 8)


class SurfaceNoise:
    """A NOISE: what a custom sampler asks for its noise.

    Attributes:
        seed: of the noise, and of whatever else the sampler draws.
    """

    def __init__(self, noise: torch.Tensor, seed: int) -> None:
        self._noise, self.seed = noise, seed

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        """The noise of latents.

        Raises:
            ConfigError: they are no latents of this clip.
        """
        wanted, there = tuple(input_latent["samples"].shape), tuple(self._noise.shape)
        if wanted != there:
            raise ConfigError(
                f"the latents are {wanted}, and the clip's noise is {there}: connect `latent` of Surface "
                "Noise, or encode as many frames of the clip's size"
            )
        return self._noise


class SurfaceNoiseNode(io.ComfyNode):
    """Noise that moves with the surfaces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderSurfaceNoise",
            display_name="Surface Noise",
            category=CATEGORY,
            description="Initial noise that moves with the surfaces, for SamplerCustomAdvanced, or as a "
            "latent for samplers whose own noise is switched off.",
            search_aliases=["warped noise", "noise"],
            inputs=[
                CLIP.Input("clip"),
                io.Int.Input("seed", default=0, min=0, max=2**63 - 1, control_after_generate=True),
                io.Combo.Input(
                    "mode",
                    options=list(get_args(NoiseMode)),
                    default="bridge",
                    tooltip="bridge and partition move with the surfaces and are white at every zoom",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Then `noise_latent` is what KSampler (Advanced) and SamplerCustom start from, "
                    "with add_noise off",
                ),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="For SamplerCustomAdvanced"),
                io.Latent.Output(display_name="latent", tooltip="Empty, one for every frame of the clip"),
                io.Latent.Output(
                    display_name="noise_latent",
                    tooltip="The noise itself; of unit variance, or with a model at its highest level",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip: RenderedClip, seed: int, mode: NoiseMode, model: Any = None) -> io.NodeOutput:
        latents = USUAL_LATENTS
        if model is not None:
            told = model.get_model_object("latent_format")
            latents = (told.latent_channels, told.spacial_downscale_ratio)
        noise = clip_noise(clip, seed, NoiseConfig(mode=mode), latents)
        at_start = noise if model is None else _at_highest_level(noise, model)
        empty = {"samples": torch.zeros_like(noise)}
        return io.NodeOutput(SurfaceNoise(noise, seed), empty, {"samples": at_start})


def clip_noise(
    clip: RenderedClip, seed: int, config: NoiseConfig, latents: tuple[int, int] = USUAL_LATENTS
) -> torch.Tensor:
    """The noise "F C h w" of all frames, found frame by frame."""
    gbuffers, report, frames = clip.clip.gbuffers, progress(), []
    for frame in range(len(gbuffers)):
        one = gbuffers[frame : frame + 1]
        frames.append(surface_noise(one, *latents, seed, config, [frame]))
        report("noise", frame + 1, len(gbuffers))
    return torch.cat(frames)


def _at_highest_level(noise: torch.Tensor, model: Any) -> torch.Tensor:
    """The noise as latents from which a sampler starts that adds none of its own."""
    sampling = model.get_model_object("model_sampling")
    sigma = torch.as_tensor(sampling.sigma_max).float()
    scaled = sampling.noise_scaling(sigma, noise, torch.zeros_like(noise), True)
    # A sampler takes latents as the autoencoder leaves them, and scales them itself.
    return model.get_model_object("latent_format").process_out(scaled)
