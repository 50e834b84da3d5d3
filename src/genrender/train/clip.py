"""The pocket CLIP, trained before the diffusion model, which then reads prompts with its text tower.

As in Stable Diffusion: pictures and captions are brought together first, and the text tower stays as it is
when the painting is learned. Trained on painting alone, a text encoder of this size keeps its words apart but
never sums a sentence up, so no picture could be compared with its last token (see docs/pocket.md).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from genrender.train.data import complete_shards, read_shard
from genrender.train.loop import LoopConfig, train
from genrender.train.models import PocketSize, make_clip
from genrender.train.tokenizer import tokenize
from genrender.train.vocabulary import contrast, other_looks

SHARDS_PER_STEP = 4
# Altered versions of every caption.
N_TWINS = 3
# Weight and sharpness of the loss that keeps words apart in the text tower.
WORD_WEIGHT = 0.5
WORD_SCALE = 16.0


def write_image_processor(folder: Path, image: int) -> None:
    """Write what tells CLIP libraries how to bring any picture to the size and range of the vision tower."""
    config = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": image},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": image, "width": image},
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": list(OPENAI_CLIP_MEAN),
        "image_std": list(OPENAI_CLIP_STD),
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _random_views(rng: np.random.Generator, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Mirrored at random, and seen from a little nearer or to one side, so that pictures do not repeat."""
    n_images = len(images)
    zoom = rng.uniform(0.85, 1.1, n_images)
    mirror = rng.choice([-1.0, 1.0], n_images)
    affine = np.zeros((n_images, 2, 3))
    affine[:, 0, 0], affine[:, 1, 1] = zoom * mirror, zoom
    affine[:, :, 2] = rng.uniform(-0.08, 0.08, (n_images, 2))
    grid = F.affine_grid(torch.from_numpy(affine).float(), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def word_loss(
    hidden: Float[Tensor, "N L D"],
    embeddings: Float[Tensor, "V D"],
    ids: Int64[Tensor, "N L"],
    special_ids: Int64[Tensor, "S"],
) -> Float[Tensor, ""]:
    """How hard it is to tell from a text tower's last hidden states which word stands where.

    Cross-entropy of cosines with all words' embeddings. What the pictures do not tell apart (two looks, for a
    vision tower that does not see either yet) the contrastive loss makes one; a denoiser that reads the
    hidden states could then never paint the two differently.

    Args:
        hidden: last hidden states.
        embeddings: the tower's input embeddings.
        ids: the words.
        special_ids: those of beginning, end and padding, which do not count.
    """
    cosine = F.normalize(hidden.float(), dim=-1) @ F.normalize(embeddings.float(), dim=-1).T
    counts = ~torch.isin(ids, special_ids)
    return F.cross_entropy(WORD_SCALE * cosine[counts], ids[counts])


def look_loss(
    logits: Float[Tensor, "N M"], rivals: Sequence[Sequence[int]]
) -> tuple[Float[Tensor, ""], float]:
    """How hard it is to tell a picture's look, everything else that its caption says being known.

    Among hundreds of captions the look seldom decides, so the contrastive loss alone learns it last.

    Args:
        logits: of pictures and captions; picture i's own caption is caption i.
        rivals: for each picture the captions that name another look and are equal otherwise.

    Returns:
        Cross-entropy over the pictures that have any, and the share of them that are told right.
    """
    losses, right = [], []
    for i, others in enumerate(rivals):
        if others:
            scores = logits[i, [i, *others]]
            losses.append(-scores.log_softmax(0)[0])
            right.append(float(scores.argmax() == 0))
    if not losses:
        return logits.sum() * 0, float("nan")
    return torch.stack(losses).mean(), float(np.mean(right))


def train_clip(
    folder: Path,
    tokenizer: CLIPTokenizer,
    size: PocketSize,
    checkpoint: Path,
    config: LoopConfig,
    device: str = "cpu",
    lock_text: bool = False,
) -> CLIPModel:
    """Train on the pictures in `folder` with the symmetric contrastive loss of Radford et al. 2021 (CLIP).

    Every picture is told apart from the other captions of its batch and from their altered twins, which name
    another look, colour or object: noun, colours and background nearly always tell 128 captions apart, so
    that alone they would teach little about looks.
    A loss of its own asks for the look, see `look_loss`.
    Source of the altered captions: Yuksekgonul et al. 2022, "When and why vision-language models behave like
    bags-of-words" (2210.01936).

    With `lock_text` the text tower stays as it is, so that a diffusion model that has learned to read it
    still can, and the pictures follow. Source: Zhai et al. 2022, "LiT" (2111.07991).
    """
    model: Any = make_clip(tokenizer, size)
    if lock_text:
        model.text_model.requires_grad_(False)
    mean, std = (torch.tensor(x)[:, None, None] for x in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    special_ids = torch.tensor(tokenizer.all_special_ids)
    shards = [read_shard(folder, index) for index in complete_shards(folder)]

    def loss_at(model: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng((31, step))
        images, texts = [], []
        for which in rng.integers(len(shards), size=SHARDS_PER_STEP):
            picked = rng.permutation(len(shards[which].captions))[: config.batch // SHARDS_PER_STEP]
            images.append(torch.from_numpy(shards[which].image[picked]))
            texts += [shards[which].captions[i] for i in picked]
        pixels = torch.cat(images).permute(0, 3, 1, 2).float() / 255
        pixels = (_random_views(rng, pixels) - mean) / std
        twins = [contrast(rng, text) for text in texts for _ in range(N_TWINS)]
        looks = [other_looks(text) for text in texts]
        pool = texts + twins
        ends = (len(pool) + np.cumsum([len(others) for others in looks])).tolist()
        rivals = [range(end - len(others), end) for end, others in zip(ends, looks, strict=True)]
        ids = tokenize(tokenizer, pool + [text for others in looks for text in others])
        working = cast(Any, model)
        out = working(input_ids=ids.to(device), pixel_values=pixels.to(device, working.dtype))
        every = out.logits_per_image.float()
        logits = every[:, : len(pool)]  # of a picture: the captions, then their altered twins
        truth = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, truth) + F.cross_entropy(logits[:, : len(logits)].T, truth)) / 2
        top1 = (logits.argmax(1) == truth).float().mean()
        embeddings = working.text_model.embeddings.token_embedding.weight
        hidden = out.text_model_output.last_hidden_state
        words = word_loss(hidden, embeddings, ids.to(device), special_ids.to(device))
        look, told = look_loss(every, rivals)
        figures = {"loss": float(loss.detach()), "words": float(words.detach()), "top1": float(top1)}
        return loss + look + WORD_WEIGHT * words, figures | {"look": told}

    averaged = train(model.to(device), loss_at, config, checkpoint, "clip")
    assert isinstance(averaged, CLIPModel)
    return averaged
