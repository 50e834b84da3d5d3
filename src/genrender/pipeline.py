"""From a sentence and the G-buffers of a clip to frames: the front door for who knows diffusers.

What happens behind it is `genrender.sampling.loop.sample`.

Example:
    >>> from genrender.pipeline import load_pipeline
    >>> pipe = load_pipeline("pocket")
    >>> result = pipe("a red and white striped biped", gbuffers, seed=7)
    >>> result.frames.shape  # (frames, height, width, 3), float32 in [0, 1]
    (16, 128, 128, 3)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import logging
from diffusers.utils.outputs import BaseOutput
from jaxtyping import Float32
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from genrender.backbones.families import backbone_of
from genrender.backbones.loading import load_networks
from genrender.backbones.precision import dtype_name
from genrender.backbones.protocol import Backbone, Conditions
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.sources import read_guidance_scale, read_vocabulary, unknown_words
from genrender.config import MethodConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.sampling.appearance import Appearance
from genrender.sampling.callbacks import DiffusersHooks, StepCallback
from genrender.sampling.loop import SamplingConfig, decode_frames, sample
from genrender.sampling.store import FrameTensors
from genrender.sampling.surface import ClipSurface
from genrender.surface.tracking import SurfaceTracker

logger = logging.get_logger(__name__)


@dataclass
class GenerativeRenderingOutput(BaseOutput):
    """What a run returns.

    Attributes:
        frames: "F H W 3" float32 in [0, 1]; a tensor "F 3 H W" for `output_type="pt"`, a list of pictures for
            "pil", None for "latent".
        latents: the final latents of all frames, float32 "F C h w".
        flagged_frames: indices of frames that the model's safety checker blackened; with "latent" output
            nothing is checked.
    """

    frames: Any
    latents: Any
    flagged_frames: list[int] = field(default_factory=list)


class ClipCall:
    """What our pipelines add to one of diffusers': a call that denoises all frames of a clip together.

    Components, `from_pretrained`, `save_pretrained`, schedulers, LoRA, textual inversion, IP-Adapter and
    offloading are diffusers' own.
    """

    @torch.no_grad()
    def __call__(
        self: Any,  # a pipeline of diffusers
        prompt: str,
        gbuffers: Sequence[GBuffer],
        negative_prompt: str | None = None,
        config: MethodConfig = MethodConfig(),  # noqa: B008 (frozen)
        tracker: SurfaceTracker | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float | None = None,
        controlnet_conditioning_scale: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        eta: float = 0.0,
        latents: Tensor | None = None,
        ip_adapter_image: Any = None,
        chunk_size: int = 8,
        output_type: Literal["np", "pt", "pil", "latent"] = "np",
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        appearance: Appearance | None = None,
        object_prompts: Mapping[int, str] | None = None,
        timesteps: Sequence[int] = (),
        sigmas: Sequence[float] = (),
        return_dict: bool = True,
        guidance_rescale: float = 0.0,
        guider: Any = None,
    ) -> GenerativeRenderingOutput | tuple[Any, Any, list[int]]:
        """Render a clip.

        Args:
            prompt: what the clip shows.
            gbuffers: one per frame, all of one size, a multiple of the VAE factor.
            negative_prompt: what it does not show; only under guidance.
            config: the method's settings; `PER_FRAME` switches all mechanisms off.
            tracker: the clip's geometry; only the `reproject` engine needs it.
            num_inference_steps: diffusion steps.
            guidance_scale: weight of classifier-free guidance; 1 or less runs the conditional branch only.
                None takes what the model was made for.
            controlnet_conditioning_scale: weight of the depth control.
            seed: of everything that is drawn by chance: surface noise, keyframes, scheduler. None takes the
                (first) generator's, or 0 where there is none either.
            generator: for noise that the scheduler draws itself (ancestral samplers, eta > 0) where it does
                not live on the surface, see `NoiseConfig.every_step`; a list has one for every frame. None
                follows `seed`.
            eta: noise of DDIM; other schedulers ignore it.
            latents: "F C h w" of unit variance, instead of mechanism 1's noise.
            ip_adapter_image: reference picture(s) for a loaded IP-Adapter.
            chunk_size: frames that go through the networks at once, halved where the device's memory does not
                suffice. It changes memory and speed, never a random number. A step's keyframes run together,
                whatever the chunk.
            output_type: `np`, `pt` and `pil` decode the frames; `latent` leaves that to `decode_frames`.
            callback_on_step_end: called after each step with (pipeline, step, timestep, tensors by name), all
                frames in memory; may return a dict with others, which count from then on. Setting
                `pipeline._interrupt` ends the run, setting `pipeline._guidance_scale` changes guidance.
                Callbacks of diffusers say themselves which tensors they want.
            callback_on_step_end_tensor_inputs: which tensors it is given: `latents` and what the networks
                read, such as `prompt_embeds`, in diffusers' shapes.
            appearance: frames of another run of the same model, steps and size, whose look this clip takes
                over; only with the `texture` engine.
            object_prompts: what single objects show, by object id; their pixels read this beside `prompt`.
            timesteps: what the scheduler goes through, descending, instead of a number of steps.
            sigmas: likewise, noise levels; the run ends at the last.
            return_dict: False: the fields of the output in their order, as a tuple.
            guidance_rescale: share in [0, 1] of the guided output that gets the conditional one's spread.
            guider: one of `diffusers.guiders` that combines a conditional and an unconditional output,
                instead of guidance_scale and guidance_rescale.

        Raises:
            ConfigError: a setting is out of range, or the sizes do not fit.

        Source: Generative Rendering (arXiv 2312.01409), section 4.
        """
        # diffusers takes a list of prompts as a batch of pictures, but a clip has one prompt.
        for name, text in (("prompt", prompt), ("negative prompt", negative_prompt)):
            if not (isinstance(text, str) or (text is None and name == "negative prompt")):
                raise ConfigError(
                    f"the {name} is of type {type(text).__name__}, expected one str: call once per clip"
                )
        if output_type not in ("np", "pt", "pil", "latent"):
            raise ConfigError(f"output_type is {output_type!r}, expected np, pt, pil or latent")
        for text in (prompt, *(object_prompts or {}).values()):
            self._warn_of_unknown_words(text)
        if guidance_scale is None:
            guidance_scale = read_guidance_scale(self.name_or_path)
        if seed is None:
            first = generator[0] if isinstance(generator, list) and generator else generator
            seed = first.initial_seed() if isinstance(first, torch.Generator) else 0
        # What diffusers' own properties show is set as diffusers does.
        self._guidance_scale, self._clip_skip, self._cross_attention_kwargs = guidance_scale, None, None
        self._interrupt = False

        conditions = Conditions(
            prompt=prompt,
            negative_prompt=negative_prompt,
            object_prompts=object_prompts or {},
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            guider=guider,
            controls=(Control(scale=float(controlnet_conditioning_scale)),),
            image_prompt=ip_adapter_image,
        )
        sampling = SamplingConfig(
            n_steps=num_inference_steps,
            seed=seed,
            chunk_size=chunk_size,
            eta=eta,
            generator=generator,
            latents=latents,
            timesteps=tuple(timesteps),
            sigmas=tuple(sigmas),
        )
        sampling.check()
        surface = ClipSurface(
            gbuffers, self.vae_scale_factor, config, seed, self._execution_device, tracker, appearance
        )
        hooks = DiffusersHooks(self, callback_on_step_end, callback_on_step_end_tensor_inputs)
        with hooks:
            final = sample(self.backbone, conditions, surface, config, sampling, hooks=hooks)
        pictures: Any = None
        flagged: list[int] = []
        if output_type != "latent":
            pictures = np.stack(list(self.decode_frames(final, flagged.append)))
        if output_type == "pil":
            pictures = [PIL.Image.fromarray(frame) for frame in (pictures * 255).round().astype(np.uint8)]
        if output_type == "pt":
            pictures = torch.from_numpy(pictures).movedim(-1, 1)
        if not return_dict:
            return pictures, final, flagged
        return GenerativeRenderingOutput(frames=pictures, latents=final, flagged_frames=flagged)

    @property
    def backbone(self) -> Backbone:
        """The networks as the sampling loop sees them."""
        return backbone_of(self)

    def decode_frames(
        self, latents: FrameTensors, on_flagged: Callable[[int], None] | None = None
    ) -> Iterator[Float32[np.ndarray, "H W 3"]]:
        """See `genrender.sampling.loop.decode_frames`."""
        return decode_frames(self.backbone, latents, on_flagged)

    def _warn_of_unknown_words(self: Any, prompt: str) -> None:
        vocabulary = read_vocabulary(self.name_or_path) if self.name_or_path else None
        if vocabulary is not None and (unknown := unknown_words(prompt, vocabulary)):
            logger.warning(f"the model does not know these words of the prompt: {', '.join(unknown)}")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in diffusers, but only safetensors: a pickle may run code when it is loaded."""
        diffusers_own: Any = super()
        return diffusers_own.from_pretrained(
            pretrained_model_name_or_path, **(kwargs | {"use_safetensors": True})
        )


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
        _lay_out_for_speed(vae, unet, controlnet)


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
        _lay_out_for_speed(vae, unet, controlnet)


def _lay_out_for_speed(*networks: torch.nn.Module) -> None:
    """Convolutions are faster with this layout, and tokens are views of feature maps."""
    for network in networks:
        # diffusers' own `to` warns of modules to keep in float32, which these networks do not have.
        torch.nn.Module.to(network, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def load_pipeline(
    model: str = "pocket",
    controlnet: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    vae: str | None = None,
) -> Any:
    """Load a model by name. The network is touched only where a hub model is named, and for nothing else.

    Args:
        model: `pocket` (packaged), `sd15`, a folder with model_index.json, or a hub id owner/name.
        controlnet: folder or hub id of a depth ControlNet, for models that bring none.
        device: None takes CUDA where there is one, else Apple's GPU (MPS), else the CPU.
        dtype: None computes in float16 on CUDA (pocket: float32), in bfloat16 on a CPU that does so in
            hardware, in float32 elsewhere.
        vae: folder or hub id of an autoencoder to use instead of the model's own, such as the small and fast
            `madebyollin/taesd`.

    Returns:
        A `GenerativeRenderingPipeline`, or a `GenerativeRenderingXLPipeline` for models of SDXL.

    Raises:
        ModelError: unknown name, missing or damaged files, or networks that do not fit together.

    Example:
        >>> pipe = load_pipeline("sd15")
        >>> pipe = load_pipeline("weights/stable-diffusion-v1-5", controlnet="weights/sd15-depth")
    """
    recipe = Recipe(
        model,
        controls=() if controlnet is None else (Control(source=controlnet),),
        vae=vae,
        device=None if device is None else str(device),
        precision=None if dtype is None else dtype_name(dtype),
    )
    networks = load_networks(recipe)
    pipeline: Any
    if isinstance(networks, StableDiffusionXLControlNetPipeline):
        zeros = networks.config["force_zeros_for_empty_prompt"]
        pipeline = GenerativeRenderingXLPipeline(**networks.components, force_zeros_for_empty_prompt=zeros)
    else:
        pipeline = GenerativeRenderingPipeline(**networks.components)
    pipeline.register_to_config(_name_or_path=networks.name_or_path)
    return pipeline
