"""IP-Adapters: pictures that a UNet reads beside the text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import PIL.Image
import torch
from diffusers.models.attention_processor import IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0
from torch import Tensor

from genrender.backbones.adapter_files import find_file, read_weights
from genrender.backbones.hub import hub_file, hub_names
from genrender.backbones.object_prompts import cross_attention_layers
from genrender.backbones.parts import load_network
from genrender.backbones.precision import dtype_name
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import ImagePrompt
from genrender.backbones.sources import HUB_NAME
from genrender.backbones.weight_files import Reading, variants
from genrender.errors import ConfigError, ModelError, first_line
from genrender.storage.quiet import silent_library
from genrender.storage.untrusted import read_json

NAMES = ("ip-adapter_sd15.safetensors", "ip-adapter_sdxl.safetensors", "ip-adapter.safetensors")
ENCODER_FOLDER = "image_encoder"
ENCODER_FILES = ("config.json", "model.safetensors")
PROCESSORS = (IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0)


@dataclass(frozen=True)
class IpAdapterFile:
    """An IP-Adapter that was read.

    Attributes:
        path: where it is.
        weights: in the two parts that diffusers calls `image_proj` and `ip_adapter`.
        scale: weight of what its pictures say.
        hub: id of the hub model that it is from, and its name in there; None: it is from this machine.
        allow_pickle: whether its image encoder may be a pickle.
    """

    path: Path
    weights: Mapping[str, Mapping[str, Tensor]]
    scale: float
    hub: tuple[str, str] | None = None
    allow_pickle: bool = False

    @property
    def kind(self) -> str:
        """By what makes tokens of a picture: `plain`, `Plus`, `full face`, `FaceID` or `FaceID Plus`."""
        names = self.weights["image_proj"]
        if any(name.startswith("perceiver_resampler.") for name in names):
            return "FaceID Plus"
        if "proj.weight" in names:
            return "plain"
        if "latents" in names:
            return "Plus"
        if "proj.3.weight" in names:
            return "full face"
        return "FaceID" if "proj.0.weight" in names and "norm.weight" in names else "unknown"

    @property
    def image_width(self) -> int:
        """Channels of what it reads of the image encoder."""
        names = self.weights["image_proj"]
        key = {"plain": "proj.weight", "Plus": "proj_in.weight", "full face": "proj.0.weight"}[self.kind]
        return names[key].shape[1]


def read_ip_adapter(prompt: ImagePrompt, allow_pickle: bool = False) -> IpAdapterFile:
    """Find and read an IP-Adapter.

    Raises:
        ModelError: there is none, or it is of a kind that reads more than pictures.
    """
    path = find_file("IP-Adapter", prompt.adapter, NAMES, allow_pickle)
    weights = read_weights("IP-Adapter", path)
    if path.suffix == ".safetensors":
        parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in weights.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        weights = parts
    if set(weights) != {"image_proj", "ip_adapter"} or not all(weights.values()):
        raise ModelError(f"IP-Adapter {path}: expected the two parts image_proj and ip_adapter in it")
    hub = None if Path(prompt.adapter).expanduser().exists() else HUB_NAME.fullmatch(prompt.adapter)
    origin = None if hub is None else (hub["id"], hub["file"] or NAMES[0])
    file = IpAdapterFile(path, weights, prompt.scale, origin, allow_pickle)
    if file.kind.startswith("FaceID"):
        raise ModelError(
            f"IP-Adapter {path}: a {file.kind} reads faces as another network (insightface) sees them, "
            "expected one that reads pictures: choose a plain, Plus or full-face one"
        )
    if file.kind == "unknown":
        raise ModelError(f"IP-Adapter {path}: of an unknown kind, expected a plain, Plus or full-face one")
    return file


def read_pictures(prompts: Sequence[ImagePrompt]) -> list[list[PIL.Image.Image]] | None:
    """The pictures of image prompts, for `Conditions.image_prompt`; None: there are no prompts.

    Raises:
        ConfigError: a prompt has none.
        ModelError: one cannot be read.
    """
    return [[_picture(path) for path in _given(prompt)] for prompt in prompts] or None


def _given(prompt: ImagePrompt) -> tuple[Path, ...]:
    if not prompt.pictures:
        raise ConfigError(
            f"IP-Adapter {prompt.adapter}: it has no picture to read: give it one with --ip-image"
        )
    return prompt.pictures


def _picture(path: Path) -> PIL.Image.Image:
    try:
        with PIL.Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, PIL.Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"picture {path}: cannot be read ({reason}): expected a PNG or JPEG file") from error


def load_ip_adapters(pipeline: Any, files: Sequence[IpAdapterFile]) -> None:
    """Put IP-Adapters, and the image encoder that they read, into a pipeline.

    Raises:
        ModelError: one was made for another model, or no image encoder is there; then nothing was changed.
    """
    unet = pipeline.unet
    n_layers = len(cross_attention_layers(unet))
    for file in files:
        keys = [
            tensor for name, tensor in file.weights["ip_adapter"].items() if name.endswith("to_k_ip.weight")
        ]
        if len(keys) != n_layers or keys[0].shape[1] != unet.config.cross_attention_dim:
            width = keys[0].shape[1] if keys else 0
            raise ModelError(
                f"IP-Adapter {file.path}: it is for {len(keys)} layers that read {width} channels, this "
                f"model has {n_layers} that read {unet.config.cross_attention_dim}: choose one made for it"
            )
    encoder = _image_encoder(pipeline, files)
    pipeline.register_modules(image_encoder=encoder)
    nameless = [""] * len(files)
    try:
        with silent_library():  # which warns of numbers that nobody changes
            pipeline.load_ip_adapter(
                [{part: dict(tensors) for part, tensors in file.weights.items()} for file in files],
                subfolder=nameless,
                weight_name=nameless,
                image_encoder_folder=None,
            )
    except (KeyError, ValueError, RuntimeError) as error:  # of which diffusers has none of its own
        names = ", ".join(str(file.path) for file in files)
        reason = first_line(error).split(". ")[0]
        raise ModelError(
            f"IP-Adapter {names}: its weights do not fit the model's layers ({reason}): get it anew, or "
            "choose one made for this model"
        ) from error
    pipeline.set_ip_adapter_scale([file.scale for file in files])


def _image_encoder(pipeline: Any, files: Sequence[IpAdapterFile]) -> Any:
    """One that all adapters can read: the model's own, or one that lies beside an adapter."""
    own = getattr(pipeline, "image_encoder", None)
    if own is not None and all(_is_read_by(file, own.config.to_dict()) for file in files):
        return own
    reading = Reading(dtype_name(pipeline.dtype), allow_pickle=any(file.allow_pickle for file in files))
    folder = _local_encoder(files) or _fetched_encoder(files)
    if folder is not None:
        return load_network(["CLIPVisionModelWithProjection"], folder, reading).to(pipeline.device)
    places = " or ".join(str(folder) for folder in _places(files[0]))
    raise ModelError(
        f"IP-Adapter {files[0].path}: no image encoder that gives {files[0].image_width} channels is there, "
        f"expected one in {places}: save it there"
    )


def _places(file: IpAdapterFile) -> list[Path]:
    """As the published adapters lie: sdxl_models/image_encoder, or models/image_encoder for both."""
    folder = file.path.absolute().parent
    return [
        folder / ENCODER_FOLDER,
        folder.parent / ENCODER_FOLDER,
        folder.parent / "models" / ENCODER_FOLDER,
    ]


def _local_encoder(files: Sequence[IpAdapterFile]) -> Path | None:
    """The folder on this machine with an image encoder for all adapters; None: there is none."""
    for folder in (folder for file in files for folder in _places(file)):
        # Where fetching was broken off there are settings and no weights.
        has_files = (folder / "config.json").is_file() and variants(path.name for path in folder.iterdir())
        if has_files and _is_read_by_all(files, folder / "config.json"):
            return folder
    return None


def _fetched_encoder(files: Sequence[IpAdapterFile]) -> Path | None:
    """Likewise of the hub models that the adapters are from."""
    for location, name in dict.fromkeys(file.hub for file in files if file.hub is not None):
        there, beside = hub_names(location), PurePosixPath(name).parent
        for place in dict.fromkeys((beside, beside.parent, PurePosixPath("models"))):
            settings, weights = (f"{place / ENCODER_FOLDER / part}" for part in ENCODER_FILES)
            if {settings, weights} <= {*there} and _is_read_by_all(files, hub_file(location, settings)):
                return hub_file(location, weights).parent
    return None


def _is_read_by_all(files: Sequence[IpAdapterFile], settings_file: Path) -> bool:
    settings = read_json(settings_file, ModelError, "the settings of an image encoder: get it anew")
    return isinstance(settings, dict) and all(_is_read_by(file, settings) for file in files)


def _is_read_by(file: IpAdapterFile, settings: Mapping[str, Any]) -> bool:
    """Plain adapters read the encoder's projection, the others what its last layer but one gives."""
    width = "projection_dim" if file.kind == "plain" else "hidden_size"
    return settings.get(width) == file.image_width


def image_embeds(pipeline: Any, conditions: Conditions, has_guidance: bool) -> list[Tensor] | None:
    """What a UNet's IP-Adapters read: of pictures, or given as it is; None: there are no adapters.

    Raises:
        ConfigError: pictures and adapters do not go together.
        ModelError: something else has taken the place of the adapters' layers.
    """
    unet, pictures, embeds = pipeline.unet, conditions.image_prompt, conditions.image_prompt_embeds
    n_adapters = 0
    if unet.config.encoder_hid_dim_type == "ip_image_proj":
        n_adapters = len(unet.encoder_hid_proj.image_projection_layers)
    if pictures is None and embeds is None:
        if n_adapters:
            raise ConfigError(
                f"the model has {_adapters(n_adapters)} and no picture to read: give ip_adapter_image, or "
                "take the adapters out with unload_ip_adapter()"
            )
        return None
    if not n_adapters:
        raise ConfigError(
            "a picture is given for an IP-Adapter, and the model has none: load one with load_ip_adapter(), "
            "or leave the picture out"
        )
    processors = unet.attn_processors
    for layer in cross_attention_layers(unet):
        processor = processors[f"{layer}.processor"]
        if not isinstance(processor, PROCESSORS):
            raise ModelError(
                f"layer {layer} has a {type(processor).__name__} instead of an IP-Adapter's: switch "
                "attention slicing off and load the adapter anew"
            )
    given = embeds if embeds is not None else pictures if isinstance(pictures, list) else [pictures]
    if len(given) != n_adapters:
        raise ConfigError(
            f"the model has {_adapters(n_adapters)}, and there is something to read for {len(given)}: give a "
            "list with one entry for each adapter, which may be a list of pictures"
        )
    if embeds is None and getattr(pipeline, "image_encoder", None) is None:
        raise ConfigError(
            "the model has no image encoder, so its IP-Adapters cannot read pictures: load one, or give "
            "ip_adapter_image_embeds"
        )
    with torch.no_grad():
        return pipeline.prepare_ip_adapter_image_embeds(
            pictures, None if embeds is None else list(embeds), pipeline._execution_device, 1, has_guidance
        )


def _adapters(number: int) -> str:
    return "an IP-Adapter" if number == 1 else f"{number} IP-Adapters"
