"""Tiny models of every family as files on the disk, in the layouts that people have."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny_models import (
    TEXT_WIDTH,
    tiny_components,
    tiny_controlnet,
    tiny_scheduler,
    tiny_text_encoder,
    tiny_tokenizer,
    tiny_unet,
    tiny_vae,
)
from transformers import CLIPTextModelWithProjection

SIZE_WIDTH = 8  # of the embedding of one number among a picture's six sizes
SDXL_UNET = {
    "cross_attention_dim": 2 * TEXT_WIDTH,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_WIDTH,
    "projection_class_embeddings_input_dim": TEXT_WIDTH + 6 * SIZE_WIDTH,
}


def sdxl_components(**unet_settings: Any) -> dict[str, Any]:
    """SDXL's structure: two text encoders, pooled text and sizes as conditions."""
    first = tiny_text_encoder()
    torch.manual_seed(6)
    config = first.config.to_dict() | {"projection_dim": TEXT_WIDTH}
    return {
        "vae": tiny_vae(),
        "text_encoder": first,
        "text_encoder_2": CLIPTextModelWithProjection(type(first.config)(**config)).eval(),
        "tokenizer": tiny_tokenizer(),
        "tokenizer_2": tiny_tokenizer(),
        "unet": tiny_unet(**SDXL_UNET, **unet_settings),
        "scheduler": tiny_scheduler(),
    }


def save_sdxl(folder: Path, **saving: Any) -> Path:
    """Saves a model and its ControlNet as diffusers does, as `folder` and `folder/controlnet`."""
    StableDiffusionXLPipeline(**sdxl_components(), add_watermarker=False).save_pretrained(folder, **saving)
    tiny_controlnet(tiny_unet(**SDXL_UNET)).save_pretrained(folder / "controlnet", **saving)
    return folder


def save_sd(folder: Path, unet: Any = None, **saving: Any) -> Path:
    """Likewise of Stable Diffusion 1."""
    parts = tiny_components(unet)
    parts.pop("controlnet").save_pretrained(folder / "controlnet", **saving)
    StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder, **saving)
    return folder


def same_weights(network: torch.nn.Module, other: torch.nn.Module, atol: float = 0.0) -> bool:
    ours, theirs = network.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.allclose(ours[key].float(), theirs[key].float(), atol=atol, rtol=0) for key in ours)
