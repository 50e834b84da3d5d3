"""Mechanism 3 inside a diffusers UNet: attention processors, and how they get installed.

What they share and do is in `genrender.injection.state`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from torch import Tensor

from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError, ModelError
from genrender.injection.attention import merge_heads, split_heads
from genrender.injection.state import AttentionState

UNet = UNet2DConditionModel | UNetMotionModel
# Networks with attention layers, which read the text.
TextReader = UNet | ControlNetModel | ControlNetUnionModel


def feature_size(n_tokens: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of the feature map that a self-attention layer sees as a row of tokens.

    The number of tokens alone does not tell: 24 may be 4 x 6 or 6 x 4. Every downsampling convolution of
    these UNets turns h into ceil(h / 2), so the map is found by halving the latents' size.

    Args:
        n_tokens: tokens that the layer received for one frame.
        height: of the latents, in latent pixels.
        width: of the latents, in latent pixels.

    Raises:
        ModelError: no level has that many tokens.
    """
    level_height, level_width = height, width
    while level_height * level_width > n_tokens:
        level_height, level_width = (level_height + 1) // 2, (level_width + 1) // 2
    if level_height * level_width != n_tokens:
        raise ModelError(
            f"a self-attention layer received {n_tokens} tokens, which fits no level of {height}x{width} "
            "latents, expected a UNet that halves its maps: choose other layers with InjectionConfig.layers"
        )
    return level_height, level_width


class InjectedSelfAttention:
    """Attention processor of one self-attention layer: the order of projections, and nothing else.

    Projections are called as modules, so that LoRA and quantised layers work. The layers that
    `self_attention_layers` offers have neither group norm nor spatial norm.
    """

    def __init__(self, layer: str, state: AttentionState, latent_size: tuple[int, int]) -> None:
        self.layer = layer
        self.state = state
        self.latent_size = latent_size

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

        features = FeatureMap(*feature_size(hidden_states.shape[1], *self.latent_size), self.layer)
        output = merge_heads(self.state.attention(features, query, key, value, attn.scale))
        for projection in attn.to_out:
            output = projection(output)
        output = self.state.injection(features, output)

        if attn.residual_connection:
            output = output + hidden_states
        return output / attn.rescale_output_factor


def is_temporal(layer: str) -> bool:
    """Whether a layer is part of a motion module: its tokens are frames, not pixels."""
    return ".motion_modules." in layer


def self_attention_layers(unet: UNet) -> list[str]:
    """Full names of the UNet's self-attention layers (`attn1`) that see pixels, in the order of
    `unet.attn_processors`.
    """
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    # Blocks built with only_cross_attention read the text even in attn1.
    return [
        name
        for name in names
        if name.endswith(".attn1")
        and not is_temporal(name)
        and not unet.get_submodule(name).is_cross_attention
    ]


def select_layers(unet: UNet, pattern: str) -> list[str]:
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
def installed_processors(network: TextReader, ours: Mapping[str, Any]) -> Iterator[None]:
    """Give layers, by their full names, other attention processors; the old ones come back in any case."""
    # set_attn_processor empties the dict it is given, hence a copy for each call.
    before: dict[str, Any] = dict(network.attn_processors)
    renamed = {f"{layer}.processor": processor for layer, processor in ours.items()}
    try:
        network.set_attn_processor({**before, **renamed})
        yield
    finally:
        network.set_attn_processor(dict(before))


@contextmanager
def injected_attention(unet: UNet, state: AttentionState, latent_size: tuple[int, int]) -> Iterator[None]:
    """Run the selected self-attention layers through `state`, and put the old processors back in any case.

    With every injection off the UNet is left alone, so that it computes exactly what diffusers would.

    Example:
        >>> state = AttentionState(InjectionConfig(alpha=0.0, deduplicate=False), n_branches=1)
        >>> with injected_attention(unet, state, latent_size=(64, 64)):
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
    ours = {layer: InjectedSelfAttention(layer, state, latent_size) for layer in layers}
    with installed_processors(unet, ours):
        yield
