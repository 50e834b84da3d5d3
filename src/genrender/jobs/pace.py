"""How fast the networks are here: timed before a run, so that its user knows what is ahead."""

import time
from typing import Any

import torch

# What a step takes, keyframes' passes and surface features included, as a multiple of the networks' plain
# passes for all frames (measured with pocket: 2.0 with 8 frames; keyframes are fewer among more).
STEP_OVERHEAD = 2.0
# A second pass is timed, since the first one pays for what is made once; not where the first was slow anyway.
SLOW_S = 2.0


@torch.no_grad()
def seconds_per_pass(pipeline: Any, latent_size: tuple[int, int]) -> float:
    """Seconds that UNet and ControlNet take for one frame and one branch, timed on numbers without meaning.

    Args:
        pipeline: a `GenerativeRenderingPipeline`.
        latent_size: rows and columns of the latents.
    """
    unet, controlnet = pipeline.unet, pipeline.controlnet
    device, dtype = pipeline._execution_device, unet.dtype
    factor = pipeline.vae_scale_factor
    rows, columns = latent_size
    latents = torch.zeros(1, unet.config.in_channels, rows, columns, device=device, dtype=dtype)
    picture = torch.zeros(1, 3, rows * factor, columns * factor, device=device, dtype=dtype)
    n_tokens, width = pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim
    text = torch.zeros(1, n_tokens, width, device=device, dtype=dtype)
    timestep = torch.tensor(500, device=device)

    def run() -> float:
        started_s = time.perf_counter()
        down, mid = controlnet(latents, timestep, text, picture, return_dict=False)
        unet(
            latents,
            timestep,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started_s

    first_s = run()
    return first_s if first_s > SLOW_S else min(first_s, run())


def seconds_of_run(pass_s: float, n_frames: int, n_steps: int, n_branches: int) -> float:
    """About how long the diffusion of a clip takes, within a factor of two.

    Args:
        pass_s: see `seconds_per_pass`.
        n_frames: frames of the clip.
        n_steps: diffusion steps.
        n_branches: 2 under guidance, else 1.
    """
    return pass_s * n_frames * n_steps * n_branches * STEP_OVERHEAD
