"""Mechanism 3 inside a diffusers UNet: attention processors, their shared state, and how they get installed.

Each step has two passes through the UNet. In the first the keyframes run together, every keyframe attending
to all of them, and each selected layer remembers their keys, values and outputs. In the second every frame
runs, chunk by chunk: its keys and values are extended with the remembered ones (pre-attention), and its
outputs are blended with the remembered outputs, carried over on the surface (post-attention).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor

from genrender.config import InjectionConfig
from genrender.correspondence.engines import SurfaceEngine
from genrender.diffusion.attention import (
    attend,
    blend_with_surface,
    extend_with_keyframes,
    feature_size,
    join_frames,
    map_to_tokens,
    merge_heads,
    split_frames,
    split_heads,
    tokens_to_map,
)
from genrender.errors import ConfigError, ModelError


@dataclass
class KeyframeMemory:
    """What one layer remembers of the keyframes until the next step.

    Attributes:
        key: keys of all keyframes, one row per branch.
        value: values of all keyframes, likewise.
        output: layer outputs of the keyframes as maps, the branches side by side in the channels.
    """

    key: Float[Tensor, "B heads M D"] | None = None
    value: Float[Tensor, "B heads M D"] | None = None
    output: Float[Tensor, "K BC h w"] | None = None


@dataclass
class AttentionState:
    """Everything that the processors of one run share. Nothing of it is ever written into a module.

    Attributes:
        config: the injection settings.
        n_branches: 2 under classifier-free guidance, else 1.
        latent_size: height and width of the latents, in latent pixels.
        engine: carries features on the surface; needed where `config.alpha` > 0.
    """

    config: InjectionConfig
    n_branches: int
    latent_size: tuple[int, int]
    engine: SurfaceEngine | None = None
    phase: Literal["idle", "keyframes", "frames"] = field(default="idle", init=False)
    _keyframes: tuple[int, ...] = field(default=(), init=False)
    _frames: tuple[int, ...] = field(default=(), init=False)
    _memory: dict[str, KeyframeMemory] = field(default_factory=dict, init=False)
    _blends: dict[tuple[int, int], Callable[[Tensor], tuple[Tensor, Tensor]]] = field(
        default_factory=dict, init=False
    )

    def __post_init__(self) -> None:
        self.config.check()
        if self.config.alpha > 0 and self.engine is None:
            raise ConfigError(
                "alpha > 0 blends features on the surface: pass a correspondence engine, or alpha = 0"
            )

    @property
    def is_active(self) -> bool:
        """Whether any injection is on; if not, the keyframe pass is not needed either."""
        return self.config.pre_attn or self.config.alpha > 0

    def start_keyframes(self, keyframes: Sequence[int]) -> None:
        """From here on the UNet's rows are `keyframes`; what the last step remembered is forgotten."""
        self.phase = "keyframes"
        self._keyframes = tuple(keyframes)
        self._memory.clear()

    def start_frames(self, frames: Sequence[int]) -> None:
        """From here on the UNet's rows are the chunk `frames`."""
        self.phase = "frames"
        self._frames = tuple(frames)
        self._blends.clear()

    def attention(self, layer: str, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Self-attention with the pre-attention injection, as far as it is on.

        Args:
            layer: name of the layer.
            query: "N heads L D", branch-major; `key` and `value` likewise.
            key: see `query`.
            value: see `query`.
            scale: factor of Q K^T.
        """
        if not self.config.pre_attn or self.phase == "idle":
            return attend(query, key, value, scale)
        if self.phase == "keyframes":
            memory = self._memory.setdefault(layer, KeyframeMemory())
            memory.key = join_frames(key, self.n_branches)
            memory.value = join_frames(value, self.n_branches)
            together = attend(join_frames(query, self.n_branches), memory.key, memory.value, scale)
            return split_frames(together, query.shape[2])
        memory = self._recall(layer)
        assert memory.key is not None
        assert memory.value is not None
        return attend(
            query, extend_with_keyframes(key, memory.key), extend_with_keyframes(value, memory.value), scale
        )

    def injection(self, layer: str, output: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        """The layer's output after the post-attention injection; alpha = 0 hands back `output` itself."""
        if self.config.alpha == 0 or self.phase == "idle":
            return output
        size = feature_size(output.shape[1], *self.latent_size)
        if self.phase == "keyframes":
            memory = self._memory.setdefault(layer, KeyframeMemory())
            memory.output = tokens_to_map(output, self.n_branches, size)
            return output
        remembered = self._recall(layer).output
        assert remembered is not None
        surface, valid = self._blend(size)(remembered)
        return blend_with_surface(
            output,
            map_to_tokens(surface, self.n_branches),
            valid.flatten(1).repeat(self.n_branches, 1),
            self.config.alpha,
        )

    def _recall(self, layer: str) -> KeyframeMemory:
        if layer not in self._memory:
            raise ModelError(
                f"layer {layer} saw no keyframe in this step: run the keyframe pass before the chunks"
            )
        return self._memory[layer]

    def _blend(self, size: tuple[int, int]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        # Layers with maps of one size share the geometry, which costs more than the features.
        if size not in self._blends:
            assert self.engine is not None
            self._blends[size] = self.engine.blend(self._keyframes, self._frames, *size, self.config.unify)
        return self._blends[size]


class InjectedSelfAttention:
    """Attention processor of one self-attention layer: the order of projections, and nothing else.

    Projections are called as modules, so that LoRA and quantised layers work. The layers that
    `self_attention_layers` offers have neither group norm nor spatial norm.
    """

    def __init__(self, layer: str, state: AttentionState) -> None:
        self.layer = layer
        self.state = state

    def __call__(
        self,
        attn: Any,  # an Attention, which declares as None what these layers never lack
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        if encoder_hidden_states is not None or attention_mask is not None:
            raise ModelError(
                f"layer {self.layer} was called with text or a mask, expected plain self-attention: "
                "leave it out with InjectionConfig.layers"
            )
        query = split_heads(attn.to_q(hidden_states), attn.heads)
        key = split_heads(attn.to_k(hidden_states), attn.heads)
        value = split_heads(attn.to_v(hidden_states), attn.heads)
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)

        output = merge_heads(self.state.attention(self.layer, query, key, value, attn.scale))
        for projection in attn.to_out:
            output = projection(output)
        output = self.state.injection(self.layer, output)

        if attn.residual_connection:
            output = output + hidden_states
        return output / attn.rescale_output_factor


def self_attention_layers(unet: UNet2DConditionModel) -> list[str]:
    """Full names of the UNet's self-attention layers (`attn1`), in the order of `unet.attn_processors`."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    # Blocks built with only_cross_attention read the text even in attn1.
    return [
        name for name in names if name.endswith(".attn1") and not unet.get_submodule(name).is_cross_attention
    ]


def select_layers(unet: UNet2DConditionModel, pattern: str) -> list[str]:
    """The self-attention layers whose full name matches a regular expression (`re.search`).

    Raises:
        ConfigError: the expression is malformed, or matches no layer.
    """
    layers = self_attention_layers(unet)
    try:
        selected = [layer for layer in layers if re.search(pattern, layer)]
    except re.error as error:
        raise ConfigError(f"layers {pattern!r} is no regular expression ({error}): mend it") from error
    if not selected:
        raise ConfigError(
            f"layers {pattern!r} matches no self-attention layer, expected a regular expression that matches "
            f"some of: {', '.join(layers)}"
        )
    return selected


@contextmanager
def installed_processors(unet: UNet2DConditionModel, ours: Mapping[str, Any]) -> Iterator[None]:
    """Give layers, by their full names, other attention processors; the old ones come back in any case."""
    # set_attn_processor empties the dict it is given, hence a copy for each call.
    before: dict[str, Any] = dict(unet.attn_processors)
    renamed = {f"{layer}.processor": processor for layer, processor in ours.items()}
    try:
        unet.set_attn_processor({**before, **renamed})
        yield
    finally:
        unet.set_attn_processor(dict(before))


@contextmanager
def injected_attention(unet: UNet2DConditionModel, state: AttentionState) -> Iterator[None]:
    """Run the selected self-attention layers through `state`, and put the old processors back in any case.

    With every injection off the UNet is left alone, so that it computes exactly what diffusers would.

    Example:
        >>> state = AttentionState(InjectionConfig(alpha=0.0), n_branches=1, latent_size=(64, 64))
        >>> with injected_attention(unet, state):
        ...     state.start_keyframes([0, 5])
        ...     unet(latents[[0, 5]], timestep, encoder_hidden_states=prompt_embeds)
        ...     state.start_frames([0, 1, 2])
        ...     noise = unet(latents[:3], timestep, encoder_hidden_states=prompt_embeds).sample

    Raises:
        ConfigError: `state.config.layers` selects nothing.
    """
    if not state.is_active:
        yield
        return
    layers = select_layers(unet, state.config.layers)
    with installed_processors(unet, {layer: InjectedSelfAttention(layer, state) for layer in layers}):
        yield
