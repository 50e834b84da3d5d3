"""Training of UNet and ControlNet, jointly and from scratch, with v-prediction.

Two habits build the need for attention in. Parts of a picture are made much cleaner than the rest and
only the rest is scored: it can be right only by looking at the clean part. And many pictures show one object
several times in a look that the caption does not name (see `train.world`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from jaxtyping import Bool, Float16, Int64, UInt8
from rich.progress import track
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from genrender.train.captions import read_caption
from genrender.train.data import PROGRESS, complete_shards, read_shard
from genrender.train.loop import LoopConfig, save_checkpoint, train, working_copy
from genrender.train.models import Denoiser, PocketSize, make_scheduler
from genrender.train.pause import wait_while_paused
from genrender.train.tokenizer import tokenize

TEXT_DROPOUT = 0.1
CONTROL_DROPOUT = 0.07
CLEANER_REGION = 0.3
# Objects cover a fifth of an average picture, but most of what a caption says is about them.
FOREGROUND_WEIGHT = 4.0
# Patterns are learned last: of a single object in a named one more pictures are drawn than there are.
PATTERNED_SHARE = 0.5


@dataclass(frozen=True)
class LatentSet:
    """All training pictures as the diffusion model sees them, each also mirrored.

    Attributes:
        latents: scaled to unit variance; axis 0 holds the picture and its mirror image.
        depth: depth control image, memory-mapped per shard.
        object_id: instance per latent pixel, 0 is background.
        token_ids: caption.
        patterned: whether the caption names the pattern and the colours of a single object.
        scaling_factor: what the autoencoder's latents were multiplied with.
    """

    latents: Float16[Tensor, "2 N C h w"]
    depth: list[UInt8[np.ndarray, "M H W"]]
    object_id: UInt8[Tensor, "N h w"]
    token_ids: Int64[Tensor, "N L"]
    patterned: Bool[np.ndarray, "N"]
    scaling_factor: float

    def depth_of(self, picked: Sequence[int]) -> UInt8[Tensor, "n H W"]:
        """Depth control images of some pictures; at picture size they are what would fill the memory."""
        per_shard = len(self.depth[0])
        return torch.from_numpy(np.stack([self.depth[i // per_shard][i % per_shard] for i in picked]))


def weights_hash(model: nn.Module) -> str:
    """A short name for a model's weights, which changes with any of them."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


@torch.no_grad()
def encode_pictures(folder: Path, vae: AutoencoderTiny, tokenizer: CLIPTokenizer, device: str) -> LatentSet:
    """Encode every complete shard in `folder`; latents are kept beside it under the encoder's hash."""
    encoder_hash = weights_hash(cast(Any, vae).encoder)
    encoder = cast(Any, working_copy(cast(nn.Module, vae)))
    latents, depth, object_id, token_ids, patterned = [], [], [], [], []
    for index in track(complete_shards(folder), description="latents", console=PROGRESS):
        shard = read_shard(folder, index)
        cache = folder / f"{index:05d}.latents-{encoder_hash}.pt"
        if not cache.exists():
            wait_while_paused(folder.parent, PROGRESS)
            images = torch.from_numpy(np.array(shard.image)).permute(0, 3, 1, 2)
            both = []
            for pictures in (images, images.flip(3)):
                batches = (x.to(device, encoder.dtype) / 127.5 - 1 for x in pictures.split(32))
                encoded = [encoder.encode(x, return_dict=False)[0].float().cpu() for x in batches]
                both.append(torch.cat(encoded))
            save_checkpoint(cache, torch.stack(both).half())
        latents.append(torch.load(cache, weights_only=True))
        depth.append(shard.depth)
        object_id.append(torch.from_numpy(np.array(shard.object_id)))
        token_ids.append(tokenize(tokenizer, list(shard.captions)))
        patterned += [names_one_pattern(text) for text in shard.captions]
    stacked = torch.cat(latents, dim=1)
    scaling_factor = float(1 / stacked[:, :2048].float().std())
    return LatentSet(
        (stacked.float() * scaling_factor).half(),
        depth,
        torch.cat(object_id),
        torch.cat(token_ids),
        np.array(patterned),
        scaling_factor,
    )


def names_one_pattern(caption: str) -> bool:
    """Whether a caption names one object, its pattern and both colours of it."""
    groups, _ = read_caption(caption)
    return len(groups) == 1 and groups[0].count == 1 and len(groups[0].colors) == 2


def draw_pictures(
    rng: np.random.Generator, patterned: Bool[np.ndarray, "N"], n: int
) -> Int64[np.ndarray, "n"]:
    """Indices of pictures; of those with one patterned object `PATTERNED_SHARE`, where there are any."""
    picked = rng.integers(len(patterned), size=n)
    of_one = np.flatnonzero(patterned)
    if len(of_one):
        is_of_one = rng.random(n) < PATTERNED_SHARE
        picked[is_of_one] = rng.choice(of_one, int(is_of_one.sum()))
    return picked


def cleaner_region(rng: np.random.Generator, object_id: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The part of a picture that is shown cleaner: a side of a random line, or some of several instances."""
    instances = np.unique(object_id[object_id > 0])
    if len(instances) > 1 and rng.random() < 0.6:
        kept = rng.choice(instances, int(rng.integers(1, len(instances))), replace=False)
        return np.isin(object_id, kept)
    side = object_id.shape[0]
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    return np.cos(angle) * x + np.sin(angle) * y > rng.uniform(-0.25, 0.25)


def spread_timesteps(rng: np.random.Generator, n: int) -> Int64[np.ndarray, "n"]:
    """Timesteps from 0 to 999, one from each n-th of their distribution, so that batches resemble each other.

    Three of four lie from 300 to 799, where a picture's patterns form: above not even their place is decided,
    below only details are left.
    """
    quantile = (rng.permutation(n) + rng.random(n)) / n
    return np.interp(quantile, [0.0, 0.125, 0.875, 1.0], [0, 300, 800, 1000]).astype(np.int64)


def train_denoiser(
    data: LatentSet,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    size: PocketSize,
    checkpoint: Path,
    config: LoopConfig,
    device: str = "cpu",
) -> Denoiser:
    """Train on encoded pictures, from random weights or those in `checkpoint`; `text_encoder` stays.

    Returns:
        The averaged weights.
    """
    model = Denoiser(size).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    cast(nn.Module, text_encoder).to(device)
    alphas = make_scheduler().alphas_cumprod.to(device)
    empty = tokenize(tokenizer, [""])[0]

    def loss_at(model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((23, step))
        generator = torch.Generator().manual_seed(step)
        picked = torch.from_numpy(draw_pictures(rng, data.patterned, config.batch))
        mirrored = torch.from_numpy(rng.integers(2, size=config.batch))
        clean = data.latents[mirrored, picked].float()
        depth, object_id = data.depth_of(picked.tolist()), data.object_id[picked]
        depth = torch.where(mirrored[:, None, None] == 1, depth.flip(2), depth)
        object_id = torch.where(mirrored[:, None, None] == 1, object_id.flip(2), object_id)
        token_ids = torch.where(
            torch.from_numpy(rng.random((config.batch, 1)) < TEXT_DROPOUT), empty, data.token_ids[picked]
        )
        control_scale = torch.from_numpy((rng.random(config.batch) > CONTROL_DROPOUT).astype(np.float32))

        timestep = torch.from_numpy(spread_timesteps(rng, config.batch))
        cleaner_timestep = (timestep * torch.from_numpy(rng.uniform(0, 0.5, config.batch))).long()
        cleaner = torch.zeros(object_id.shape, dtype=torch.bool)
        for i in np.flatnonzero(rng.random(config.batch) < CLEANER_REGION):
            cleaner[i] = torch.from_numpy(cleaner_region(rng, object_id[i].numpy()))

        noise = torch.randn(clean.shape, generator=generator)
        clean, noise, cleaner = clean.to(device), noise.to(device), cleaner.to(device)
        timestep = timestep.to(device)
        level = torch.where(
            cleaner, alphas[cleaner_timestep.to(device)][:, None, None], alphas[timestep][:, None, None]
        )
        noisy = level.sqrt()[:, None] * clean + (1 - level).sqrt()[:, None] * noise
        target = level.sqrt()[:, None] * noise - (1 - level).sqrt()[:, None] * clean
        control = (depth.to(device).float() / 255)[:, None].expand(-1, 3, -1, -1)
        with torch.no_grad():
            text = text_encoder(token_ids.to(device)).last_hidden_state
        predicted = model(noisy, timestep, text, control, control_scale.to(device))
        error = ((predicted.float() - target) ** 2).mean(1)
        # Outlines count as object: the cells around it show parts of it, too.
        near_object = F.max_pool2d((object_id.to(device) > 0).float(), 3, stride=1, padding=1)
        weight = ~cleaner * torch.where(near_object > 0, FOREGROUND_WEIGHT, 1.0)
        loss = (error * weight).sum() / weight.sum()
        return loss, {"loss": float(loss.detach())}

    averaged = train(model, loss_at, config, checkpoint, "denoiser")
    assert isinstance(averaged, Denoiser)
    return averaged
