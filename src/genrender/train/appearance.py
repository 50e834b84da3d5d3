"""Whether a model's self-attention carries appearance: if it does not, sharing attention shows nothing.

A picture is painted with several seeds from a prompt that leaves the look open. Then the same seeds are
painted once more with the keys and values of one of them. Where attention decides the look, all come out in
that one's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from jaxtyping import Bool, Float, Float32, UInt8
from rich.progress import track
from torch import Tensor

from genrender.backbones.attention_sites import installed_processors, self_attention_layers
from genrender.config import InjectionConfig, MethodConfig
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_error
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.shots.clip import Clip
from genrender.train.data import PROGRESS

# Besides the one whose keys and values are shared.
N_SEEDS = 5


class SharedKeys:
    """Attention processor: a guidance branch's pictures all attend to the first one's keys and values."""

    def __init__(self, n_branches: int) -> None:
        self.n_branches = n_branches
        self.inner = AttnProcessor2_0()

    def __call__(self, attn: Any, hidden_states: Float[Tensor, "B L C"], *_: Any, **__: Any) -> Tensor:
        branches = hidden_states.unflatten(0, (self.n_branches, -1))
        first = branches[:, :1].expand_as(branches).flatten(0, 1)
        return self.inner(attn, hidden_states, first)


@contextmanager
def shared_keys(unet: UNet2DConditionModel, n_branches: int) -> Iterator[None]:
    """Let every self-attention layer share the first picture's keys and values; undone in any case."""
    ours = {layer: SharedKeys(n_branches) for layer in self_attention_layers(unet)}
    with installed_processors(unet, ours):
        yield


@torch.no_grad()
def paint_seeds(
    pipeline: GenerativeRenderingPipeline,
    depth: UInt8[np.ndarray, "H W"],
    prompt: str,
    guidance_scale: float,
    seeds: list[int],
    n_steps: int,
) -> Float32[np.ndarray, "S H W 3"]:
    """One picture per seed through diffusers' own ControlNet pipeline, which the method leaves untouched."""
    control = torch.from_numpy(depth)[None, None].expand(1, 3, -1, -1).float() / 255
    factor = pipeline.vae_scale_factor
    shape = (pipeline.unet.config.in_channels, *(side // factor for side in depth.shape))
    latents = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    pictures: Any = StableDiffusionControlNetPipeline.__call__(
        pipeline,
        prompt,
        control,
        num_images_per_prompt=len(seeds),
        num_inference_steps=n_steps,
        guidance_scale=guidance_scale,
        latents=torch.stack(latents),
        output_type="np",
    )
    return pictures.images


def color_spread(pictures: Float[np.ndarray, "S H W 3"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Standard deviation over pictures of the object's mean colour, averaged over the channels."""
    means = pictures[:, mask].mean(axis=1)
    return float(means.std(axis=0).mean())


def spread_ratio(
    pipeline: GenerativeRenderingPipeline,
    prompts: Sequence[tuple[UInt8[np.ndarray, "H W"], str]],
    guidance_scale: float,
    n_steps: int,
) -> float:
    """Colour spread over seeds with one seed's keys and values, relative to that without; 1: no effect.

    Args:
        pipeline: the model.
        prompts: depth control images, each with a prompt that names no colour.
        guidance_scale: weight of classifier-free guidance.
        n_steps: diffusion steps.
    """
    alone, shared = [], []
    for index, (depth, prompt) in enumerate(prompts):
        seeds = [1000 * index + seed for seed in range(1 + N_SEEDS)]
        arguments = (pipeline, depth, prompt, guidance_scale, seeds, n_steps)
        alone.append(color_spread(paint_seeds(*arguments)[1:], depth > 0))
        with shared_keys(pipeline.unet, 2 if guidance_scale > 1 else 1):
            shared.append(color_spread(paint_seeds(*arguments)[1:], depth > 0))
    return float(np.mean(shared) / np.mean(alone))


def injection_effect(
    pipeline: GenerativeRenderingPipeline,
    clips: Sequence[tuple[Clip, str]],
    guidance_scale: float,
    n_steps: int,
) -> dict[str, float]:
    """What the injections change in clips whose noise lives on the surface, prompts leaving the look open.

    Args:
        pipeline: the model.
        clips: each with what it shows.
        guidance_scale: weight of classifier-free guidance.
        n_steps: diffusion steps.

    Returns:
        With injections over without, means over the clips: `injected_surface_error_ratio`, between
        neighbouring frames, and `injected_sharpness_ratio`.
    """
    ratios: dict[str, list[float]] = {"injected_surface_error_ratio": [], "injected_sharpness_ratio": []}
    methods = (MethodConfig(injection=InjectionConfig(pre_attn=False, alpha=0.0)), MethodConfig())
    for clip, noun in track(clips, description="injections", console=PROGRESS):
        errors, sharp = [], []
        for method in methods:
            frames = pipeline(
                f"a {noun}",
                clip.gbuffers,
                config=method,
                num_inference_steps=n_steps,
                guidance_scale=guidance_scale,
            ).frames
            errors.append(surface_error(frames, clip.tracker))
            sharp.append(sharpness(frames, clip.gbuffers))
        ratios["injected_surface_error_ratio"].append(errors[1] / errors[0])
        ratios["injected_sharpness_ratio"].append(sharp[1] / sharp[0])
    return {name: float(np.mean(values)) for name, values in ratios.items()}
