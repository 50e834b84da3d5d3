"""Samplers by name: a scheduler for one run, on the noise levels that a model was trained on."""

from collections.abc import Callable
from typing import Any

from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from genrender.config import Sampler

# How each is made of the configuration of the model's own scheduler, whose class comes first.
SAMPLERS: dict[Sampler, Callable[[type, Any], Any]] = {
    "model": lambda own, config: own.from_config(config),
    "dpm++": lambda _, config: DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=False),
    "dpm++-karras": lambda _, config: DPMSolverMultistepScheduler.from_config(config, use_karras_sigmas=True),
}


def make_sampler(name: Sampler, own: Any) -> Any:
    """A new scheduler; the model's own stays as it is, and so do those of other runs.

    Args:
        name: see `RunConfig.sampler`.
        own: the model's scheduler.
    """
    return SAMPLERS[name](type(own), own.config)
