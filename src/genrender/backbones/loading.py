"""Parts of a pipeline that a model's folder lacks or that are to be replaced, and whether all parts fit."""

from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.auto_model import AutoModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline

from genrender.backbones.hub import is_reachable
from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.sources import SD15_DEPTH_CONTROLNET, ModelSource, find_model
from genrender.errors import ModelError


def default_device() -> torch.device:
    """CUDA where there is one, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_controlnet(source: ModelSource) -> ControlNetModel:
    """The ControlNet of a model that does not declare one, or the one that was asked for instead.

    Raises:
        ModelError: there is none.
    """
    location = source.controlnet
    if location is None:
        # A plain Stable Diffusion folder may carry a ControlNet that its model_index.json does not mention.
        location = str(Path(source.location) / "controlnet") if source.is_local else SD15_DEPTH_CONTROLNET
    is_local = Path(location).is_dir()
    if not is_local and source.controlnet is None and source.is_local:
        raise ModelError(
            f"model {source.location}: it has no ControlNet, expected a depth ControlNet in {location}: "
            "save one there or pass controlnet="
        )
    return ControlNetModel.from_pretrained(
        location, use_safetensors=True, local_files_only=is_local or not is_reachable()
    )


def load_vae(location: str, source: ModelSource) -> AutoencoderKL | AutoencoderTiny:
    """An autoencoder by folder or hub id for the model in `source`.

    Raises:
        ModelError: the name is neither of a folder nor of a hub model, it is of another kind, or it has
            other pixels per latent pixel than the model's own.
    """
    is_local = find_model(location).is_local
    vae: Any = AutoModel.from_pretrained(
        location, use_safetensors=True, local_files_only=is_local or not is_reachable()
    )
    if not isinstance(vae, AutoencoderKL | AutoencoderTiny):
        raise ModelError(
            f"autoencoder {location}: it is a {type(vae).__name__}, expected AutoencoderKL or AutoencoderTiny"
        )
    config: Any = vae.config
    factor, expected = 2 ** (len(config.block_out_channels) - 1), read_picture_size(source).vae_factor
    if factor != expected:
        raise ModelError(
            f"autoencoder {location}: {factor} pixels per latent pixel, expected {expected} as in the "
            "model's own: choose one made for this model"
        )
    return vae


def check_networks(model: str, pipeline: StableDiffusionControlNetPipeline) -> None:
    """Raises ModelError where weights are missing or networks do not fit together."""
    # diffusers leaves weights that it does not find without any values, with no more than a warning.
    missing = [
        f"{name}.{key}"
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
        for key, tensor in part.state_dict().items()
        if tensor.is_meta
    ]
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ModelError(f"model {model}: its files lack the weights {missing[0]}{others}: get them anew")
    unet, controlnet, vae = (cast(Any, part) for part in (pipeline.unet, pipeline.controlnet, pipeline.vae))
    text_width, control_width = (part.config.cross_attention_dim for part in (unet, controlnet))
    if text_width != control_width:
        raise ModelError(
            f"model {model}: its UNet reads text of {text_width} channels, its ControlNet {control_width}: "
            "choose a depth ControlNet trained for this model"
        )
    channels, latent_channels = unet.config.in_channels, vae.config.latent_channels
    if channels != latent_channels:
        raise ModelError(
            f"model {model}: its UNet makes latents of {channels} channels, its autoencoder reads "
            f"{latent_channels}: choose an autoencoder made for this model"
        )
