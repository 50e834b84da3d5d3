"""Where the method enters a model of ComfyUI: patches of attention and wrappers of its sampling."""

import copy
import inspect
import re
from collections.abc import Iterator
from typing import Any

import comfy.samplers
import torch
from comfy.ldm.modules.attention import BasicTransformerBlock, optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from genrender.backbones.layer_names import self_attention_name
from genrender.errors import ConfigError
from genrender.injection.attention import merge_heads, split_heads

from .conditions import Conditions
from .run import SurfacePlan, SurfaceRun
from .step_noise import StepNoise

# What is ours among a model's wrappers, attachments and options.
KEY = "genrender"
# A transformer block as ComfyUI counts them: side, number, index within.
Block = tuple[str, int, int]


def with_injections(model: Any, plan: SurfacePlan) -> Any:
    """A clone of a model whose samplings go by the plan; with everything off it is a clone and no more.

    Raises:
        ConfigError: it is no model of Stable Diffusion 1.x, 2.x or XL, has injections already, or the layers
            of the method match none of it.
    """
    patched = model.clone()
    if model.get_attachment(KEY) is not None:
        raise ConfigError("the model has gone through Surface Injection already: connect the one before it")
    if not plan.is_active:
        return patched
    patched.set_attachments(KEY, plan)
    layers = _select(self_attention_layers(model), plan.method.injection.layers)
    replaced = model.model_options["transformer_options"].get("patches_replace", {}).get("attn1", {})
    for block, layer in layers.items():
        # What is there already may be for one transformer layer or for all of its block.
        previous = replaced.get(block, replaced.get(block[:2]))
        patched.set_model_attn1_replace(KeyframeAttention(layer, previous), *block)
    patched.set_model_attn1_output_patch(SurfaceFeatures(layers))
    patched.set_model_sampler_post_cfg_function(_change_x0)
    for kind, wrapper in (
        (WrappersMP.PREPARE_SAMPLING, _prepare_sampling),
        (WrappersMP.SAMPLER_SAMPLE, _sample),
        (WrappersMP.PREDICT_NOISE, _predict_noise),
        (WrappersMP.CALC_COND_BATCH, _calculate),
    ):
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched


def self_attention_layers(model: Any) -> dict[Block, str]:
    """All self-attention layers of a UNet: ComfyUI's number and diffusers' name, which settings go by.

    Raises:
        ConfigError: the model is no such UNet.
    """
    unet = model.get_model_object("diffusion_model")
    if not isinstance(unet, UNetModel):
        raise ConfigError(
            f"the model is a {type(unet).__name__}, expected the UNet of Stable Diffusion 1.x, 2.x or XL"
        )
    return {block: self_attention_name(*block, tuple(unet.num_res_blocks)) for block in _blocks(unet)}


def _blocks(unet: UNetModel) -> Iterator[Block]:
    sides = (("input", unet.input_blocks), ("middle", [unet.middle_block]), ("output", unet.output_blocks))
    for side, blocks in sides:
        for number, block in enumerate(blocks):
            transformers = [m for m in block.modules() if isinstance(m, BasicTransformerBlock)]
            for index, layer in enumerate(transformers):
                if not layer.disable_self_attn:
                    yield side, number, index


def _select(layers: dict[Block, str], pattern: str) -> dict[Block, str]:
    selected = {block: layer for block, layer in layers.items() if re.search(pattern, layer)}
    if not selected:
        raise ConfigError(f"layers {pattern!r} matches none of {', '.join(layers.values())}")
    return selected


class KeyframeAttention:
    """Replaces a self-attention layer: queries also read the keys and values of keyframes.

    Args:
        layer: diffusers' name.
        previous: what has replaced it before; it still says how queries attend to keys.
    """

    def __init__(self, layer: str, previous: Any) -> None:
        self._layer, self._previous = layer, previous

    def to(self, where: Any) -> "KeyframeAttention":
        """What ComfyUI asks of patches when it loads a model: what was there before may hold tensors."""
        if hasattr(self._previous, "to"):
            self._previous = self._previous.to(where)
        return self

    def models(self) -> list[Any]:
        """Likewise: it may need models of its own."""
        return self._previous.models() if hasattr(self._previous, "models") else []

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> Tensor:
        def attend(query: Tensor, key: Tensor, value: Tensor, _: float) -> Tensor:
            return split_heads(
                self._attend(*map(merge_heads, (query, key, value)), options), options["n_heads"]
            )

        run = options.get(KEY)
        if run is None:
            return self._attend(query, key, value, options)
        return run.attention(self._layer, (query, key, value), options, attend)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> Tensor:
        if self._previous is not None:
            return self._previous(query, key, value, options)
        return optimized_attention(
            query,
            key,
            value,
            options["n_heads"],
            attn_precision=options["attn_precision"],
            transformer_options=options,
        )


class SurfaceFeatures:
    """Changes outputs of self-attention layers: their large shapes come from the surface.

    Args:
        layers: which, and diffusers' names of them.
    """

    def __init__(self, layers: dict[Block, str]) -> None:
        self._layers = layers

    def __call__(self, output: Tensor, options: dict[str, Any]) -> Tensor:
        run = options.get(KEY)
        layer = self._layers.get((*options.get("block", ("", -1)), options.get("block_index", 0)))
        return output if run is None or layer is None else run.injection(layer, output, options)


def _run_of(model_options: dict[str, Any]) -> SurfaceRun | None:
    return model_options.get("transformer_options", {}).get(KEY)


def _prepare_sampling(executor: Any, model: Any, noise_shape: Any, *args: Any, **kwargs: Any) -> Any:
    """ComfyUI makes room for as many frames as go through the model at once, not for all of the clip."""
    plan: SurfacePlan = model.get_attachment(KEY)
    at_once = [min(noise_shape[0], plan.most_at_once), *noise_shape[1:]]
    return executor(model, at_once, *args, **kwargs)


def _sample(
    executor: Any,
    guider: Any,
    sigmas: Tensor,
    extra_args: dict[str, Any],
    callback: Any,
    noise: Tensor,
    *rest: Any,
) -> Tensor:
    """A run begins with its sampler, and ends with it."""
    plan: SurfacePlan = guider.model_patcher.get_attachment(KEY)
    surface = plan.surface
    wanted, there = (surface.n_frames, *surface.latent_size), (noise.shape[0], *noise.shape[-2:])
    if wanted != there:
        raise ConfigError(
            f"the latents are {there} (frames, height, width), and Surface Injection's clip is {wanted}: "
            "connect `latent` of Surface Noise, or encode as many frames of the clip's size"
        )
    sampler = executor.class_obj
    function = getattr(sampler, "sampler_function", None)
    run = SurfaceRun(plan, sigmas.tolist(), getattr(function, "__name__", ""))
    extra_args["model_options"]["transformer_options"][KEY] = run
    if plan.method.noise.every_step and function is not None and _draws(sampler):
        # A copy: the sampler is the workflow's, and other models may use it.
        own = copy.copy(sampler)
        own.extra_options = {**sampler.extra_options, "noise_sampler": StepNoise(run, noise)}
        executor.class_obj, executor.original = own, own.sample
    return executor(guider, sigmas, extra_args, callback, noise, *rest)


def _draws(sampler: comfy.samplers.KSAMPLER) -> bool:
    """Whether a sampler draws noise at its steps, and takes ours."""
    takes = inspect.signature(sampler.sampler_function).parameters
    return "noise_sampler" in takes and sampler.extra_options.get("noise_sampler") is None


def _predict_noise(
    executor: Any, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None
) -> Tensor:
    run = _run_of(model_options or {})
    if run is not None:
        run.begin(float(timestep.flatten()[0]))
    return executor(x, timestep, model_options, seed)


def _calculate(
    executor: Any, model: Any, conds: list[Any], x: Tensor, timestep: Tensor, model_options: dict[str, Any]
) -> list[Tensor]:
    run = _run_of(model_options)
    if run is None:
        return executor(model, conds, x, timestep, model_options)
    n_frames = len(x)

    def calculate(conds: list[Any], x: Tensor, frames: list[int]) -> list[Tensor]:
        part = {**model_options, "transformer_options": {**model_options["transformer_options"]}}
        # By this name patches with something for every frame, such as an IP-Adapter's, find the frames' rows.
        part["transformer_options"].setdefault("ad_params", {"full_length": n_frames, "sub_idxs": frames})
        return executor(model, conds, x, timestep[frames] if len(timestep) > 1 else timestep, part)

    return run.predict(calculate, Conditions(conds), x)


def _change_x0(args: dict[str, Any]) -> torch.Tensor:
    run = _run_of(args["model_options"])
    return args["denoised"] if run is None else run.change_x0(args["denoised"])
