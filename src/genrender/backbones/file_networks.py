"""Networks read from a single file: diffusers' converters, with settings that lie here and not on the hub."""

import inspect
import json
import logging as logging_of_python
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import transformers
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils import logging
from safetensors.torch import load_file

from genrender.backbones.clip_words import clip_tokenizer
from genrender.backbones.families import SD2, Family
from genrender.backbones.single_file import (
    Header,
    controlnet_settings,
    file_settings,
    has_own_vae,
    packaged_settings,
    prediction_type,
    read_header,
    says_prediction,
)
from genrender.backbones.weight_files import Reading
from genrender.errors import ModelError

logger = logging.get_logger(__name__)

# Names that early files of Stable Diffusion 1 give to a part of the text encoder, and the later ones.
_OLD_TEXT = ("cond_stage_model.transformer.", "cond_stage_model.transformer.text_model.")
_OLD_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")
_KINDS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "controlnet": ControlNetModel,
}


def load_file_parts(
    header: Header, family: Family, parts: Collection[str], reading: Reading
) -> dict[str, Any]:
    """Networks, tokenizers and scheduler of the model in a file.

    Args:
        header: of the file.
        family: of the model.
        parts: which of them, by the names that pipelines give to them.
        reading: how weights are read.

    Raises:
        ModelError: the file holds no autoencoder, and none was asked for instead.
    """
    if "vae" in parts and not has_own_vae(header):
        raise ModelError(
            f"model {header.path}: it holds no autoencoder, expected one: give --vae, for instance "
            "stabilityai/sd-vae-ft-mse"
        )
    if family is SD2 and not says_prediction(header):
        taken, beside = prediction_type(header, family), header.path.with_suffix(".yaml").name
        logger.warning(
            f"model {header.path}: it does not say what it predicts, taken for {taken}; if its frames are "
            f"nothing but noise, write 'parameterization: eps' into {beside} beside it"
        )
    weights = read_weights(header.path)
    made: dict[str, Any] = {}
    for part in parts:
        if part.startswith("tokenizer"):
            encoder = file_settings(header, part.replace("tokenizer", "text_encoder"))
            # OpenCLIP fills the rest of a prompt with another word than CLIP; it computes with gelu.
            made[part] = clip_tokenizer("!" if encoder["hidden_act"] == "gelu" else "<|endoftext|>")
        elif part == "scheduler":
            settings = file_settings(header, part)
            made[part] = getattr(diffusers, settings["_class_name"]).from_config(settings)
        else:
            made[part] = _converted(header.path, part, file_settings(header, part), weights, reading)
    return made


def load_file_network(path: Path, kinds: Collection[str], family: Family, reading: Reading) -> Any:
    """A ControlNet or an autoencoder that is alone in a file.

    Args:
        path: of the file.
        kinds: names of the classes that it may be.
        family: of the model that it is for; an autoencoder's file does not tell its scale.
        reading: how weights are read.

    Raises:
        ModelError: the file holds something else.
    """
    header = read_header(path, reading.allow_pickle)
    if "ControlNetModel" in kinds:
        settings = controlnet_settings(header)
        if settings is None:
            raise ModelError(
                f"{path}: it holds no ControlNet of Stable Diffusion 1.x, 2.x or XL, expected one; of a "
                "T2I-Adapter give the folder"
            )
        if "num_control_type" in settings:
            return _union(path, settings, reading)
        return _converted(path, "controlnet", settings, read_weights(path), reading)
    inlets = ("first_stage_model.decoder.conv_in.weight", "decoder.conv_in.weight")
    inlet = next((header.shapes[name] for name in inlets if name in header.shapes), None)
    if inlet is None:
        raise ModelError(f"{path}: it holds no autoencoder, expected one of Stable Diffusion's")
    settings = packaged_settings(family, "vae")
    if inlet[1] != settings["latent_channels"]:
        raise ModelError(
            f"{path}: it is an autoencoder of {inlet[1]} latent channels, expected "
            f"{settings['latent_channels']} as in {family.title}"
        )
    return _converted(path, "vae", settings, read_weights(path), reading)


def _union(path: Path, settings: Mapping[str, Any], reading: Reading) -> Any:
    """A ControlNet-Union, whose files have diffusers' names; its class reads none."""
    known = inspect.signature(ControlNetUnionModel).parameters
    network = ControlNetUnionModel(**{name: value for name, value in settings.items() if name in known})
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = next(iter(str(error).splitlines()[1:]), str(error)).strip()
        raise ModelError(
            f"{path}: it is no ControlNet-Union of Stable Diffusion XL ({reason}): get it anew, or give its "
            "folder"
        ) from error
    return network.to(reading.torch_dtype).eval()


def _converted(
    path: Path, part: str, settings: Mapping[str, Any], weights: dict[str, Any], reading: Reading
) -> Any:
    """One network of a file, in diffusers' layout."""
    with _settings_folder(part, settings) as folder:
        options: dict[str, Any] = {
            "config": folder,
            "subfolder": part,
            "torch_dtype": reading.torch_dtype,
            "local_files_only": True,
        }
        weights = dict(weights)  # converters may take out of what they are given
        if part.startswith("text_encoder"):
            kind = getattr(transformers, settings["architectures"][0])
            return create_diffusers_clip_model_from_ldm(kind, weights, **options)
        with _without_empty_warning():
            try:
                return _KINDS[part].from_single_file(weights, **options)
            except NotImplementedError as error:  # of PyTorch, on weights that have no values
                raise ModelError(f"{path}: it lacks weights of its {part}: get it anew") from error


class _Empty(logging_of_python.Filter):
    """Drops a warning of diffusers about parts that are to stay in float32, of which there are none."""

    def filter(self, record: logging_of_python.LogRecord) -> bool:
        return "should be kept in float32: []" not in record.getMessage()


@contextmanager
def _without_empty_warning() -> Iterator[None]:
    talker, empty = logging.get_logger("diffusers.models.modeling_utils"), _Empty()
    talker.addFilter(empty)
    try:
        yield
    finally:
        talker.removeFilter(empty)


@contextmanager
def _settings_folder(part: str, settings: Mapping[str, Any]) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        Path(folder, part).mkdir()
        Path(folder, part, "config.json").write_text(json.dumps(settings), encoding="utf-8")
        yield folder


def read_weights(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        weights = load_file(path)
    else:
        import torch

        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        while "state_dict" in weights:
            weights = weights["state_dict"]
    old, new = _OLD_TEXT
    for part in _OLD_PARTS:
        for name in [name for name in weights if name.startswith(old + part)]:
            weights[new + name.removeprefix(old)] = weights.pop(name)
    return weights
