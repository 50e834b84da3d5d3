"""Which backbone drives the networks of a pipeline: one entry for every family of models."""

from collections.abc import Callable
from typing import Any

from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline

from genrender.backbones.protocol import Backbone
from genrender.backbones.sdxl import StableDiffusionXL
from genrender.backbones.stable_diffusion import StableDiffusion
from genrender.errors import ModelError

# The class of diffusers that loads the family's folders, and what drives its networks.
FAMILIES: dict[type, Callable[[Any, Any], Backbone]] = {
    StableDiffusionControlNetPipeline: StableDiffusion,
    StableDiffusionXLControlNetPipeline: StableDiffusionXL,
}


def backbone_of(pipeline: Any, scheduler: Any = None) -> Backbone:
    """The networks of a pipeline of diffusers as a `Backbone`.

    Args:
        pipeline: holds the networks.
        scheduler: None: the pipeline's own.

    Raises:
        ModelError: it is of no family that is known here.
    """
    for kind, drive in FAMILIES.items():
        if isinstance(pipeline, kind):
            return drive(pipeline, scheduler)
    known = ", ".join(kind.__name__ for kind in FAMILIES)
    raise ModelError(f"a {type(pipeline).__name__} cannot be driven, expected one of {known}")
