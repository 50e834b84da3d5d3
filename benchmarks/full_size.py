"""Networks as large as the real ones, with random weights: what a step of a clip takes in memory and time.

    python benchmarks/full_size.py sd15 [--size 512] [--frames 2] [--steps 1] [--dtype bfloat16] [--json]
    python benchmarks/full_size.py sdxl [--size 1024] [--save FOLDER]

Memory and speed do not depend on the values. Nobody has run this with real weights here. `--save` writes the
networks as a folder in diffusers' layout and ends.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from shared import WALKING_BIPED, new_parser
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from genrender.backbones.loading import default_device
from genrender.backbones.precision import default_dtype
from genrender.backbones.sources import POCKET_FOLDER
from genrender.pipeline import GenerativeRenderingPipeline, GenerativeRenderingXLPipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip
from genrender.storage.memory import gpu_peak_memory_mb, peak_memory_mb

NOISE_LEVELS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# As large as those of networks that were trained: features neither vanish nor overflow.
WEIGHT_STD = 0.02
# The text encoder that both have.
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}

Make = Callable[[], torch.nn.Module]


def random_sd15(dtype: torch.dtype = torch.float32) -> GenerativeRenderingPipeline:
    """Stable Diffusion 1.5's networks with a ControlNet, untrained; the pocket model's words."""
    unet = random_network(lambda: UNet2DConditionModel(cross_attention_dim=768, sample_size=64), dtype)
    tokenizer = CLIPTokenizer.from_pretrained(POCKET_FOLDER / "tokenizer")
    return GenerativeRenderingPipeline(
        vae=random_network(lambda: _vae(512), dtype),
        text_encoder=random_network(lambda: CLIPTextModel(_text_config(tokenizer, **CLIP_L)), dtype),
        tokenizer=tokenizer,
        unet=unet,
        controlnet=random_network(lambda: _controlnet(unet), dtype),
        scheduler=DDIMScheduler(**NOISE_LEVELS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    )


def random_sdxl(dtype: torch.dtype = torch.float32) -> GenerativeRenderingXLPipeline:
    """Stable Diffusion XL's networks with a ControlNet, untrained; the pocket model's words."""
    unet = random_network(
        lambda: UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),  # pyright: ignore[reportArgumentType] (one a block)
            attention_head_dim=(5, 10, 20),  # pyright: ignore[reportArgumentType] (likewise)
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        ),
        dtype,
    )
    second: dict[str, Any] = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "hidden_act": "gelu",
    }
    tokenizer = CLIPTokenizer.from_pretrained(POCKET_FOLDER / "tokenizer")
    return GenerativeRenderingXLPipeline(
        vae=random_network(lambda: _vae(1024, scaling_factor=0.13025, force_upcast=True), dtype),
        text_encoder=random_network(lambda: CLIPTextModel(_text_config(tokenizer, **CLIP_L)), dtype),
        text_encoder_2=random_network(
            lambda: CLIPTextModelWithProjection(_text_config(tokenizer, **second)), dtype
        ),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        controlnet=random_network(lambda: _controlnet(unet), dtype),
        scheduler=EulerDiscreteScheduler(**NOISE_LEVELS, steps_offset=1, timestep_spacing="leading"),
    )


def random_sd15_vae(dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    """Stable Diffusion 1.5's autoencoder alone, untrained."""
    return random_network(lambda: _vae(512), dtype)


MODELS = {"sd15": (random_sd15, 512), "sdxl": (random_sdxl, 1024)}


def random_network(make: Make, dtype: torch.dtype) -> Any:
    """A network whose weights are drawn, without the time and memory of its own way to begin."""
    with torch.device("meta"):
        network = make().to(dtype)
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    # One draw serves all: values do not matter here, and drawing billions of them takes minutes.
    drawn = torch.randn(1 << 20, generator=generator).mul_(WEIGHT_STD).to(dtype)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.zero_()
            elif tensor.dim() == 1:
                tensor.fill_(1)
            else:
                tensor.copy_(
                    drawn.repeat(-(-tensor.numel() // len(drawn)))[: tensor.numel()].view(tensor.shape)
                )
        for name, tensor in network.named_buffers():
            assert name.endswith("position_ids"), name
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    return network


def _controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    return ControlNetModel.from_unet(unet, load_weights_from_unet=False)


def _vae(size: int, **settings: Any) -> AutoencoderKL:
    sizes: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
    }
    return AutoencoderKL(**sizes, layers_per_block=2, latent_channels=4, sample_size=size, **settings)


def _text_config(tokenizer: CLIPTokenizer, **sizes: Any) -> CLIPTextConfig:
    ends: Any = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return CLIPTextConfig(vocab_size=len(tokenizer), **sizes, **ends)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--size", type=int, help="default: what the model was made for")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--dtype", help="default: what suits the device")
    parser.add_argument("--device", help="default: the fastest that there is")
    parser.add_argument("--save", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    make, usual_size = MODELS[args.model]
    device = default_device() if args.device is None else torch.device(args.device)
    dtype = default_dtype(device, False) if args.dtype is None else getattr(torch, args.dtype)
    pipe = make(dtype)
    if args.save is not None:
        pipe.save_pretrained(args.save)
        return
    pipe.to(device)
    report = measure(pipe, args.size or usual_size, args.frames, args.steps)
    say(args, {"dtype": str(dtype).removeprefix("torch."), "device": str(device), **report})


def measure(pipe: Any, size: int, n_frames: int, n_steps: int) -> dict[str, Any]:
    """One clip by the whole method: seconds, and memory in MB."""
    pipe.set_progress_bar_config(disable=True)
    clip = render_clip(
        load_scene(WALKING_BIPED), ShotConfig(size=(size, size), n_frames=n_frames, camera="orbit")
    )
    weights = sum(
        tensor.nbytes
        for network in pipe.components.values()
        if isinstance(network, torch.nn.Module)
        for tensor in network.parameters()
    )
    loaded_mb = peak_memory_mb()
    started_s = time.perf_counter()
    latents = pipe("a fox", clip.gbuffers, num_inference_steps=n_steps, output_type="latent").latents
    diffused_s, diffused_mb = time.perf_counter() - started_s, peak_memory_mb()
    frames = list(pipe.decode_frames(latents))
    decoded_s = time.perf_counter() - started_s - diffused_s
    assert len(frames) == n_frames
    assert torch.isfinite(latents).all()
    return {
        "size": size,
        "frames": n_frames,
        "steps": n_steps,
        "weights_mb": round(weights / 1e6),
        "loaded_peak_mb": round(loaded_mb or 0),
        "diffusion_peak_mb": round(diffused_mb or 0),
        "decoding_peak_mb": round(peak_memory_mb() or 0),
        "gpu_peak_mb": gpu_peak_memory_mb(),
        "diffusion_s": round(diffused_s, 2),
        "decoding_s": round(decoded_s, 2),
    }


def say(args: argparse.Namespace, report: dict[str, Any]) -> None:
    if args.json:
        print(json.dumps({"model": args.model, **report}, indent=2))
        return
    print(f"{args.model}, random weights: " + ", ".join(f"{name} {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
