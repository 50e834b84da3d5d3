"""Tiny real components with random weights: the same classes as Stable Diffusion 1.5, at toy sizes.

Nothing is mocked: what these networks compute is meaningless, but how they are called is exactly what the
real ones see.
"""

import string
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from genrender.gbuffer.gbuffer import GBuffer
from genrender.pipeline import GenerativeRenderingPipeline

N_LATENT_CHANNELS = 4
TEXT_WIDTH = 16
MAX_TOKENS = 32


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that spells every word out; `fox` is a word of its own, to exercise merges."""
    letters = string.ascii_lowercase + string.digits + ",."
    words = [*letters, *(f"{letter}</w>" for letter in letters), "fo", "fox</w>"]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)},
        merges=[("f", "o"), ("fo", "x</w>")],
        model_max_length=MAX_TOKENS,
    )


def tiny_text_encoder(n_layers: int = 2) -> CLIPTextModel:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(1)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def tiny_unet(**overrides: Any) -> UNet2DConditionModel:
    """Two levels; self-attention on both, in the decoder, the encoder and between."""
    torch.manual_seed(2)
    settings = {
        "in_channels": N_LATENT_CHANNELS,
        "out_channels": N_LATENT_CHANNELS,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
        "cross_attention_dim": TEXT_WIDTH,
    }
    return UNet2DConditionModel(**(settings | overrides)).eval()


def sd15_shaped_unet() -> UNet2DConditionModel:
    """Stable Diffusion 1.5 block by block: four levels, two layers each, eight heads; only narrower."""
    return tiny_unet(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        attention_head_dim=8,
    )


def tiny_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet whose zero convolutions are not zero, so that its residuals matter."""
    torch.manual_seed(3)
    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    for convolution in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
        torch.nn.init.normal_(convolution.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return controlnet.eval()


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(4)
    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=N_LATENT_CHANNELS,
        norm_num_groups=2,
    ).eval()


def tiny_scheduler(prediction_type: str = "epsilon") -> DDIMScheduler:
    """Stable Diffusion 1.5's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def tiny_components(unet: UNet2DConditionModel | None = None) -> dict[str, Any]:
    """Arguments of the pipeline."""
    unet = unet or tiny_unet()
    return {
        "vae": tiny_vae(),
        "text_encoder": tiny_text_encoder(),
        "tokenizer": tiny_tokenizer(),
        "unet": unet,
        "controlnet": tiny_controlnet(unet),
        "scheduler": tiny_scheduler(),
    }


def tiny_pipeline() -> GenerativeRenderingPipeline:
    """All of it, without a progress bar."""
    pipe = GenerativeRenderingPipeline(**tiny_components())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sliding_card(n_frames: int, height: int, width: int) -> list[GBuffer]:
    """A textured card that slides to the right and comes nearer, over an empty background."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    gbuffers = []
    for frame in range(n_frames):
        left, top = width / 6 + 4 * frame, height / 4
        u, v = (columns - left) / (width / 2), (rows - top) / (height / 2)
        hit = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
        gbuffers.append(
            GBuffer(
                depth=np.where(hit, 3.0 - 0.1 * frame + u, np.inf).astype(np.float32),
                uv=np.where(hit[..., None], np.stack([u, v], -1), 0).astype(np.float32),
                object_id=hit.astype(np.int32),
                tri_id=hit.astype(np.int32) - 1,
                bary=np.zeros((height, width, 2), np.float32),
            )
        )
    return gbuffers


def empty_clip(n_frames: int, height: int, width: int) -> list[GBuffer]:
    """G-buffers that show nothing but background."""
    return [
        GBuffer(
            depth=np.full((height, width), np.inf, np.float32),
            uv=np.zeros((height, width, 2), np.float32),
            object_id=np.zeros((height, width), np.int32),
            tri_id=np.full((height, width), -1, np.int32),
            bary=np.zeros((height, width, 2), np.float32),
        )
        for _ in range(n_frames)
    ]
