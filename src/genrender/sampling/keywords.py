"""Keywords of diffusers' ControlNet pipelines that make sense for a clip, in the words of our own loop."""

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from genrender.backbones.ip_adapters import read_pictures
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.suggest import nearest_word
from genrender.config import ControlKind
from genrender.errors import ConfigError
from genrender.sampling.callbacks import StepCallback
from genrender.sampling.loop import SamplingConfig


class Keywords(TypedDict, total=False):
    """What is called as in diffusers, and means the same.

    Attributes:
        num_inference_steps: diffusion steps; None: as many as without it.
        timesteps: what the scheduler goes through, descending, instead of a number of steps.
        sigmas: likewise, noise levels; the run ends at the last.
        guidance_scale: weight of classifier-free guidance; 1 or less runs the conditional branch only. None
            takes what the model was made for.
        guidance_rescale: share in [0, 1] of the guided output that gets the conditional one's spread.
        guider: one of `diffusers.guiders` that combines a conditional and an unconditional output, instead of
            guidance_scale and guidance_rescale.
        eta: noise of DDIM; other schedulers ignore it.
        generator: for noise that the scheduler draws itself (ancestral samplers, eta > 0) where it does not
            live on the surface, see `NoiseConfig.every_step`; a list has one for every frame. None follows
            `seed`.
        latents: "F C h w" of unit variance, instead of mechanism 1's noise.
        prompt_embeds: text features "1 L C" instead of the prompt.
        negative_prompt_embeds: likewise.
        pooled_prompt_embeds: "1 P" beside them, for models of two text encoders.
        negative_pooled_prompt_embeds: likewise.
        ip_adapter_image: reference picture(s) for a loaded IP-Adapter, for several a list with an entry each.
        ip_adapter_image_embeds: instead of pictures, what the image encoder makes of them.
        cross_attention_kwargs: `scale` of all LoRAs, `ip_adapter_masks`.
        controlnet_conditioning_scale: weight of the control networks; a list has one for each.
        control_guidance_start: share of the steps after which they begin to steer; likewise.
        control_guidance_end: share after which they cease to; likewise.
        guess_mode: only the control networks steer.
        clip_skip: how many of the text encoders' last layers are left out.
        output_type: `np`, `pt` and `pil` decode the frames; `latent` leaves that to `decode_frames`.
        return_dict: False: the fields of the output in their order, as a tuple.
        callback_on_step_end: called after each step with (pipeline, step, timestep, tensors by name), all
            frames in memory; may return a dict with others, which count from then on. Setting
            `pipeline._interrupt` ends the run, setting `pipeline._guidance_scale` changes guidance. Callbacks
            of diffusers say themselves which tensors they want.
        callback_on_step_end_tensor_inputs: which tensors it is given: `latents` and what the networks read,
            such as `prompt_embeds`, in diffusers' shapes.
    """

    num_inference_steps: int | None
    timesteps: Sequence[int] | None
    sigmas: Sequence[float] | None
    guidance_scale: float | None
    guidance_rescale: float
    guider: Any
    eta: float
    generator: torch.Generator | list[torch.Generator] | None
    latents: Tensor | None
    prompt_embeds: Tensor | None
    negative_prompt_embeds: Tensor | None
    pooled_prompt_embeds: Tensor | None
    negative_pooled_prompt_embeds: Tensor | None
    ip_adapter_image: Any
    ip_adapter_image_embeds: list[Tensor] | None
    cross_attention_kwargs: dict[str, Any] | None
    controlnet_conditioning_scale: float | list[float]
    control_guidance_start: float | list[float]
    control_guidance_end: float | list[float]
    guess_mode: bool
    clip_skip: int | None
    output_type: str
    return_dict: bool
    callback_on_step_end: StepCallback | None
    callback_on_step_end_tensor_inputs: Sequence[str]


# What diffusers takes and a clip has no use for, with the reason.
REFUSED = {
    "image": "control pictures come from the G-buffers",
    "control_image": "control pictures come from the G-buffers",
    "control_mode": "a network of several kinds is told by control_kinds",
    "height": "frames are as large as the G-buffers",
    "width": "frames are as large as the G-buffers",
    "num_images_per_prompt": "a clip is one video: call once for every seed",
    "num_videos_per_prompt": "a clip is one video: call once for every seed",
    "conditioning_frames": "control pictures come from the G-buffers",
    "callback": "diffusers has given it up: use callback_on_step_end",
    "callback_steps": "diffusers has given it up: use callback_on_step_end",
    "prompt_2": "both text encoders read the prompt",
    "negative_prompt_2": "both text encoders read the negative prompt",
    "denoising_start": "a clip is denoised by one model",
    "denoising_end": "a clip is denoised by one model",
    "strength": "a clip begins with noise on its surfaces: give latents to begin otherwise",
    "original_size": "SDXL is told the size that the frames have",
    "target_size": "SDXL is told the size that the frames have",
    "crops_coords_top_left": "SDXL is told that frames are not cropped",
    "negative_original_size": "SDXL is told the size that the frames have",
    "negative_target_size": "SDXL is told the size that the frames have",
    "negative_crops_coords_top_left": "SDXL is told that frames are not cropped",
    "adapter_conditioning_scale": "T2I-Adapters are weighed by controlnet_conditioning_scale",
    "adapter_conditioning_factor": "T2I-Adapters cease to steer at control_guidance_end",
    "num_frames": "a clip has a frame for every G-buffer",
    "decode_chunk_size": "frames are decoded one by one",
}
# What attention layers read of `cross_attention_kwargs`.
ATTENTION_WORDS = {"scale", "ip_adapter_masks"}
# Keywords that take the place of others.
_NOISE_LEVELS = ("timesteps", "sigmas")
INSTEAD = {
    **dict.fromkeys(("num_inference_steps", *_NOISE_LEVELS), _NOISE_LEVELS),
    "ip_adapter_image_embeds": ("ip_adapter_image",),
}
OUTPUT_TYPES = ("np", "pt", "pil", "latent")


def check_keywords(keywords: Keywords) -> None:
    """Raises ConfigError for a keyword that a clip has no use for, and for an unknown one."""
    for name in keywords:
        if name in REFUSED:
            raise ConfigError(f"{name} means nothing here: {REFUSED[name]}; leave it out")
        if name not in Keywords.__annotations__:
            near = nearest_word(name, list(Keywords.__annotations__))
            raise ConfigError(f"unknown keyword {name!r}" + (f", expected perhaps {near}" if near else ""))
    output_type = keywords.get("output_type", "np")
    if output_type not in OUTPUT_TYPES:
        raise ConfigError(f"output_type is {output_type!r}, expected {', '.join(OUTPUT_TYPES)}")


def keywords_of(recipe: Recipe) -> Keywords:
    """What a recipe says about how its networks are called, in diffusers' words.

    Raises:
        ModelError: a picture cannot be read.
    """
    said: Keywords = {}
    if recipe.controls:
        said["controlnet_conditioning_scale"] = [control.scale for control in recipe.controls]
        said["control_guidance_start"] = [control.start for control in recipe.controls]
        said["control_guidance_end"] = [control.end for control in recipe.controls]
    if recipe.timesteps:
        said["timesteps"] = recipe.timesteps
    if recipe.sigmas:
        said["sigmas"] = recipe.sigmas
    if recipe.image_prompts and all(prompt.pictures for prompt in recipe.image_prompts):
        said["ip_adapter_image"] = read_pictures(recipe.image_prompts)
    return said


def completed(keywords: Keywords, standard: Keywords) -> Keywords:
    """A call's keywords, and of the standard ones those that it says nothing else for."""
    left = dict(standard)
    for said, instead in INSTEAD.items():
        if said in keywords:
            for name in instead:
                left.pop(name, None)
    return cast(Keywords, left | dict(keywords))


def seed_of(keywords: Keywords, seed: int | None) -> int:
    """The seed of a call: given, or that of the (first) generator, or 0."""
    if seed is not None:
        return seed
    generator = keywords.get("generator")
    first = generator[0] if isinstance(generator, list) and generator else generator
    return first.initial_seed() if isinstance(first, torch.Generator) else 0


def conditions_of(keywords: Keywords, kinds: Sequence[ControlKind], **ours: Any) -> Conditions:
    """What a clip is to show.

    Args:
        keywords: of the call, checked.
        kinds: what each control network sees.
        ours: fields of `Conditions` that are no keywords of diffusers, and `guidance_scale`.

    Raises:
        ConfigError: there are not as many weights as control networks, a share is out of range, or something
            is for attention layers that they do not read.
    """
    for_attention = keywords.get("cross_attention_kwargs") or {}
    # diffusers warns of each in every layer, and goes on without.
    if unknown := set(for_attention) - ATTENTION_WORDS:
        raise ConfigError(
            f"cross_attention_kwargs has {min(unknown)!r}, which nothing here reads, expected of "
            f"{', '.join(sorted(ATTENTION_WORDS))}"
        )
    passed = {
        name: keywords[name]
        for name in (
            *("guidance_rescale", "guider", "guess_mode", "clip_skip", "prompt_embeds"),
            *("negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"),
        )
        if name in keywords
    }
    return Conditions(
        **passed,
        **ours,
        controls=_controls(keywords, kinds),
        image_prompt=keywords.get("ip_adapter_image"),
        image_prompt_embeds=keywords.get("ip_adapter_image_embeds"),
        cross_attention_kwargs=for_attention,
    )


def sampling_of(keywords: Keywords, seed: int, chunk_size: int, n_steps: int) -> SamplingConfig:
    """How a clip is sampled; `n_steps` where the keywords do not say.

    Raises:
        ConfigError: a count is below 1.
    """
    asked = keywords.get("num_inference_steps")
    sampling = SamplingConfig(
        n_steps=n_steps if asked is None else asked,
        seed=seed,
        chunk_size=chunk_size,
        eta=keywords.get("eta", 0.0),
        generator=keywords.get("generator"),
        latents=keywords.get("latents"),
        timesteps=_levels(keywords.get("timesteps")),
        sigmas=_levels(keywords.get("sigmas")),
    )
    sampling.check()
    return sampling


def _levels(values: Iterable[Any] | None) -> tuple[Any, ...]:
    """Of an array, too, which has no truth value."""
    return () if values is None else tuple(values)


def _controls(keywords: Keywords, kinds: Sequence[ControlKind]) -> tuple[Control, ...]:
    columns = [
        _for_each(name, keywords.get(name, default), len(kinds))
        for name, default in (
            ("controlnet_conditioning_scale", 1.0),
            ("control_guidance_start", 0.0),
            ("control_guidance_end", 1.0),
        )
    ]
    controls = tuple(Control(kind, None, *numbers) for kind, *numbers in zip(kinds, *columns, strict=True))
    for control in controls:
        control.check()
    return controls


def _for_each(name: str, value: float | Sequence[float], n_networks: int) -> list[float]:
    numbers = [float(one) for one in value] if isinstance(value, Sequence) else [float(value)] * n_networks
    if len(numbers) != n_networks:
        raise ConfigError(
            f"{name} has {len(numbers)} numbers, expected one for each of {n_networks} control pictures "
            "(see control_kinds)"
        )
    return numbers
