"""Where networks wait and compute: on the device, or off it until they are needed."""

from typing import Any

import torch
from accelerate.hooks import CpuOffload

from genrender.config import Placement
from genrender.errors import ConfigError


def place(pipeline: Any, device: torch.device, placement: Placement = "none") -> None:
    """Put the networks of a pipeline of diffusers where they belong, by its own means.

    Args:
        pipeline: with all that it should have: what is loaded later is not placed.
        device: where the networks compute.
        placement: `model` keeps each network off the device while it waits, `sequential` each layer.

    Raises:
        ConfigError: the device is the CPU, off which there is nowhere to go.
    """
    if placement == "none":
        pipeline.to(device)
    elif device.type == "cpu":
        raise ConfigError(
            f"offload {placement} keeps networks off a graphics card, expected a device beside the CPU: "
            "leave it out"
        )
    elif placement == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def free(pipeline: Any) -> None:
    """Networks that wait off the device go back there; where none do, nothing happens.

    Differs: diffusers' `maybe_free_model_hooks` also makes all hooks anew, and works only with the pipeline
    that made them, not with another one of the same networks.
    """
    for part in pipeline.components.values():
        hook = getattr(part, "_hf_hook", None)
        if isinstance(hook, CpuOffload):
            hook.init_hook(part)
