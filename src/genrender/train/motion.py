"""Training of motion modules for a finished image model: layers that see all frames of a clip at once.

UNet, ControlNet, autoencoder and text encoder stay as they are; only the modules between their layers learn,
from clips whose true video is known.

Source: Guo et al. 2023, "AnimateDiff" (2307.04725): modules that begin as nothing, all frames of a clip at
one noise level. Noise that frames share in part: Ge et al. 2023, "Preserve Your Own Correlation"
(2305.10474). Differs: v-prediction on pocket's noise schedule, and a share of the noise that is drawn anew
for every clip, so that the modules bear frames whose noise agrees on surfaces.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D, MotionAdapter, UNetMotionModel
from jaxtyping import Float16, Int64, UInt8
from rich.progress import track
from torch import Tensor, nn

from genrender.backbones.sources import read_vocabulary, unknown_words
from genrender.errors import ConfigError
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.storage.atomic import atomic_write, exchanged_folder
from genrender.train.data import PROGRESS, WORLD_VERSION
from genrender.train.loop import LoopConfig, train
from genrender.train.motion_clips import make_moving_sample
from genrender.train.tokenizer import tokenize

TEXT_DROPOUT = 0.1
# How often the frames of a clip share a part of their noise.
SHARED_NOISE = 0.5
# Objects cover a fifth of an average picture, but steadiness is asked of them.
FOREGROUND_WEIGHT = 4.0


@dataclass(frozen=True)
class MotionTraining:
    """How to train motion modules for a model of the training world.

    Attributes:
        work_dir: clips and checkpoint; a run that was stopped goes on from here.
        out: the finished adapter, in diffusers' layout.
        base: the image model, `pocket` or a folder.
        clips: different training clips.
        n_frames: of each, and the longest window that the modules can see.
        steps: optimiser steps, a clip each.
        learning_rate: of the modules.
        device: where to train.
    """

    work_dir: Path
    out: Path
    base: str = "pocket"
    clips: int = 400
    n_frames: int = 16
    steps: int = 1000
    learning_rate: float = 1e-3
    device: str = "cpu"


@dataclass(frozen=True)
class ClipSet:
    """All training clips as the diffusion model sees them."""

    latents: list[Float16[np.ndarray, "F C h w"]]
    depth: list[UInt8[np.ndarray, "F H W"]]
    token_ids: Int64[Tensor, "N L"]


class MotionDenoiser(nn.Module):
    """The networks of an image model with motion modules in its UNet, which alone are trained."""

    def __init__(self, unet: UNet2DConditionModel, controlnet: ControlNetModel, n_frames: int) -> None:
        super().__init__()
        self.unet = cast(Any, UNetMotionModel.from_unet2d(unet, new_adapter(unet, n_frames)))
        self.controlnet = controlnet.requires_grad_(False)
        self.unet.freeze_unet2d_params()

    def forward(self, noisy: Tensor, timestep: Tensor, text: Tensor, control: Tensor) -> Tensor:
        """Predicted v of one clip: `noisy` and `control` F C H W, `text` F L D, one `timestep`."""
        dtype = self.unet.dtype
        noisy, text, control = noisy.to(dtype), text.to(dtype), control.to(dtype)
        with torch.no_grad():
            down, mid = self.controlnet(noisy, timestep, text, control, return_dict=False)
        clip = noisy[None].transpose(1, 2)
        predicted = self.unet(
            clip,
            timestep,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
        return predicted[0].transpose(0, 1)


def new_adapter(unet: UNet2DConditionModel, n_frames: int) -> MotionAdapter:
    """Untrained motion modules for a UNet, which change nothing yet."""
    config: Any = unet.config
    adapter = MotionAdapter(
        block_out_channels=tuple(config.block_out_channels),
        motion_layers_per_block=config.layers_per_block,
        motion_num_attention_heads=4,
        motion_norm_num_groups=config.norm_num_groups,
        motion_max_seq_length=n_frames,
    )
    for module in adapter.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
    return adapter


def train_motion(config: MotionTraining) -> None:
    """Make the clips, train on them, and write the adapter.

    Raises:
        ConfigError: a count is not positive.
    """
    for name in ("clips", "n_frames", "steps"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 1")
    pipeline = load_pipeline(config.base, device="cpu", dtype=torch.float32)
    data = read_clips(config, pipeline)
    components: Any = pipeline
    model = MotionDenoiser(components.unet, components.controlnet, config.n_frames).to(config.device)
    text_encoder = components.text_encoder.to(config.device)
    alphas = components.scheduler.alphas_cumprod.to(config.device)
    empty = tokenize(components.tokenizer, [""])[0]

    def loss_at(model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        rng, generator = np.random.default_rng((29, step)), torch.Generator().manual_seed(step)
        picked = int(rng.integers(len(data.latents)))
        # A clip is as good backwards.
        order = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        clean = torch.from_numpy(data.latents[picked][order].astype(np.float32)).to(config.device)
        depth = torch.from_numpy(data.depth[picked][order].astype(np.float32)).to(config.device) / 255
        control = depth[:, None].expand(-1, 3, -1, -1)
        token_ids = empty if rng.random() < TEXT_DROPOUT else data.token_ids[picked]
        timestep = torch.tensor([int(rng.integers(len(alphas)))], device=config.device)
        shared = rng.random() if rng.random() < SHARED_NOISE else 0.0
        own, common = (torch.randn((n, *clean.shape[1:]), generator=generator) for n in (len(clean), 1))
        noise = (shared**0.5 * common + (1 - shared) ** 0.5 * own).to(config.device)
        level = alphas[timestep]
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        target = level.sqrt() * noise - (1 - level).sqrt() * clean
        with torch.no_grad():
            text = text_encoder(token_ids[None].to(config.device)).last_hidden_state
        predicted = model(noisy, timestep, text.expand(len(clean), -1, -1), control)
        error = ((predicted.float() - target) ** 2).mean(1)
        on_object = F.adaptive_max_pool2d((depth > 0).float(), clean.shape[-2:])
        weight = 1 + (FOREGROUND_WEIGHT - 1) * on_object
        loss = (error * weight).sum() / weight.sum()
        return loss, {"loss": float(loss.detach())}

    loop = LoopConfig(
        config.steps, batch=1, learning_rate=config.learning_rate, warmup=50, ema=0.99, checkpoint_s=180
    )
    averaged = train(model, loss_at, loop, config.work_dir / "motion.pt", "motion")
    with exchanged_folder(config.out) as part:
        cast(MotionDenoiser, averaged).unet.half().save_motion_modules(str(part))


@torch.no_grad()
def read_clips(config: MotionTraining, pipeline: GenerativeRenderingPipeline) -> ClipSet:
    """All training clips whose captions the model knows the words of; what is not there yet is made."""
    networks: Any = pipeline
    size = networks.unet.config.sample_size * networks.vae_scale_factor
    folder = config.work_dir / f"clips-{size}-{config.n_frames}-world{WORLD_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    words = read_vocabulary(networks.name_or_path)
    latents, depths, captions = [], [], []
    for index in track(range(config.clips), description="clips", console=PROGRESS):
        file = folder / f"{index:05d}.npz"
        if not file.exists():
            _write_clip(file, networks.vae, (size, index), config.n_frames, size)
        with np.load(file) as stored:
            text = json.loads(str(stored["caption"]))
            if words is not None and unknown_words(text, words):
                continue
            latents.append(stored["latents"])
            depths.append(stored["depth"])
            captions.append(text)
    return ClipSet(latents, depths, tokenize(networks.tokenizer, captions))


def _write_clip(file: Path, vae: Any, seed: tuple[int, int], n_frames: int, size: int) -> None:
    sample = make_moving_sample(seed, size, n_frames)
    images = torch.from_numpy(sample.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = vae.encode(images, return_dict=False)[0] * vae.config.scaling_factor
    content = io.BytesIO()
    np.savez(content, latents=latents.half().numpy(), depth=sample.depth, caption=json.dumps(sample.caption))
    with atomic_write(file) as part:
        part.write_bytes(content.getbuffer())
