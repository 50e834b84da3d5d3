"""Generative Rendering as blocks of Modular Diffusers, to be put together with other people's blocks.

Example:
    >>> blocks = GenerativeRenderingBlock()
    >>> pipe = blocks.init_pipeline("stable-diffusion-v1-5")
    >>> pipe.load_components(torch_dtype=torch.float16)
    >>> controlnet = ControlNetModel.from_pretrained("lllyasviel/control_v11f1p_sd15_depth")
    >>> pipe.update_components(controlnet=controlnet)
    >>> frames = pipe(prompt="a bronze fox", gbuffers=gbuffers, num_inference_steps=20, output="frames")
"""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from types import UnionType
from typing import Any, get_args, get_type_hints

from diffusers.modular_pipelines.modular_pipeline import ModularPipelineBlocks
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam
from transformers import CLIPImageProcessor

from genrender.config import ControlKind, MethodConfig
from genrender.gbuffer.gbuffer import GBuffer
from genrender.pipeline import GenerativeRenderingPipeline, GenerativeRenderingXLPipeline
from genrender.sampling.appearance import Appearance
from genrender.sampling.keywords import Keywords
from genrender.surface.tracking import SurfaceTracker

# What a block hands on as its own outputs, or decides itself.
_NO_INPUTS = {"output_type", "return_dict", "callback_on_step_end", "callback_on_step_end_tensor_inputs"}
_ABOUT = {
    "prompt": (str, "what the clip shows"),
    "gbuffers": (Sequence[GBuffer], "one per frame, all of one size, as `genrender.render_clip` makes them"),
    "negative_prompt": (str, "what the clip does not show"),
    "config": (MethodConfig, "the method's settings; ours where none are given"),
    "tracker": (SurfaceTracker, "the clip's geometry; only the `reproject` engine needs it"),
    "seed": (int, "of everything that is drawn by chance"),
    "chunk_size": (int, "frames that go through the networks at once"),
    "appearance": (Appearance, "frames of another run, whose look this clip takes over"),
    "object_prompts": (Mapping[int, str], "what single objects show, by object id"),
    "prompts_at": (
        Sequence[tuple[int, str]],
        "frames and what the clip shows there; it changes evenly",
    ),
    "control_kinds": (Sequence[ControlKind], "what each control network sees; depth where none are given"),
}


class GenerativeRenderingBlock(ModularPipelineBlocks):
    """From a sentence and the G-buffers of a clip to its frames, by Stable Diffusion 1.x or 2.x.

    Frames are equal to those of `GenerativeRenderingPipeline` with the same components and inputs.
    """

    pipeline_class: type[Any] = GenerativeRenderingPipeline

    @property
    def description(self) -> str:
        return "Paints all frames of an animated 3D scene together, so that its surfaces keep their look."

    @property
    def expected_components(self) -> list[ComponentSpec]:
        """What the pipeline cannot do without, and what IP-Adapters read pictures with."""
        hints = get_type_hints(self.pipeline_class.__init__)
        taken = signature(self.pipeline_class).parameters.values()
        parts = [
            ComponentSpec(one.name, _first(hints[one.name]))
            for one in taken
            if one.default is Parameter.empty or one.name == "image_encoder"
        ]
        # Made, not read: models without IP-Adapters rarely have one.
        made = ComponentSpec("feature_extractor", CLIPImageProcessor, default_creation_method="from_config")
        return [*parts, made]

    @property
    def inputs(self) -> list[InputParam]:
        """A clip's own, and every keyword of diffusers that means something for a clip."""
        own = [
            InputParam(name, type_hint=kind, required=name in ("prompt", "gbuffers"), description=about)
            for name, (kind, about) in _ABOUT.items()
        ]
        keywords = get_type_hints(Keywords)
        return own + [
            InputParam(name, type_hint=kind) for name, kind in keywords.items() if name not in _NO_INPUTS
        ]

    @property
    def intermediate_outputs(self) -> list[OutputParam]:
        return [
            OutputParam("frames", description='"F H W 3" float32 in [0, 1]'),
            OutputParam("latents", description='the final latents, "F C h w" float32'),
        ]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        block: Any = self.get_block_state(state)
        given = {str(one.name): getattr(block, str(one.name)) for one in self.inputs}
        parts = {str(one.name): getattr(components, str(one.name)) for one in self.expected_components}
        result = self.pipeline_class(**parts)(
            **{name: value for name, value in given.items() if value is not None}
        )
        block.frames, block.latents = result.frames, result.latents
        self.set_block_state(state, block)
        return components, state


class GenerativeRenderingXLBlock(GenerativeRenderingBlock):
    """The same by Stable Diffusion XL."""

    pipeline_class = GenerativeRenderingXLPipeline


def _first(hint: Any) -> type:
    return get_args(hint)[0] if isinstance(hint, UnionType) else hint
