"""What networks read beside latents, as the tensors that callbacks of diffusers know by name."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from genrender.backbones.text import ClipTexts
from genrender.errors import ConfigError

# What diffusers hands over beside the whole of it, and does not look at again.
PARTS = {"negative_prompt_embeds": "prompt_embeds", "negative_pooled_prompt_embeds": "add_text_embeds"}


def named_tensors(texts: ClipTexts, added: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Text features and further conditions in diffusers' shapes: the unconditional branch's rows come first.

    Texts that change over time have a row for each of their prompts.
    """
    tensors = {"prompt_embeds": _stacked(texts.negative, texts.prompts)}
    if texts.negative is not None:
        tensors["negative_prompt_embeds"] = texts.negative
    if texts.pooled is not None:
        tensors["add_text_embeds"] = _stacked(texts.negative_pooled, texts.pooled)
        if texts.negative_pooled is not None:
            tensors["negative_pooled_prompt_embeds"] = texts.negative_pooled
    if "time_ids" in added:
        tensors["add_time_ids"] = added["time_ids"]
    return tensors


def with_named_tensors(
    texts: ClipTexts, added: Mapping[str, Tensor], changed: Mapping[str, Tensor]
) -> tuple[ClipTexts, dict[str, Tensor]]:
    """The same with other tensors; without the unconditional branch's rows there is no such branch.

    Raises:
        ConfigError: a tensor is none of `named_tensors`, cannot be changed by itself, or does not fit.
    """
    known = named_tensors(texts, added)
    for name, tensor in changed.items():
        if name not in known:
            raise ConfigError(f"a callback returned {name!r}, expected of latents, {', '.join(known)}")
        if name in PARTS:
            raise ConfigError(
                f"a callback changed {name}, which has no effect: change the first row of {PARTS[name]}"
            )
        _check_shape(name, tensor, known[name], 1 if name == "add_time_ids" else len(texts.prompts))
    if "prompt_embeds" in changed:
        negative, prompts = _parted(changed["prompt_embeds"].to(texts.prompts), len(texts.prompts))
        texts = replace(texts, prompts=prompts, negative=negative)
    if "add_text_embeds" in changed:
        assert texts.pooled is not None
        negative, pooled = _parted(changed["add_text_embeds"].to(texts.pooled), len(texts.pooled))
        texts = replace(texts, pooled=pooled, negative_pooled=negative)
    if texts.pooled is not None and (texts.negative is None) != (texts.negative_pooled is None):
        raise ConfigError(
            "a callback left prompt_embeds and add_text_embeds of different numbers of rows, expected as many"
        )
    if "add_time_ids" in changed:
        added = {**added, "time_ids": changed["add_time_ids"].to(added["time_ids"])}
    return texts, dict(added)


def _stacked(first: Tensor | None, rest: Tensor) -> Tensor:
    return rest if first is None else torch.cat([first, rest])


def _parted(rows: Tensor, n_prompts: int) -> tuple[Tensor | None, Tensor]:
    return (rows[:-n_prompts] if len(rows) > n_prompts else None), rows[-n_prompts:]


def _check_shape(name: str, tensor: Tensor, before: Tensor, n_conditional: int) -> None:
    """Raises ConfigError where rows are neither all that there were nor the conditional ones."""
    counts = sorted({len(before), n_conditional})
    # A text may be longer or shorter than the one before, but not wider.
    fits = tensor.ndim == before.ndim and tensor.shape[-1] == before.shape[-1] and len(tensor) in counts
    if not fits:
        shapes = " or ".join(str((count, *before.shape[1:])) for count in counts)
        raise ConfigError(f"a callback returned {name} of shape {tuple(tensor.shape)}, expected {shapes}")
