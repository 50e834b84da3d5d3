"""What a model is, told by its configuration, and which backbone drives it: one entry for every family.

The class that a model's index names is not asked: one and the same UNet is saved by pipelines of many names.
PyTorch is not imported here before it is needed, so that a job is refused at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genrender.errors import ModelError

if TYPE_CHECKING:
    from genrender.backbones.protocol import Backbone

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """A kind of model that can be driven.

    Attributes:
        name: such as `SDXL`.
        title: in full.
        pipeline: diffusers' pipeline that holds its networks.
        parts: what its pipeline is made of beside the ControlNet: names of the classes that each may be.
        optional: what else a model may bring, likewise.
        text_width: channels of its text features, by which single files are told apart.
        controlnet: hub id of the depth ControlNet that is used where a model brings none.
    """

    name: str
    title: str
    pipeline: str
    parts: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]]
    text_width: int
    controlnet: str


AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
_ONE_ENCODER = {
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer",),
    "vae": AUTOENCODERS,
    "scheduler": ("SchedulerMixin",),
}
_TWO_ENCODERS = _ONE_ENCODER | {
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer_2": ("CLIPTokenizer",),
}
SAFETY_PARTS = {
    "safety_checker": ("StableDiffusionSafetyChecker",),
    "feature_extractor": ("CLIPImageProcessor",),
}
SD1 = Family(
    name="SD1",
    title="Stable Diffusion 1.x",
    pipeline="StableDiffusionControlNetPipeline",
    parts=_ONE_ENCODER,
    optional=SAFETY_PARTS,
    text_width=768,
    controlnet="lllyasviel/control_v11f1p_sd15_depth",
)
SD2 = Family(
    name="SD2",
    title="Stable Diffusion 2.x",
    pipeline="StableDiffusionControlNetPipeline",
    parts=_ONE_ENCODER,
    optional=SAFETY_PARTS,
    text_width=1024,
    controlnet="thibaud/controlnet-sd21-depth-diffusers",
)
SDXL = Family(
    name="SDXL",
    title="Stable Diffusion XL",
    pipeline="StableDiffusionXLControlNetPipeline",
    parts=_TWO_ENCODERS,
    optional={},
    text_width=2048,
    controlnet="diffusers/controlnet-depth-sdxl-1.0",
)
FAMILIES = (SD1, SD2, SDXL)
EXPECTED = "a model of Stable Diffusion 1.x, 2.x or XL that makes pictures from text"

# Input channels of UNets that read more than latents.
_READS_MORE = {
    5: "a depth-to-image model",
    7: "an upscaler",
    8: "a model that edits pictures (InstructPix2Pix)",
    9: "an inpainting model",
}
# What the UNet reads beside the text of one or two CLIP encoders, by its setting.
_OTHER_CONDITIONS = {
    ("addition_embed_type", "text"): "a DeepFloyd model",
    ("addition_embed_type", "image"): "a Kandinsky model",
    ("addition_embed_type", "text_image"): "a Kandinsky model",
    ("addition_embed_type", "image_hint"): "a Kandinsky model",
    ("encoder_hid_dim_type", "text_proj"): "a model with a text encoder of its own (Kolors, DeepFloyd)",
    ("encoder_hid_dim_type", "image_proj"): "a Kandinsky model",
    ("class_embed_type", "projection"): "a model that varies pictures (unCLIP)",
}
_TEXT_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection")


def family_of(configs: Mapping[str, Config]) -> Family:
    """The family of a model.

    Args:
        configs: settings of its networks by the name of their folder: `unet`, `text_encoder`, ...;
            `transformer` of models that have no UNet.

    Raises:
        ModelError: it cannot be driven; the message says what it is.
    """
    reason = _refusal(configs)
    if reason is not None:
        raise ModelError(f"it is {reason}, expected {EXPECTED}")
    unet = configs["unet"]
    if unet.get("addition_embed_type") == "text_time":
        return SDXL
    return SD2 if unet.get("cross_attention_dim") == SD2.text_width else SD1


def _refusal(configs: Mapping[str, Config]) -> str | None:
    """What a model is that cannot be driven; None: it can."""
    unet = configs.get("unet")
    if unet is None:
        other = next((name for name in configs if name not in _TEXT_NAMES), None)
        if other is None:
            return "no text-to-image model: it has no UNet"
        return f"a model of another make ({other}: {configs[other].get('_class_name', 'unknown')})"
    kind = unet.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        return f"a model of another make (unet: {kind})"
    for (setting, value), what in _OTHER_CONDITIONS.items():
        if unet.get(setting) == value:
            return what
    if unet.get("num_class_embeds") is not None:
        return "an upscaler"
    channels, made = unet.get("in_channels", 4), unet.get("out_channels", 4)
    if channels != made:
        what = _READS_MORE.get(channels, "a model that reads more than noise and text")
        return f"{what}, whose UNet reads {channels} channels and makes {made}"
    for name in ("text_encoder", "text_encoder_2"):
        for encoder in configs.get(name, {}).get("architectures") or ():
            if encoder not in _TEXT_ENCODERS:
                return f"a model whose text is read by a {encoder}"
    return _refiner(configs)


_TEXT_NAMES = ("text_encoder", "text_encoder_2", "text_encoder_3", "vae", "scheduler")


def _refiner(configs: Mapping[str, Config]) -> str | None:
    unet = configs["unet"]
    if unet.get("addition_embed_type") != "text_time":
        return None
    # SDXL reads a pooled text and six numbers about the picture's size; its refiner five, and one encoder.
    pooled = configs.get("text_encoder_2", {}).get("projection_dim")
    numbers = 6 * (unet.get("addition_time_embed_dim") or 0)
    takes = unet.get("projection_class_embeddings_input_dim")
    has_both = "text_encoder" in configs and "text_encoder_2" in configs
    if has_both and (pooled is None or takes is None or pooled + numbers == takes):
        return None
    return "the refiner of Stable Diffusion XL, which only finishes pictures"


def backbone_of(pipeline: Any, scheduler: Any = None) -> "Backbone":
    """The networks of a pipeline of diffusers as a `Backbone`.

    Args:
        pipeline: holds the networks.
        scheduler: None: the pipeline's own.

    Raises:
        ModelError: it is of no family that is known here.
    """
    from diffusers.pipelines.animatediff.pipeline_animatediff_controlnet import AnimateDiffControlNetPipeline
    from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
    from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline

    from genrender.backbones.animatediff import AnimateDiff
    from genrender.backbones.sdxl import StableDiffusionXL
    from genrender.backbones.stable_diffusion import StableDiffusion

    drives = {
        StableDiffusionControlNetPipeline: StableDiffusion,
        StableDiffusionXLControlNetPipeline: StableDiffusionXL,
        AnimateDiffControlNetPipeline: AnimateDiff,
    }
    for kind, drive in drives.items():
        if isinstance(pipeline, kind):
            return drive(pipeline, scheduler)
    known = ", ".join(kind.__name__ for kind in drives)
    raise ModelError(f"a {type(pipeline).__name__} cannot be driven, expected one of {known}")
