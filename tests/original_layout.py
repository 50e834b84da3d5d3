"""Networks of diffusers under the names that the models' authors gave to weights, as in single files."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Rules = Iterable[tuple[str, str]]

_RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
)
_HINTS = ("conv_in", *(f"blocks.{n}" for n in range(6)), "conv_out")


def _renamed(weights: Mapping[str, Tensor], rules: Rules) -> Weights:
    rules = list(rules)
    renamed = {}
    for name, tensor in weights.items():
        prefix, new = next((old, new) for old, new in rules if name == old or name.startswith(f"{old}."))
        renamed[new + name.removeprefix(prefix)] = tensor
    return renamed


def _encoder_rules(n_levels: int, n_layers: int) -> Rules:
    yield "time_embedding.linear_1", "time_embed.0"
    yield "time_embedding.linear_2", "time_embed.2"
    yield "add_embedding.linear_1", "label_emb.0.0"
    yield "add_embedding.linear_2", "label_emb.0.2"
    yield "conv_in", "input_blocks.0.0"
    for level in range(n_levels):
        for layer in range(n_layers):
            at = (n_layers + 1) * level + layer + 1
            yield from _resnet(f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{at}.0")
            yield f"down_blocks.{level}.attentions.{layer}", f"input_blocks.{at}.1"
        at = (n_layers + 1) * (level + 1)
        yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{at}.0.op"
    yield from _resnet("mid_block.resnets.0", "middle_block.0")
    yield "mid_block.attentions.0", "middle_block.1"
    yield from _resnet("mid_block.resnets.1", "middle_block.2")


def _resnet(old: str, new: str) -> Rules:
    for theirs, ours in _RESNET:
        yield f"{old}.{theirs}", f"{new}.{ours}"


def original_unet(unet: torch.nn.Module) -> Weights:
    """As under `model.diffusion_model.`."""
    n_levels, n_layers = len(unet.config.block_out_channels), unet.config.layers_per_block
    rules = list(_encoder_rules(n_levels, n_layers))
    for level in range(n_levels):
        for layer in range(n_layers + 1):
            at = (n_layers + 1) * level + layer
            rules += _resnet(f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{at}.0")
            rules.append((f"up_blocks.{level}.attentions.{layer}", f"output_blocks.{at}.1"))
        place = 2 if "CrossAttn" in unet.config.up_block_types[level] else 1
        rules.append((f"up_blocks.{level}.upsamplers.0", f"output_blocks.{at}.{place}"))
    rules += [("conv_norm_out", "out.0"), ("conv_out", "out.2")]
    return _renamed(unet.state_dict(), rules)


def original_controlnet(controlnet: torch.nn.Module) -> Weights:
    """As under `control_model.`."""
    n_levels, n_layers = len(controlnet.config.block_out_channels), controlnet.config.layers_per_block
    rules = list(_encoder_rules(n_levels, n_layers))
    rules += [(f"controlnet_down_blocks.{n}", f"zero_convs.{n}.0") for n in range(n_levels * (n_layers + 1))]
    rules.append(("controlnet_mid_block", "middle_block_out.0"))
    rules += [
        (f"controlnet_cond_embedding.{old}", f"input_hint_block.{2 * n}") for n, old in enumerate(_HINTS)
    ]
    return _renamed(controlnet.state_dict(), rules)


def original_vae(vae: torch.nn.Module) -> Weights:
    """As under `first_stage_model.`."""
    n_levels = len(vae.config.block_out_channels)
    rules: list[tuple[str, str]] = [("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv")]
    for half, blocks, sampler in (("encoder", "down", "downsample"), ("decoder", "up", "upsample")):
        for level in range(n_levels):
            theirs = level if half == "encoder" else n_levels - 1 - level
            for layer in range(vae.config.layers_per_block + 1):
                old, new = (
                    f"{half}.{blocks}_blocks.{level}.resnets.{layer}",
                    f"{half}.{blocks}.{theirs}.block",
                )
                rules += [(f"{old}.conv_shortcut", f"{new}.{layer}.nin_shortcut"), (old, f"{new}.{layer}")]
            old = f"{half}.{blocks}_blocks.{level}.{sampler}rs.0.conv"
            rules.append((old, f"{half}.{blocks}.{theirs}.{sampler}.conv"))
        for n in (0, 1):
            rules.append((f"{half}.mid_block.resnets.{n}", f"{half}.mid.block_{n + 1}"))
        attention = f"{half}.mid_block.attentions.0"
        names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        rules += [(f"{attention}.{old}", f"{half}.mid.attn_1.{new}") for old, new in names.items()]
        rules += [(f"{half}.conv_norm_out", f"{half}.norm_out")]
        rules += [(f"{half}.{name}", f"{half}.{name}") for name in ("conv_in", "conv_out")]
    weights = _renamed(vae.state_dict(), rules)
    # Attention was made of convolutions of one pixel.
    is_linear = re.compile(r"attn_1\.(q|k|v|proj_out)\.weight")
    return {
        name: tensor[:, :, None, None] if is_linear.search(name) else tensor
        for name, tensor in weights.items()
    }


def original_clip(encoder: torch.nn.Module) -> Weights:
    """As under `cond_stage_model.transformer.`: transformers' names, always with `text_model` in front."""
    return {
        name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}": tensor
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("position_ids")
    }


def open_clip(encoder: torch.nn.Module, n_layers: int) -> Weights:
    """As under `cond_stage_model.model.`, with OpenCLIP's names."""
    theirs = {name.removeprefix("text_model."): tensor for name, tensor in encoder.state_dict().items()}
    width = theirs["embeddings.position_embedding.weight"].shape[1]
    weights = {
        "positional_embedding": theirs["embeddings.position_embedding.weight"],
        "token_embedding.weight": theirs["embeddings.token_embedding.weight"],
        "text_projection": theirs.get("text_projection.weight", torch.eye(width)).T.contiguous(),
    }
    for kind in ("weight", "bias"):
        weights[f"ln_final.{kind}"] = theirs[f"final_layer_norm.{kind}"]
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for layer in range(n_layers):
        old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for kind in ("weight", "bias"):
            for ours, original in names.items():
                weights[f"{new}.{original}.{kind}"] = theirs[f"{old}.{ours}.{kind}"]
            merged = [theirs[f"{old}.self_attn.{which}_proj.{kind}"] for which in "qkv"]
            weights[f"{new}.attn.in_proj_{kind}"] = torch.cat(merged)
    return weights


def under(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: tensor.contiguous() for name, tensor in weights.items()}
