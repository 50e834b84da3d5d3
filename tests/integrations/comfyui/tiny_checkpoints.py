"""Tiny checkpoints that ComfyUI and diffusers read alike.

ComfyUI tells families by exact widths: 320 channels in the first layer and so on. So tiny ones are entered in
its table beside the real ones; all else is its own: the loader, the networks, the samplers.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import comfy.sd1_clip
import comfy.sdxl_clip
import comfy.supported_models as known
import torch
from comfy.taesd.taesd import TAESD
from diffusers import ControlNetModel, UNet2DConditionModel
from original_layout import open_clip, original_controlnet, original_unet, under
from safetensors.torch import save_file

TEXT_WIDTH = 32
TEXT = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
SIZES = 6 * 256  # what SDXL reads of a picture's size

SD15: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    "attention_head_dim": 8,
    "cross_attention_dim": TEXT_WIDTH,
}
SDXL: dict[str, Any] = {
    "block_out_channels": (64, 128),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 2),
    "transformer_layers_per_block": (1, 2),
    "use_linear_projection": True,
    "cross_attention_dim": 2 * TEXT_WIDTH,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": TEXT_WIDTH + SIZES,
}


def _options(model_options: dict[str, Any]) -> dict[str, Any]:
    return {
        **model_options,
        "clip_l_model_config": TEXT,
        "clip_g_model_config": {**TEXT, "projection_dim": TEXT_WIDTH},
    }


class TinyText(comfy.sd1_clip.SD1ClipModel):
    def __init__(
        self, device: Any = "cpu", dtype: Any = None, model_options: Any = None, **others: Any
    ) -> None:
        super().__init__(device=device, dtype=dtype, model_options=_options(model_options or {}), **others)


class TinyTextXL(comfy.sdxl_clip.SDXLClipModel):
    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__(device=device, dtype=dtype, model_options=_options(model_options or {}))


class TinySD15(known.SD15):
    unet_config: ClassVar = {**known.SD15.unet_config, "context_dim": TEXT_WIDTH, "model_channels": 32}

    def clip_target(self, state_dict: Any = None) -> Any:  # noqa: ARG002 (theirs)
        return known.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, TinyText)


class TinySDXL(known.SDXL):
    unet_config: ClassVar = {
        **known.SDXL.unet_config,
        "context_dim": 2 * TEXT_WIDTH,
        "model_channels": 64,
        "adm_in_channels": TEXT_WIDTH + SIZES,
        "transformer_depth": [0, 2],
    }

    def clip_target(self, state_dict: Any = None) -> Any:  # noqa: ARG002 (theirs)
        return known.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, TinyTextXL)


def register() -> None:
    """Enters the tiny families in ComfyUI's table."""
    known.models[:0] = [TinySD15, TinySDXL]


def tiny_unet(settings: dict[str, Any]) -> UNet2DConditionModel:
    torch.manual_seed(2)
    unet = UNet2DConditionModel(in_channels=4, out_channels=4, layers_per_block=1, **settings).eval()
    # Random networks say next to nothing at their ends; this one's attention and output can be seen.
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if name.endswith(("attn1.to_q.weight", "attn1.to_k.weight", "attn1.to_out.0.weight")):
                weight.mul_(3)
    return unet


def tiny_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    torch.manual_seed(3)
    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    for convolution in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
        torch.nn.init.normal_(convolution.weight, std=0.2)
    torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return controlnet.eval()


def tiny_vae() -> dict[str, torch.Tensor]:
    """A TAESD, which ComfyUI finds in checkpoints by its names: the real autoencoder is never tiny."""
    torch.manual_seed(4)
    weights = {}
    for name, weight in TAESD().state_dict().items():
        spread = (2 / weight[0].numel()) ** 0.5 if weight.ndim == 4 else 0.0
        weights[name] = spread * torch.randn_like(weight)
    # What it shifts and scales latents by are numbers, not weights to be drawn.
    return {**weights, "vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}


def save_checkpoint(path: Path, unet: UNet2DConditionModel, is_xl: bool) -> Path:
    """A checkpoint as people have them: UNet, autoencoder and text encoders under the authors' names."""
    torch.manual_seed(1)
    if is_xl:
        text = TinyTextXL(dtype=torch.float32)
        weights = under("conditioner.embedders.0.transformer.", _random(text.clip_l.transformer))
        weights |= under("conditioner.embedders.1.model.", _open_clip(text.clip_g.transformer))
    else:
        text = TinyText(dtype=torch.float32)
        weights = under("cond_stage_model.transformer.", _random(text.clip_l.transformer))
    weights |= under("model.diffusion_model.", original_unet(unet))
    weights |= under("first_stage_model.", tiny_vae())
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return path


def _random(encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Numbers for layers that ComfyUI makes without any in them."""
    return {
        name: torch.ones_like(weight)
        if weight.ndim == 1 and name.endswith("weight")
        else torch.randn_like(weight) / 4
        for name, weight in encoder.state_dict().items()
    }


def _open_clip(encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    weights = _random(encoder)
    return open_clip(SimpleNamespace(state_dict=lambda: weights), TEXT["num_hidden_layers"])


def save_controlnet(path: Path, controlnet: ControlNetModel) -> Path:
    weights = under("control_model.", original_controlnet(controlnet))
    save_file(weights, path)
    return path
