"""Tiny control networks of every kind with random weights, and pictures for them to see."""

import inspect
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel
from tiny_models import tiny_controlnet
from torch import Tensor

from genrender.config import ControlKind


def _awake(network: Any, seed: int) -> Any:
    """With convolutions that a new ControlNet has as zeros, so that what they say matters."""
    torch.manual_seed(seed)
    for convolution in [*network.controlnet_down_blocks, network.controlnet_mid_block]:
        torch.nn.init.normal_(convolution.weight, std=0.2)
    torch.nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return network.eval()


def other_controlnet(unet: UNet2DConditionModel, seed: int = 8, **settings: Any) -> ControlNetModel:
    """Another one than `tiny_controlnet`, with other settings where they are given."""
    torch.manual_seed(seed)
    config = dict(tiny_controlnet(unet).config) | settings
    return _awake(ControlNetModel.from_config(config), seed)


def tiny_union(unet: UNet2DConditionModel, seed: int = 9, **settings: Any) -> ControlNetUnionModel:
    """A ControlNet-Union of six kinds of pictures."""
    torch.manual_seed(seed)
    width = unet.config["block_out_channels"][0]
    own = {"num_trans_channel": width, "num_trans_head": 2, "num_proj_channel": width, "num_control_type": 6}
    known = inspect.signature(ControlNetUnionModel).parameters
    config = {name: value for name, value in unet.config.items() if name in known}
    union = ControlNetUnionModel(**(config | own | {"conditioning_channels": 3} | settings))
    torch.nn.init.normal_(union.spatial_ch_projs.weight, std=0.2)
    return _awake(union, seed)


def tiny_adapter(unet: UNet2DConditionModel, seed: int = 10, **settings: Any) -> T2IAdapter:
    """A T2I-Adapter; SDXL's have `adapter_type="full_adapter_xl"`."""
    torch.manual_seed(seed)
    own = {"channels": list(unet.config["block_out_channels"]), "num_res_blocks": 1}
    adapter = T2IAdapter(**(own | settings))
    for parameter in adapter.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.15)
    return adapter.eval()


def random_pictures(n_frames: int, height: int, width: int) -> dict[ControlKind, Tensor]:
    """Noise in [0, 1] as control pictures of every kind; grey ones have equal channels."""
    generator = torch.Generator().manual_seed(11)
    kinds: dict[ControlKind, int] = {"depth": 1, "normal": 3, "lineart": 1, "segmentation": 3}
    return {
        kind: torch.rand(n_frames, n_channels, height, width, generator=generator).expand(-1, 3, -1, -1)
        for kind, n_channels in kinds.items()
    }
