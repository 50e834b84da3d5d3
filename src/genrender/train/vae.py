"""The pocket model's autoencoder: pictures to latents and back."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from jaxtyping import Float
from torch import Tensor, nn

from genrender.train.data import SHARD_SIZE, complete_shards, read_shard
from genrender.train.loop import LoopConfig, train, working_copy
from genrender.train.models import PocketSize, make_vae

LATENT_NOISE = 0.05
# Side of a training crop in latent pixels: twice what a pattern's feature spans.
CROP_LATENTS = 16
# Of the squared distance to a smaller autoencoder's latents, which vary by about 1.
KEPT_WEIGHT = 0.5


def random_crops(folder: Path, step: int, batch: int, side: int) -> Float[Tensor, "N 3 side side"]:
    """Crops in [-1, 1] of random pictures, mirrored at random; the same for the same step."""
    rng = np.random.default_rng((11, step))
    shards = complete_shards(folder)
    crops = []
    for index in rng.choice(shards, 2):
        images = read_shard(folder, int(index)).image
        for i in rng.integers(SHARD_SIZE, size=batch // 2):
            y, x = rng.integers(images.shape[1] - side + 1, size=2)
            crop = images[i, y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return stacked.float() / 127.5 - 1


def _edges(image: Float[Tensor, "N C H W"]) -> tuple[Tensor, Tensor]:
    return image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]


def train_vae(
    folder: Path,
    size: PocketSize,
    checkpoint: Path,
    config: LoopConfig,
    device: str = "cpu",
    lock_encoder: bool = False,
    smaller: AutoencoderTiny | None = None,
) -> AutoencoderTiny:
    """Train on the pictures in `folder`: L1 on colours and on edges.

    A little noise on the latents and a weak pull to zero keep the latent space smooth and its scale fixed.
    With `lock_encoder` the latents stay what they are, so that a diffusion model that has learned them still
    fits, and only what is made of them improves. With a `smaller` autoencoder, for pictures of half the side,
    the first channels are held near its latents of the same picture: a diffusion model that has learned those
    can go on with these.
    """
    vae = cast(nn.Module, make_vae(size)).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if lock_encoder:
        cast(nn.Module, cast(Any, vae).encoder).requires_grad_(False)
    smaller = None if smaller is None else cast(Any, working_copy(cast(nn.Module, smaller).to(device)))

    def loss_at(model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, AutoencoderTiny)
        side = CROP_LATENTS * size.vae_factor
        images = random_crops(folder, step, config.batch, side).to(device, memory_format=torch.channels_last)
        latents = model.encode(images.to(model.dtype), return_dict=False)[0].float()
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(step)).to(device)
        noisy = (latents + LATENT_NOISE * noise).to(model.dtype)
        decoded = model.decode(noisy, return_dict=False)[0].float()
        color = (decoded - images).abs().mean()
        edges = sum((a - b).abs().mean() for a, b in zip(_edges(decoded), _edges(images), strict=True))
        pull = latents.square().mean()
        psnr = -10 * torch.log10(F.mse_loss(decoded.detach(), images) / 4)
        loss = color + edges + 1e-3 * pull
        figures = {"psnr_db": float(psnr), "std": float(latents.detach().std())}
        if smaller is not None:
            half = F.avg_pool2d(images, 2).to(smaller.dtype)
            kept = smaller.encode(half, return_dict=False)[0].float()
            away = F.mse_loss(latents[:, : kept.shape[1]], kept)
            loss, figures["away"] = loss + KEPT_WEIGHT * away, float(away.detach().sqrt())
        return loss, figures

    averaged = train(vae, loss_at, config, checkpoint, "autoencoder")
    assert isinstance(averaged, AutoencoderTiny)
    return averaged
