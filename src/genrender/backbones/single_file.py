"""Models that come as one file: what is in it, told by the names and shapes of its weights.

No weights are read here, and the settings that such a file lacks are the packaged ones of its family.
"""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

import genrender
from genrender.backbones.families import EXPECTED, FAMILIES, SD2, SDXL, Family, family_of
from genrender.backbones.sources import WEIGHT_SUFFIXES
from genrender.backbones.weight_files import pickle_refused
from genrender.errors import ModelError, first_line
from genrender.storage.untrusted import read_json

# What a ControlNet-Union has and a ControlNet has not: a row for every kind of picture.
UNION_WEIGHTS = "task_embedding"
CONFIGS = Path(genrender.__file__).parent / "models" / "configs"
UNET = "model.diffusion_model."
# Where the weights of a model's networks are in its file; of text encoders, by the number that a family has.
_VAE = "first_stage_model."
_ENCODERS = ("text_encoder", "text_encoder_2")
_TEXT = ("cond_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1.")

# What a file is that holds no model, by a part of the names of its weights, and where to give it instead.
_OTHERS = (
    (r"^edm_mean$", "a Playground model, trained on noise levels of its own"),
    (r"time_stack\.|time_mixer\.", "a Stable Video Diffusion model"),
    (r"joint_blocks\.", "a Stable Diffusion 3 model"),
    (r"double_blocks\.", "a Flux model"),
    (r"double_stream_blocks\.|double_layers\.", "a model of another make (a transformer)"),
    (r"blocks\.0\.cross_attn\.", "a Wan model"),
    (r"^effnet_mapper\.|^clip_txt_mapper\.", "a Stable Cascade model"),
    (r"^lora_(unet|te)|\.lora_(up|down|A|B)\.|\.hada_w|\.lokr_", "a LoRA: use --lora"),
    (r"^control_model\.|^controlnet_cond_embedding\.|^input_hint_block\.", "a ControlNet: use --controlnet"),
    (r"(^|\.)motion_modules\.", "motion modules: use --motion-adapter"),
    (r"^ip_adapter\.|^image_proj\.", "an IP-Adapter: use --ip-adapter"),
    (r"^emb_params|^string_to_param|^clip_[lg]$", "a textual inversion: use --embedding"),
    (r"^down_blocks\.", "a UNet alone, without autoencoder and text encoder"),
    (r"^first_stage_model\.|^decoder\.|^encoder\.", "an autoencoder: use --vae"),
)


@dataclass(frozen=True)
class Header:
    """What a file of weights says about itself.

    Attributes:
        path: of the file.
        shapes: of its weights by name.
        dtypes: their numbers by name, such as `F16`.
        metadata: further words of whoever wrote it.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    metadata: Mapping[str, str]

    def holds(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self.shapes)


def read_header(path: str | Path, allow_pickle: bool = False) -> Header:
    """The names and shapes of the weights in a file.

    Args:
        path: of a safetensors file, or of a pickle.
        allow_pickle: whether a pickle may be read.

    Raises:
        ModelError: it is neither, or it is a pickle that may not be read.
    """
    about = Path(path).stat()
    return _read_header(Path(path), allow_pickle, (about.st_size, about.st_mtime_ns))


@lru_cache(maxsize=8)
def _read_header(path: Path, allow_pickle: bool, state: tuple[int, int]) -> Header:  # noqa: ARG001 (a key)
    if path.suffix != ".safetensors":
        if path.suffix not in WEIGHT_SUFFIXES:
            raise ModelError(f"{path}: it is no file of weights, expected a .safetensors file")
        if not allow_pickle:
            raise pickle_refused(str(path), path.name)
        return _pickle_header(path)
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: str(part.get_dtype()) for name, part in slices.items()}
            return Header(path, shapes, dtypes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        reason = first_line(error)
        raise ModelError(f"{path}: it is no whole safetensors file ({reason}): get it anew") from error


def _pickle_header(path: Path) -> Header:
    import torch

    try:
        weights = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # what a damaged or hostile pickle makes it raise knows no limits
        reason = first_line(error)
        raise ModelError(f"{path}: it holds more than weights, or is damaged ({reason})") from error
    while "state_dict" in weights:
        weights = weights["state_dict"]
    tensors = {name: tensor for name, tensor in weights.items() if torch.is_tensor(tensor)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}
    return Header(path, shapes, dtypes, {})


def file_family(header: Header) -> Family:
    """The family of the model in a file.

    Raises:
        ModelError: it holds none that can be driven; the message says what it holds.
    """
    configs = _as_configs(header)
    if configs is None:
        raise ModelError(f"model {header.path}: it is {_what_else(header.shapes)}, expected {EXPECTED}")
    try:
        family = family_of(configs)
    except ModelError as error:
        raise ModelError(f"model {header.path}: {error}") from None
    if family.text_width != configs["unet"]["cross_attention_dim"]:
        raise ModelError(
            f"model {header.path}: its UNet reads text of {configs['unet']['cross_attention_dim']} channels, "
            f"expected one of {', '.join(str(one.text_width) for one in FAMILIES)}"
        )
    _check_is_whole(header, family)
    return family


def _as_configs(header: Header) -> dict[str, dict[str, Any]] | None:
    """What the weights of a file tell of the settings of its networks; None: it holds no UNet of ours."""
    inlet = header.shapes.get(f"{UNET}input_blocks.0.0.weight")
    if inlet is None or any(re.search(r"time_stack\.|time_mixer\.", name) for name in header.shapes):
        return None
    if "edm_mean" in header.shapes:
        return None
    outlet = header.shapes.get(f"{UNET}out.2.weight", (4,))
    width = _text_width(header, UNET)
    unet = {"in_channels": inlet[1], "out_channels": outlet[0], "cross_attention_dim": width}
    # The families of XL read the picture's size, and the base beside its refiner has two text encoders.
    if header.holds(f"{UNET}label_emb."):
        is_xl = header.holds("conditioner.")
        unet |= {"addition_embed_type": "text_time"} if is_xl else {"class_embed_type": "projection"}
    encoders = {name: {} for name, prefix in zip(_ENCODERS, _TEXT[1:], strict=True) if header.holds(prefix)}
    return {"unet": unet, **encoders}


def _text_width(header: Header, prefix: str = "") -> int | None:
    """Channels of the text that cross-attention reads."""
    return next(
        (
            shape[-1]
            for name, shape in header.shapes.items()
            if name.startswith(prefix) and name.endswith("attn2.to_k.weight")
        ),
        None,
    )


def _what_else(names: Iterable[str]) -> str:
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in names):
            return what
    return "no model that is known here"


def _check_is_whole(header: Header, family: Family) -> None:
    encoders = _TEXT[1:] if family is SDXL else _TEXT[:1]
    if not all(map(header.holds, encoders)):
        raise ModelError(
            f"model {header.path}: it holds a UNet, but no text encoder of {family.title}: get the whole one"
        )


def has_own_vae(header: Header) -> bool:
    """Whether a model's file holds an autoencoder."""
    return header.holds(_VAE)


def controlnet_settings(header: Header) -> dict[str, Any] | None:
    """The settings of the ControlNet in a file; None: it holds none that is known here.

    Raises:
        ModelError: it is one of SDXL in a layout that diffusers does not read.
    """
    shapes = header.shapes
    if header.holds("control_model.label_emb."):
        raise ModelError(
            f"{header.path}: a ControlNet of Stable Diffusion XL in its authors' layout, expected diffusers' "
            "(its weights are called down_blocks...): get that file, or a folder"
        )
    names = ("control_model.input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight")
    if not any(name in shapes for name in names) or not any(
        header.holds(prefix) for prefix in ("control_model.", "zero_convs.", "controlnet_cond_embedding.")
    ):
        return None
    width = _text_width(header)
    is_xl = header.holds("add_embedding.")
    family = SDXL if is_xl else next((one for one in FAMILIES if one.text_width == width), None)
    if family is None:
        return None
    settings = packaged_settings(family, "controlnet")
    if is_xl:
        settings |= _blocks(shapes, len(settings["block_out_channels"]))
    inlet = shapes.get("controlnet_cond_embedding.conv_in.weight")
    if UNION_WEIGHTS in shapes:
        embedding = ["conv_in", "blocks.1", "blocks.3", "blocks.5"]
        widths = [shapes[f"controlnet_cond_embedding.{layer}.weight"][0] for layer in embedding]
        settings |= {
            "num_control_type": shapes[UNION_WEIGHTS][0],
            "conditioning_embedding_out_channels": widths,
        }
    return settings | ({} if inlet is None else {"conditioning_channels": inlet[1]})


def _blocks(shapes: Mapping[str, Any], n_levels: int) -> dict[str, Any]:
    """How many transformer layers each level has; small ControlNets of SDXL have fewer, or none."""
    depths = []
    for level in range(n_levels):
        pattern = re.compile(rf"down_blocks\.{level}\.attentions\.0\.transformer_blocks\.(\d+)\.")
        found = [int(match[1]) for name in shapes if (match := pattern.match(name))]
        depths.append(max(found) + 1 if found else 0)
    return {
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "transformer_layers_per_block": [max(depth, 1) for depth in depths],
    }


def file_settings(header: Header, part: str) -> dict[str, Any]:
    """The settings of one network of the model in a file, as its folder would hold them.

    Raises:
        ModelError: it holds no model that can be driven.
    """
    family = file_family(header)
    settings = packaged_settings(family, part)
    prediction = prediction_type(header, family)
    if part == "unet" and family is SD2 and prediction == "epsilon":
        settings["sample_size"] = 64  # those models were made for 512 pixels
    if part == "scheduler":
        settings["prediction_type"] = prediction
        if "ztsnr" in header.shapes:
            settings |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return settings


def prediction_type(header: Header, family: Family) -> str:
    """What the UNet of a file predicts: `epsilon` or `v_prediction`.

    Its weights do not tell. What its writer says counts: an entry in the file, or a `.yaml` file beside it;
    without these, what the family's best known model predicts.
    """
    if (said := _said_prediction(header)) is not None:
        return said
    return packaged_settings(family, "scheduler").get("prediction_type", "epsilon")


def says_prediction(header: Header) -> bool:
    """Whether whoever wrote a file says what its UNet predicts."""
    return _said_prediction(header) is not None


def _said_prediction(header: Header) -> str | None:
    if "v_pred" in header.shapes:
        return "v_prediction"
    said = header.metadata.get("modelspec.prediction_type", "")
    beside = header.path.with_suffix(".yaml")
    if not said and beside.is_file():
        match = re.search(r"parameterization:\s*[\"']?(\w+)", beside.read_text("utf-8", errors="replace"))
        said = match[1] if match else "eps"
    if not said:
        return None
    return "v_prediction" if said.startswith("v") else "epsilon"


def packaged_settings(family: Family, part: str) -> dict[str, Any]:
    """The settings of one network of a family's best known model."""
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    file = CONFIGS / family.name.lower() / part / name
    return copy.deepcopy(read_json(file, ModelError, "packaged settings: reinstall genrender"))
