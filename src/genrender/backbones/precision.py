"""Which numbers, in which layout, a machine computes networks in fastest without losing the picture."""

from typing import get_args

import torch

from genrender.config import Dtype
from genrender.errors import ConfigError


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware; one that emulates it is many times slower.

    A CPU does with AMX or AVX512-BF16. Asked of PyTorch, whose kernels have to know, not of a list of names.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    # A PyTorch that lacks one of these functions counts as answering no.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in questions)


def dtype_name(dtype: torch.dtype) -> Dtype:
    """What a recipe calls numbers of PyTorch.

    Raises:
        ConfigError: networks do not compute in them.

    Example:
        >>> dtype_name(torch.float16)
        'float16'
    """
    for name in get_args(Dtype):
        if getattr(torch, name) == dtype:
            return name
    raise ConfigError(f"dtype is {dtype}, expected one of {', '.join(get_args(Dtype))}")


def default_dtype(device: torch.device, is_pocket: bool) -> torch.dtype:
    """What `--dtype` means when it is not given.

    float16 on CUDA, in which the large models are published, and float32 there for the small pocket; bfloat16
    on CPUs that compute in it; float32 elsewhere.
    """
    if device.type == "cuda":
        return torch.float32 if is_pocket else torch.float16
    if device.type == "cpu" and computes_in_bfloat16(device):
        return torch.bfloat16
    return torch.float32


def lay_out_for_speed(*networks: torch.nn.Module) -> None:
    """Convolutions are faster with channels last, and tokens are then views of feature maps."""
    for network in networks:
        # diffusers' own `to` warns of modules to keep in float32, which these networks do not have.
        torch.nn.Module.to(network, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
