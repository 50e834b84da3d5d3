"""From a sentence and the G-buffers of a clip to frames: the front door for who knows diffusers.

What happens behind it is `genrender.sampling.loop.sample`.

Example:
    >>> from genrender.pipeline import load_pipeline
    >>> pipe = load_pipeline("pocket")
    >>> result = pipe("a red and white striped biped", gbuffers, seed=7)
    >>> result.frames.shape  # (frames, height, width, 3), float32 in [0, 1]
    (16, 128, 128, 3)
"""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.animatediff.pipeline_animatediff_controlnet import AnimateDiffControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from genrender.backbones.loading import load_networks
from genrender.backbones.precision import dtype_name, lay_out_for_speed
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.samplers import make_sampler
from genrender.errors import ConfigError
from genrender.sampling.call import ClipCall
from genrender.sampling.keywords import keywords_of


class GenerativeRenderingPipeline(ClipCall, StableDiffusionControlNetPipeline):
    """Generative Rendering by Stable Diffusion 1.x and 2.x. Any of their folders loads unchanged:

    Example:
        >>> controlnet = ControlNetModel.from_pretrained("lllyasviel/control_v11f1p_sd15_depth")
        >>> pipe = GenerativeRenderingPipeline.from_pretrained("stable-diffusion-v1-5", controlnet=controlnet)
        >>> pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        >>> frames = pipe("a bronze statue of a fox", gbuffers, num_inference_steps=20).frames
    """

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderTiny,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        requires_safety_checker: bool = False,
    ) -> None:
        # diffusers requires a safety checker and a feature extractor by signature, though not in fact.
        components: dict[str, Any] = {
            "vae": vae,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "unet": unet,
            "controlnet": controlnet,
            "scheduler": scheduler,
            "safety_checker": safety_checker,
            "feature_extractor": feature_extractor,
            "image_encoder": image_encoder,
        }
        super().__init__(**components, requires_safety_checker=requires_safety_checker)
        lay_out_for_speed(vae, unet, controlnet)


class GenerativeRenderingXLPipeline(ClipCall, StableDiffusionXLControlNetPipeline):
    """Generative Rendering by Stable Diffusion XL."""

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderTiny,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        tokenizer_2: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        force_zeros_for_empty_prompt: bool = True,
    ) -> None:
        components: dict[str, Any] = {
            "vae": vae,
            "text_encoder": text_encoder,
            "text_encoder_2": text_encoder_2,
            "tokenizer": tokenizer,
            "tokenizer_2": tokenizer_2,
            "unet": unet,
            "controlnet": controlnet,
            "scheduler": scheduler,
            "feature_extractor": feature_extractor,
            "image_encoder": image_encoder,
        }
        super().__init__(
            **components,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
            # It needs a package of its own, and no other pipeline here marks its pictures.
            add_watermarker=False,
        )
        lay_out_for_speed(vae, unet, controlnet)


class GenerativeRenderingMotionPipeline(ClipCall, AnimateDiffControlNetPipeline):
    """Generative Rendering by Stable Diffusion 1.x with motion modules (AnimateDiff)."""


def load_pipeline(
    model: str | Recipe = "pocket",
    controlnet: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    vae: str | None = None,
) -> Any:
    """Load a model by name. The network is touched only where a hub model is named, and for nothing else.

    Args:
        model: `pocket` (packaged), `sd15`, a folder in diffusers' layout, a single file or a hub id; or a
            whole recipe, with LoRAs and much more, which the other arguments then have nothing to add to; its
            sampler, weights of controls, noise levels and pictures count where a call says nothing else.
        controlnet: folder, single file or hub id of a depth ControlNet, for models that bring none.
        device: None takes CUDA where there is one, else Apple's GPU (MPS), else the CPU.
        dtype: None computes in float16 on CUDA (pocket: float32), in bfloat16 on a CPU that does so in
            hardware, in float32 elsewhere.
        vae: an autoencoder to use instead of the model's own, such as the small and fast
            `madebyollin/taesd`.

    Returns:
        A `GenerativeRenderingPipeline`; a `GenerativeRenderingXLPipeline` for models of SDXL, a
        `GenerativeRenderingMotionPipeline` where the recipe has a motion adapter.

    Raises:
        ModelError: unknown name, missing or damaged files, or networks that do not fit together.
        ConfigError: a recipe and other arguments are given.

    Example:
        >>> pipe = load_pipeline("sd15")
        >>> pipe = load_pipeline("weights/stable-diffusion-v1-5", controlnet="weights/sd15-depth")
        >>> pipe = load_pipeline(Recipe("photo.safetensors", loras=(Lora("ink.safetensors", 0.8),)))
    """
    if isinstance(model, Recipe):
        if (controlnet, device, dtype, vae) != (None, None, None, None):
            raise ConfigError("a recipe says everything; leave the other arguments of load_pipeline out")
        recipe = model
    else:
        recipe = Recipe(
            model,
            controls=() if controlnet is None else (Control(source=controlnet),),
            vae=vae,
            device=None if device is None else str(device),
            precision=None if dtype is None else dtype_name(dtype),
        )
    recipe.check()
    networks = load_networks(recipe)
    pipeline: Any
    if isinstance(networks, StableDiffusionXLControlNetPipeline):
        zeros = networks.config["force_zeros_for_empty_prompt"]
        pipeline = GenerativeRenderingXLPipeline(**networks.components, force_zeros_for_empty_prompt=zeros)
    elif isinstance(networks, AnimateDiffControlNetPipeline):
        pipeline = GenerativeRenderingMotionPipeline(**networks.components)
    else:
        pipeline = GenerativeRenderingPipeline(**networks.components)
    pipeline.register_to_config(_name_or_path=networks.name_or_path)
    if recipe.sampler is not None:
        pipeline.scheduler = make_sampler(recipe.sampler, pipeline.scheduler)
    if recipe.controls:
        pipeline.control_kinds = tuple(control.kind for control in recipe.controls)
    pipeline.standard_keywords = keywords_of(recipe)
    return pipeline
