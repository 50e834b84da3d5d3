"""Tiny models under control networks: run by our denoisers and by diffusers' pipelines, frame by frame."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from tiny_controls import other_controlnet, random_pictures
from tiny_models import tiny_components, tiny_unet
from tiny_sdxl import SDXL_UNET, sdxl_components
from torch import Tensor

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions, Step
from genrender.backbones.recipe import Control
from genrender.config import PER_FRAME
from genrender.injection.state import AttentionState

HEIGHT, WIDTH, N_FRAMES, N_STEPS = 48, 64, 3, 4  # latents of 6 x 8, for adapters that halve them at once
PICTURES = random_pictures(N_FRAMES, HEIGHT, WIDTH)
PROMPT, NEGATIVE = "a red fox", "blurry"


# Three levels, as T2I-Adapters of SDXL need them.
THREE_LEVELS = {
    "block_out_channels": (8, 16, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1, 2),
}
SD = tiny_components() | {"safety_checker": None, "feature_extractor": None}
XL = sdxl_components() | {"unet": tiny_unet(**(SDXL_UNET | THREE_LEVELS))}
SD_UNET, XL_UNET = SD["unet"], XL["unet"]
FIRST, SECOND = SD.pop("controlnet"), other_controlnet(SD_UNET)


def unit_latents() -> Tensor:
    return torch.randn(N_FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


def ours(
    components: Mapping[str, Any],
    held: Any,
    controls: Sequence[Control],
    guidance_scale: float = 5.0,
    guess_mode: bool = False,
    n_steps: int = N_STEPS,
    object_prompts: Mapping[int, str] | None = None,
) -> Tensor:
    """Latents of frames that are denoised side by side, with all injections off."""
    is_xl = "text_encoder_2" in components
    kind: Any = StableDiffusionXLControlNetPipeline if is_xl else StableDiffusionControlNetPipeline
    pipeline = kind(**components, controlnet=FIRST)
    pipeline.register_modules(controlnet=held)
    backbone = backbone_of(pipeline)
    conditions = Conditions(
        PROMPT,
        NEGATIVE,
        object_prompts or {},
        guidance_scale=guidance_scale,
        controls=tuple(controls),
        guess_mode=guess_mode,
    )
    size = (HEIGHT // 8, WIDTH // 8)
    denoiser = backbone.conditioned(conditions, lambda frames, s: torch.ones(len(frames), *s).long(), size)
    scheduler = backbone.scheduler
    scheduler.set_timesteps(n_steps)
    latents = unit_latents() * scheduler.init_noise_sigma
    pictures = {kind: PICTURES[kind] for kind in denoiser.control_kinds}
    first = Step(0, n_steps, scheduler.timesteps[0])
    attention = AttentionState(PER_FRAME.injection, denoiser.n_branches(first), None)
    with torch.no_grad(), denoiser.injected(attention):
        for index, timestep in enumerate(scheduler.timesteps):
            seen = scheduler.scale_model_input(latents, timestep)
            output = denoiser.predict(seen, Step(index, n_steps, timestep), pictures, range(N_FRAMES))
            latents = scheduler.step(output, timestep, latents).prev_sample
    return latents


def theirs(pipeline: Any, picture: Callable[[int], Any], image: str = "image", **arguments: Any) -> Tensor:
    """Each frame on its own through a pipeline of diffusers."""
    pipeline.set_progress_bar_config(disable=True)
    return torch.cat(
        [
            pipeline(
                PROMPT,
                **{image: picture(frame)},
                negative_prompt=NEGATIVE,
                latents=unit_latents()[[frame]],
                num_inference_steps=N_STEPS,
                output_type="latent",
                height=HEIGHT,
                width=WIDTH,
                **({"guidance_scale": 5.0} | arguments),
            ).images
            for frame in range(N_FRAMES)
        ]
    )


def of(*kinds: str) -> Callable[[int], Any]:
    """A frame's pictures of these kinds, as diffusers takes them."""
    if len(kinds) == 1:
        return lambda frame: PICTURES[kinds[0]][[frame]]
    return lambda frame: [PICTURES[kind][[frame]] for kind in kinds]


def assert_equal(result: Tensor, expected: Tensor, plain: Tensor) -> None:
    """`plain` is without what is tested, which must matter."""
    assert (result - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert (expected - plain).abs().max() > 1e-2
