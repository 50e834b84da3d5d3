"""A tiny Stable Diffusion XL with random weights, see `tiny_models`."""

from typing import Any

import torch
from diffusers import StableDiffusionXLControlNetPipeline
from tiny_models import (
    TEXT_WIDTH,
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


def sdxl_components(n_text_layers: int = 2, **unet_settings: Any) -> dict[str, Any]:
    """SDXL's structure: two text encoders, pooled text and sizes as conditions, blocks of several layers."""
    first = tiny_text_encoder(n_text_layers)
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


def sdxl_pipeline(n_text_layers: int = 2, **unet_settings: Any) -> StableDiffusionXLControlNetPipeline:
    """These with a ControlNet."""
    pipeline = StableDiffusionXLControlNetPipeline(
        **sdxl_components(n_text_layers, **unet_settings),
        controlnet=tiny_controlnet(tiny_unet(**SDXL_UNET)),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
