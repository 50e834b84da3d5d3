"""Tiny adapters with random weights, in the layouts of the published files."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

RANK, ALPHA = 2, 3.0
SCALE = ALPHA / RANK
IMAGE_WIDTH = 8

# Layers of every sort: attention, feed-forward, a convolution of 1 x 1 or a linear layer, one of 3 x 3, text.
LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CROSS = "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"
FEED_FORWARD = "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
PROJECTION = "down_blocks.1.attentions.0.proj_in"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
UNET_LAYERS = (LINEAR, CROSS, FEED_FORWARD, PROJECTION, CONVOLUTION)
TEXT_LAYERS = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1")

Parts = dict[str, Tensor]


def add_lora(network: Any, config: LoraConfig) -> None:
    """A random LoRA in a network, as transformers and diffusers add it.

    transformers 5.24 refuses to, before a PEFT 0.22 that there is not yet.
    """
    inject_adapter_in_model(config, network, "default")
    network.peft_config = {"default": config}
    network._hf_peft_config_loaded = True


def text_layer(encoder: Any, name: str) -> torch.nn.Module:
    """A layer by its name without `text_model`, which versions of transformers have or have not."""
    return encoder.get_submodule(f"text_model.{name}" if hasattr(encoder, "text_model") else name)


def lora(weight: Tensor) -> Parts:
    n_outputs, n_inputs, *kernel = weight.shape
    return {
        "lora_down.weight": torch.randn(RANK, n_inputs, *kernel),
        "lora_up.weight": torch.randn(n_outputs, RANK, *[1] * len(kernel)),
        "alpha": torch.tensor(ALPHA),
    }


def lora_with_core(weight: Tensor) -> Parts:
    """LoCon by a Tucker decomposition; layers without a kernel as ever."""
    n_outputs, n_inputs, *kernel = weight.shape
    if not kernel or kernel == [1, 1]:
        return lora(weight)
    return {
        "lora_down.weight": torch.randn(RANK, n_inputs, 1, 1),
        "lora_mid.weight": torch.randn(RANK, RANK, *kernel),
        "lora_up.weight": torch.randn(n_outputs, RANK, 1, 1),
        "alpha": torch.tensor(ALPHA),
    }


def dora(weight: Tensor) -> Parts:
    """Magnitudes of the outputs."""
    return lora(weight) | {"dora_scale": torch.rand(len(weight), *[1] * (weight.dim() - 1)) + 0.5}


def dora_of_inputs(weight: Tensor) -> Parts:
    return lora(weight) | {"dora_scale": torch.rand(1, weight.shape[1], *[1] * (weight.dim() - 2)) + 0.5}


def loha(weight: Tensor) -> Parts:
    flat = weight.flatten(1)
    parts = {f"hada_w{n}_a": torch.randn(len(flat), RANK) for n in (1, 2)}
    parts |= {f"hada_w{n}_b": torch.randn(RANK, flat.shape[1]) for n in (1, 2)}
    return parts | {"alpha": torch.tensor(ALPHA)}


def loha_with_core(weight: Tensor) -> Parts:
    n_outputs, n_inputs, *kernel = weight.shape
    if not kernel:
        return loha(weight)
    parts = {f"hada_w{n}_a": torch.randn(RANK, n_outputs) for n in (1, 2)}
    parts |= {f"hada_w{n}_b": torch.randn(RANK, n_inputs) for n in (1, 2)}
    parts |= {f"hada_t{n}": torch.randn(RANK, RANK, *kernel) for n in (1, 2)}
    return parts | {"alpha": torch.tensor(ALPHA)}


def lokr(weight: Tensor) -> Parts:
    """The right factor as a product, the left one whole."""
    n_outputs, n_inputs, *kernel = weight.shape
    right = n_inputs // 2 * int(torch.tensor(kernel).prod()) if kernel else n_inputs // 2
    return {
        "lokr_w1": torch.randn(2, 2),
        "lokr_w2_a": torch.randn(n_outputs // 2, RANK),
        "lokr_w2_b": torch.randn(RANK, right),
        "alpha": torch.tensor(ALPHA),
    }


def whole_lokr(weight: Tensor) -> Parts:
    """Both factors whole: alpha does not count."""
    n_outputs, n_inputs, *kernel = weight.shape
    return {
        "lokr_w1": torch.randn(2, 2),
        "lokr_w2": torch.randn(n_outputs // 2, n_inputs // 2, *kernel),
        "alpha": torch.tensor(ALPHA),
    }


def kohya_names(unet_layers: Iterable[str], text_prefixes: Iterable[str]) -> dict[str, tuple[str, str]]:
    """What kohya's scripts call layers: name in the file, by network and layer."""
    names = {f"lora_unet_{layer.replace('.', '_')}": ("unet", layer) for layer in unet_layers}
    for number, prefix in enumerate(text_prefixes):
        network = "text_encoder_2" if number else "text_encoder"
        for layer in TEXT_LAYERS:
            names[f"{prefix}_text_model_{layer.replace('.', '_')}"] = (network, layer)
    return names


def layer_of(pipeline: Any, network: str, layer: str) -> torch.nn.Module:
    part = getattr(pipeline, network)
    return part.get_submodule(layer) if network == "unet" else text_layer(part, layer)


def made(
    pipeline: Any, names: dict[str, tuple[str, str]], make: Callable[[Tensor], Parts]
) -> dict[str, Parts]:
    """Parts of an adapter for each layer, by the layer's name in the file."""
    return {name: make(layer_of(pipeline, network, layer).weight) for name, (network, layer) in names.items()}


def save_kohya(path: Path, adapter: dict[str, Parts]) -> Path:
    tensors = {
        f"{layer}.{part}": tensor for layer, parts in adapter.items() for part, tensor in parts.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def tiny_image_encoder(projection_dim: int = IMAGE_WIDTH) -> CLIPVisionModelWithProjection:
    torch.manual_seed(8)
    config = CLIPVisionConfig(
        hidden_size=12,
        intermediate_size=8,
        projection_dim=projection_dim,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    return CLIPVisionModelWithProjection(config).eval()


def ip_layers(unet: Any) -> Parts:
    """Keys and values of an IP-Adapter for every cross-attention layer."""
    text_width, layers, index = unet.config.cross_attention_dim, {}, 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).query_dim
            for part in ("to_k_ip", "to_v_ip"):
                layers[f"{index}.{part}.weight"] = torch.randn(width, text_width)
            index += 2
    return layers


def ip_projection(unet: Any, kind: str, n_tokens: int = 4) -> Parts:
    """What makes tokens of a picture, for each kind of adapter."""
    width = unet.config.cross_attention_dim
    norm = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    if kind == "plain":
        return norm | {
            "proj.weight": torch.randn(n_tokens * width, IMAGE_WIDTH),
            "proj.bias": torch.randn(n_tokens * width),
        }
    if kind == "Plus":
        return _resampler(width, n_tokens)
    if kind == "full face":  # reads what the last layer but one gives
        return {
            "proj.0.weight": torch.randn(12, 12),
            "proj.0.bias": torch.randn(12),
            "proj.2.weight": torch.randn(width, 12),
            "proj.2.bias": torch.randn(width),
            "proj.3.weight": torch.ones(width),
            "proj.3.bias": torch.zeros(width),
        }
    if kind == "FaceID":
        return norm | {"proj.0.weight": torch.randn(24, 12), "proj.2.weight": torch.randn(4 * width, 24)}
    assert kind == "FaceID Plus"
    return {"perceiver_resampler.proj_in.weight": torch.randn(width, 12)}


def _resampler(width: int, n_tokens: int, hidden: int = 16, head: int = 64) -> Parts:
    """The four layers that make tokens of all that the image encoder's last layer but one gives."""
    parts = {
        "latents": torch.randn(1, n_tokens, hidden),
        "proj_in.weight": torch.randn(hidden, 12),
        "proj_in.bias": torch.randn(hidden),
        "proj_out.weight": torch.randn(width, hidden),
        "proj_out.bias": torch.randn(width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": torch.zeros(width),
    }
    for layer in (f"layers.{n}" for n in range(4)):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            parts |= {
                f"{layer}.{norm}.weight": torch.ones(hidden),
                f"{layer}.{norm}.bias": torch.zeros(hidden),
            }
        parts |= {
            f"{layer}.0.to_q.weight": torch.randn(head, hidden),
            f"{layer}.0.to_kv.weight": torch.randn(2 * head, hidden),
            f"{layer}.0.to_out.weight": torch.randn(hidden, head),
            f"{layer}.1.1.weight": torch.randn(4 * hidden, hidden),
            f"{layer}.1.3.weight": torch.randn(hidden, 4 * hidden),
        }
    return parts


def save_ip_adapter(path: Path, unet: Any, kind: str = "plain") -> Path:
    parts = {"image_proj": ip_projection(unet, kind), "ip_adapter": ip_layers(unet)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()}, path)
    return path
