"""Layers of a model by the names that LoRA files give them.

kohya's scripts write `lora_unet_down_blocks_0_...` and `lora_te_text_model_...`, for SDXL's encoders
`lora_te1_` and `lora_te2_`; diffusers `unet.down_blocks.0...` and `text_encoder.text_model...`. SDXL's blocks
are called by kohya's scripts as Stability's own code does.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_NETWORKS = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
# Layers within a residual block, and beside the blocks.
_STABILITYS_LAYERS = {
    "conv1": "in_layers_2",
    "time_emb_proj": "emb_layers_1",
    "conv2": "out_layers_3",
    "conv_shortcut": "skip_connection",
}
_STABILITYS_OUTER = {
    "conv_in": "input_blocks_0_0",
    "conv_out": "out_2",
    "time_embedding.linear_1": "time_embed_0",
    "time_embedding.linear_2": "time_embed_2",
    "add_embedding.linear_1": "label_emb_0_0",
    "add_embedding.linear_2": "label_emb_0_2",
}


# What diffusers has called the projections of text encoders.
_OLD_TEXT_LAYERS = {"_to_q": "_q_proj", "_to_k": "_k_proj", "_to_v": "_v_proj", "_to_out_0": "_out_proj"}


@dataclass(frozen=True)
class Layer:
    """A layer with a weight.

    Attributes:
        name: as diffusers' loaders want it: the network's name, and the module's in it.
        module: the layer itself.
    """

    name: str
    module: Any


class LayerNames:
    """Layers with a weight, of the UNet and the text encoders.

    Args:
        pipeline: of diffusers, without any LoRA.
    """

    def __init__(self, pipeline: Any) -> None:
        self._layers: dict[str, Layer] = {}
        for own_name, prefix in _NETWORKS.items():
            network = getattr(pipeline, own_name, None)
            if network is None:
                continue
            for name, module in network.named_modules():
                if isinstance(getattr(module, "weight", None), torch.nn.Parameter):
                    for called in self._names(network, prefix, name):
                        self._layers[called] = Layer(f"{own_name}.{name}", module)

    def _names(self, network: Any, prefix: str, name: str) -> Iterator[str]:
        if prefix == "lora_unet":
            yield f"{prefix}_{_plain(name)}"
            if (stabilitys := stabilitys_name(name, network.config.layers_per_block)) is not None:
                yield f"{prefix}_{stabilitys}"
            return
        # Some versions of transformers have a level more than others.
        yield f"{prefix}_text_model_{_plain(name.removeprefix('text_model.'))}"
        yield f"{prefix}_{_plain(name)}"

    def get(self, called: str) -> Layer | None:
        """The layer that a file calls so; None: there is none."""
        for network, prefix in _NETWORKS.items():
            if called.startswith(f"{network}."):
                rest = _plain(called.removeprefix(f"{network}.").replace(".processor.", "."))
                if network != "unet":
                    for old, new in _OLD_TEXT_LAYERS.items():
                        rest = re.sub(f"{old}$", new, rest)
                return self._layers.get(f"{prefix}_{rest}")
        return self._layers.get(re.sub("^lora_te_", "lora_te1_", called))


def _plain(name: str) -> str:
    return name.replace(".", "_")


def stabilitys_name(name: str, layers_per_block: int | list[int]) -> str | None:
    """What Stability's code calls a layer of an SDXL UNet, with underscores; None: nothing else.

    Args:
        name: diffusers', with dots.
        layers_per_block: of the UNet; one number for all blocks.

    Example:
        >>> stabilitys_name("down_blocks.1.attentions.0.proj_in", 2)
        'input_blocks_4_1_proj_in'
    """
    if name in _STABILITYS_OUTER:
        return _STABILITYS_OUTER[name]
    found = re.fullmatch(
        r"(down|mid|up)_blocks?\.(?:(\d+)\.)?(resnets|attentions|\w+samplers)\.(\d+)\.(.+)", name
    )
    if found is None or not isinstance(layers_per_block, int):
        return None
    where, part, rest = found[1], found[3], found[5]
    block, index = int(found[2] or 0), int(found[4])
    if part == "resnets":
        first, *more = rest.split(".")
        rest = ".".join([_STABILITYS_LAYERS.get(first, first), *more])
    if where == "mid":
        number = 1 if part == "attentions" else 2 * index
        return f"middle_block_{number}_{_plain(rest)}"
    if part == "downsamplers":
        return f"input_blocks_{(block + 1) * (layers_per_block + 1)}_0_op"
    place = 1 if part == "attentions" else 0
    if where == "down":
        return f"input_blocks_{1 + block * (layers_per_block + 1) + index}_{place}_{_plain(rest)}"
    if part == "upsamplers":
        return f"output_blocks_{block * (layers_per_block + 1) + layers_per_block}_2_{_plain(rest)}"
    return f"output_blocks_{block * (layers_per_block + 1) + index}_{place}_{_plain(rest)}"


def self_attention_name(block: str, number: int, index: int, n_layers: Sequence[int]) -> str:
    """What diffusers calls a self-attention layer that Stability's own code, and hosts after it, count.

    Args:
        block: `input`, `middle` or `output`.
        number: of the block, as in `output_blocks.4`; of `middle`, 0.
        index: of the transformer layer within it.
        n_layers: residual blocks of each level of the encoder, the outermost first.

    Example:
        >>> self_attention_name("output", 4, 0, (2, 2, 2))
        'up_blocks.1.attentions.1.transformer_blocks.0.attn1'
    """
    layer = f"transformer_blocks.{index}.attn1"
    if block == "middle":
        return f"mid_block.attentions.0.{layer}"
    # The first block of the encoder is a convolution; one behind each level makes the map smaller.
    side, number, levels = (
        ("down", number - 1, n_layers) if block == "input" else ("up", number, n_layers[::-1])
    )
    level = 0
    while number > levels[level]:
        number, level = number - levels[level] - 1, level + 1
    return f"{side}_blocks.{level}.attentions.{number}.{layer}"
