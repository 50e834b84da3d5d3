"""What a clip's frames read: its prompts as features of one length, blended over time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.utils.constants import USE_PEFT_BACKEND
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from jaxtyping import Float
from torch import Tensor

from genrender.backbones.protocol import Conditions
from genrender.backbones.text_encoder import Features, TextEncoders, padded
from genrender.errors import ConfigError


@dataclass(frozen=True)
class ClipTexts:
    """Text features of a clip, all of one length.

    Attributes:
        frames: at which each of the prompts is reached, ascending from 0.
        prompts: a row for each.
        negative: what the unconditional branch reads; None: there is no such branch.
        objects: of each object's own prompt; None: there are none.
        pooled: a row for each of the prompts, for networks that read it; else None.
        negative_pooled: likewise, of the unconditional branch.
    """

    frames: tuple[int, ...]
    prompts: Float[Tensor, "K L C"]
    negative: Float[Tensor, "1 L C"] | None = None
    objects: Float[Tensor, "O L C"] | None = None
    pooled: Float[Tensor, "K P"] | None = None
    negative_pooled: Float[Tensor, "1 P"] | None = None

    @property
    def n_branches(self) -> int:
        """2 under classifier-free guidance, else 1."""
        return 1 if self.negative is None else 2

    @property
    def conditional(self) -> "ClipTexts":
        """The same without what the unconditional branch reads."""
        return replace(self, negative=None, negative_pooled=None)

    def rows(self, frames: Sequence[int]) -> tuple[Float[Tensor, "R L C"], Float[Tensor, "R P"] | None]:
        """What frames read, and its pooled text: all frames of the unconditional branch come first."""
        pooled = None if self.pooled is None else self._rows(self.pooled, self.negative_pooled, frames)
        return self._rows(self.prompts, self.negative, frames), pooled

    def _rows(self, keys: Tensor, negative: Tensor | None, frames: Sequence[int]) -> Tensor:
        conditional = torch.stack([self._at(keys, frame) for frame in frames])
        if negative is None:
            return conditional
        return torch.cat([negative.repeat_interleave(len(frames), dim=0), conditional])

    def _at(self, keys: Tensor, frame: int) -> Tensor:
        """Linear between two prompts, constant behind the last."""
        after = next((key for key, at in enumerate(self.frames) if at > frame), None)
        if after is None:
            return keys[-1]
        start, end = self.frames[after - 1], self.frames[after]
        return torch.lerp(keys[after - 1], keys[after], (frame - start) / (end - start))


def read_texts(
    pipeline: Any, conditions: Conditions, encoders: tuple[TextEncoders, TextEncoders], has_guidance: bool
) -> ClipTexts:
    """All texts of a clip, read once: from here on the text encoders are not needed.

    Args:
        pipeline: of diffusers.
        conditions: the texts, or their features.
        encoders: for what the clip shows, and for the negative prompt. As in diffusers, only the first skip
            layers.
        has_guidance: whether there is an unconditional branch.

    Raises:
        ConfigError: texts and their features contradict each other, or a text cannot be read.
    """
    _check(conditions, wants_pooled=hasattr(pipeline, "text_encoder_2"))
    positive, unconditional = encoders
    later = sorted(conditions.prompts_at)
    with lora_scaled(_text_networks(pipeline), conditions.cross_attention_kwargs.get("scale")):
        first = _given(pipeline, conditions.prompt_embeds, conditions.pooled_prompt_embeds)
        shown = [first or positive.read(conditions.prompt or "")]
        shown += [positive.read(text) for _, text in later]
        objects = [positive.read(text) for text in conditions.object_prompts.values()]
        negative = _negative(pipeline, conditions, unconditional) if has_guidance else None
        length = max(one.embeds.shape[1] for one in (*shown, *objects, *([negative] if negative else [])))
        texts = ClipTexts(
            frames=(0, *(frame for frame, _ in later)),
            prompts=_joined(shown, length, positive),
            objects=_joined(objects, length, positive) if objects else None,
            pooled=_pooled(shown),
        )
        if not has_guidance:
            return texts
        if negative is None:
            pooled = None if texts.pooled is None else torch.zeros_like(texts.pooled[:1])
            return replace(texts, negative=torch.zeros_like(texts.prompts[:1]), negative_pooled=pooled)
        rows = _joined([negative], length, unconditional)
        return replace(texts, negative=rows, negative_pooled=negative.pooled)


@contextmanager
def lora_scaled(networks: Sequence[torch.nn.Module], scale: float | None) -> Iterator[None]:
    """While this lasts the LoRAs of some networks count so many times as much."""
    # Without peft there are no LoRAs, and diffusers' functions import it.
    if scale is None or not USE_PEFT_BACKEND:
        yield
        return
    for network in networks:
        scale_lora_layers(network, scale)
    try:
        yield
    finally:
        for network in networks:
            unscale_lora_layers(network, scale)


def _text_networks(pipeline: Any) -> list[torch.nn.Module]:
    networks = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2"))
    return [network for network in networks if network is not None]


def _check(conditions: Conditions, wants_pooled: bool) -> None:
    """Raises ConfigError where texts and their features contradict each other."""
    frames = [frame for frame, _ in conditions.prompts_at]
    if len(set(frames)) < len(frames) or any(frame < 1 for frame in frames):
        raise ConfigError(
            f"prompts at frames {', '.join(map(str, frames))}: expected different frames from 1 on; frame 0 "
            "shows the prompt itself"
        )
    for name in ("prompt", "negative_prompt"):
        text, embeds = getattr(conditions, name), getattr(conditions, f"{name}_embeds")
        pooled_name = f"{name.removesuffix('prompt')}pooled_prompt_embeds"
        pooled = getattr(conditions, pooled_name)
        if text is not None and embeds is not None:
            raise ConfigError(f"{name} and {name}_embeds are both given, expected one of them")
        if embeds is not None and (embeds.ndim != 3 or embeds.shape[0] != 1):
            raise ConfigError(f"{name}_embeds of shape {tuple(embeds.shape)}, expected (1, tokens, channels)")
        if (pooled is not None) != (embeds is not None and wants_pooled):
            asked = f"with {name}_embeds" if wants_pooled else "for models of two text encoders only"
            raise ConfigError(
                f"{pooled_name} {'is missing' if pooled is None else 'is given'}, expected {asked}"
            )
    if conditions.prompt is None and conditions.prompt_embeds is None:
        raise ConfigError("there is no prompt, expected a text, or its features as prompt_embeds")


def _given(pipeline: Any, embeds: Tensor | None, pooled: Tensor | None) -> Features | None:
    """A caller's features on the device, in the numbers that the text encoders give."""
    if embeds is None:
        return None
    like = {
        "device": pipeline._execution_device,
        "dtype": (*_text_networks(pipeline)[-1:], pipeline.unet)[0].dtype,
    }
    return Features(embeds.to(**like), None if pooled is None else pooled.to(**like))


def _negative(pipeline: Any, conditions: Conditions, encoders: TextEncoders) -> Features | None:
    """What the unconditional branch reads; None: zeros, as SDXL's base model was trained."""
    given = _given(pipeline, conditions.negative_prompt_embeds, conditions.negative_pooled_prompt_embeds)
    if given is not None:
        return given
    if conditions.negative_prompt is None and pipeline.config.get("force_zeros_for_empty_prompt"):
        return None
    return encoders.read(conditions.negative_prompt or "")


def _joined(texts: Sequence[Features], length: int, encoders: TextEncoders) -> Float[Tensor, "N {length} C"]:
    rows = []
    for text in texts:
        is_short = text.embeds.shape[1] < length
        rows.append(padded(text.embeds, length, encoders.empty) if is_short else text.embeds)
    return torch.cat(rows)


def _pooled(texts: Sequence[Features]) -> Tensor | None:
    rows = [text.pooled for text in texts if text.pooled is not None]
    return torch.cat(rows) if rows else None
