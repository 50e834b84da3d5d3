"""Mechanisms 2 and 3: a model whose frames agree, for any sampler."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
from comfy_api.latest import io

from genrender.config import OURS, MethodConfig, RunConfig
from genrender.errors import ConfigError
from genrender.jobs.settings import change_setting
from genrender.sampling.surface import ClipSurface

from .patches import with_injections
from .run import SurfacePlan
from .types import CATEGORY, CLIP, RenderedClip, scratch_folder


class SurfaceInjectionNode(io.ComfyNode):
    """A model whose frames share what they know of the surface."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderSurfaceInjection",
            display_name="Surface Injection",
            category=CATEGORY,
            description="Frames agree: their attention reads keyframes and takes features from the "
            "surface, clean latents are joined on it. Any checkpoint, LoRA, ControlNet and sampler of "
            "SD 1.x, 2.x and XL.",
            search_aliases=["temporal consistency", "keyframes", "tokenflow"],
            inputs=[
                io.Model.Input("model"),
                CLIP.Input("clip"),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="Of keyframes and of noise at steps",
                ),
                io.Int.Input(
                    "chunk",
                    default=8,
                    min=1,
                    max=256,
                    tooltip="Frames that go through the model at once; less needs less memory",
                ),
                io.Int.Input("keyframes", default=0, min=0, max=64, tooltip="0: one for 8 frames, 3 to 8"),
                io.Float.Input(
                    "alpha", default=OURS.injection.alpha, min=0.0, max=1.0, step=0.05, tooltip="Of features"
                ),
                io.Float.Input(
                    "synchronise",
                    default=OURS.latents.synchronise,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far predicted clean latents are joined on the surface",
                ),
                io.String.Input(
                    "settings",
                    default="",
                    multiline=True,
                    tooltip="One a line, as of genrender render --set: injection.pre_attn=false",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: RenderedClip, seed: int, chunk: int, settings: str, **numbers: Any
    ) -> io.NodeOutput:
        method = method_of(numbers, settings)
        scratch = scratch_folder()
        surface = ClipSurface(
            clip.clip.gbuffers,
            model.get_model_object("latent_format").spacial_downscale_ratio,
            method,
            seed,
            comfy.model_management.get_torch_device(),
            clip.clip.tracker if method.correspondence.engine == "reproject" else None,
            folder=Path(scratch.name),
        )
        return io.NodeOutput(
            with_injections(model, SurfacePlan(surface, method, seed, chunk, (clip, scratch)))
        )


def method_of(numbers: dict[str, Any], settings: str) -> MethodConfig:
    """The method that a node's inputs ask for.

    Raises:
        ConfigError: a setting is unknown, out of range, or one that no sampler of ComfyUI can honour.
    """
    method = replace(
        OURS,
        injection=replace(OURS.injection, alpha=numbers["alpha"], n_keyframes=numbers["keyframes"] or None),
        latents=replace(OURS.latents, synchronise=numbers["synchronise"]),
    )
    config = RunConfig(method=method)
    for line in filter(None, map(str.strip, settings.splitlines())):
        config = change_setting(config, line)
    config.method.check()
    if config.method.latents.normalise == "background":
        raise ConfigError(
            "latents.normalise=background changes noisy latents between steps, and samplers of ComfyUI do "
            "not hand out these: choose objects or none"
        )
    return config.method
