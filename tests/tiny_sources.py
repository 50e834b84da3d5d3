"""Tiny models of every family as files on the disk, in the layouts that people have."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny_models import tiny_components, tiny_controlnet, tiny_unet
from tiny_sdxl import SDXL_UNET, sdxl_components


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
