"""From a recipe to networks: the one road, whatever there is on the disk."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging

from genrender.backbones import adapters
from genrender.backbones.controls import check_fits, load_controls, networks_of
from genrender.backbones.families import AUTOENCODERS, Family
from genrender.backbones.file_networks import load_file_network, load_file_parts
from genrender.backbones.hub import Choice, cached_folder, files_under, hub_file, hub_folder
from genrender.backbones.model_folder import Needed, declared_parts, read_family, read_model_index
from genrender.backbones.motion_adapter import read_motion_file, with_motion_modules
from genrender.backbones.parts import load_network, load_part
from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.placement import place
from genrender.backbones.precision import default_dtype, dtype_name, lay_out_for_speed
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.single_file import read_header
from genrender.backbones.sources import HUB_NAME, ModelSource, find_files, find_model
from genrender.backbones.weight_files import Reading, choose_weights, pickle_refused
from genrender.errors import ConfigError, ModelError, first_line
from genrender.storage.untrusted import LIBRARY_ERRORS

logger = logging.get_logger(__name__)

CONTROL_NETWORKS = ("ControlNetModel", "ControlNetUnionModel", "T2IAdapter")


def default_device() -> torch.device:
    """CUDA where there is one, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def check_device(device: str) -> None:
    """Raises ConfigError unless this machine computes on a device."""
    try:
        # Some devices take numbers, but give none back.
        (torch.zeros(1, device=device) + 1).item()
    except (*LIBRARY_ERRORS, ImportError) as error:
        reason = first_line(error).split(". ")[0].rstrip(".")
        raise ConfigError(f"cannot compute on device {device!r} ({reason}); try --device cpu") from error


def load_networks(recipe: Recipe) -> Any:
    """Everything that a recipe names, as diffusers' ControlNet pipeline of its family.

    The network is touched only where a hub model is named that was not fetched before, and for nothing else.

    Raises:
        ModelError: unknown name, missing or damaged files, a model that cannot be driven, or networks that do
            not fit together.
    """
    source = find_model(recipe.base, recipe.revision, recipe.allow_pickle)
    device = default_device() if recipe.device is None else torch.device(recipe.device)
    dtype = recipe.precision or dtype_name(default_dtype(device, is_pocket=recipe.base == "pocket"))
    reading = Reading(dtype, recipe.variant, recipe.allow_pickle)
    added = adapters.read(recipe)
    with _told(f"model {recipe.base}", source):
        family = read_family(source)
        components = _own_parts(recipe, source, family, reading)
        if recipe.vae is not None:
            components["vae"] = _autoencoder(recipe.vae, source, family, reading)
        own = components.pop("controlnet", None)

        def load(control: Control) -> Any:
            is_own = control.source is None and own is not None
            return own if is_own else _named(control, recipe, source, family, reading)

        components["controlnet"] = load_controls(recipe.steering, load)
        pipeline = _assembled(family, source, components)
    if recipe.motion_adapter is not None:
        adapter = _motion_adapter(recipe.motion_adapter, family, reading)
        pipeline = with_motion_modules(pipeline, adapter, recipe.motion_adapter)
    check_networks(recipe.base, pipeline)
    lay_out_for_speed(pipeline.vae, pipeline.unet, pipeline.controlnet)
    adapters.apply(pipeline, added)
    place(pipeline, device, recipe.placement)
    return pipeline


@contextmanager
def _told(what: str, source: ModelSource) -> Iterator[None]:
    """What libraries raise on a model's files, in one line."""
    try:
        yield
    except ModelError:
        raise
    # What damaged files make the libraries raise knows no limits: TypeError, ZeroDivisionError, errors of
    # their own that derive from Exception alone.
    except Exception as error:
        raise ModelError(
            f"{what}: cannot be loaded from {source.location} ({first_line(error)}): get it anew, or choose "
            "another"
        ) from error


def _own_parts(recipe: Recipe, source: ModelSource, family: Family, reading: Reading) -> dict[str, Any]:
    """What the model's own folder gives, without what the recipe has others for."""
    parts = {name: kinds for name, kinds in family.parts.items() if name != "vae" or recipe.vae is None}
    if source.is_file:
        return load_file_parts(read_header(source.location, reading.allow_pickle), family, parts, reading)
    optional = dict(family.optional) if recipe.safety_checker else {}
    if not recipe.controls or not all(control.source for control in recipe.controls):
        optional["controlnet"] = CONTROL_NETWORKS
    folder = files_of(source, Needed(recipe.base, tuple(parts), tuple(optional), reading))
    if "safety_checker" in optional and not (folder / "safety_checker").is_dir():
        if "safety_checker" in declared_parts(read_model_index(source)):
            logger.warning(f"model {recipe.base}: its folder has no safety_checker: frames are not checked")
        optional = {name: kinds for name, kinds in optional.items() if name not in family.optional}
    parts |= {name: kinds for name, kinds in optional.items() if (folder / name).is_dir()}
    return {name: load_part(name, kinds, folder / name, reading) for name, kinds in parts.items()}


def _autoencoder(name: str, source: ModelSource, family: Family, reading: Reading) -> Any:
    """An autoencoder that takes the place of the model's own."""
    vae = load_named("autoencoder", name, AUTOENCODERS, family, reading)
    factor, expected = 2 ** (len(vae.config.block_out_channels) - 1), read_picture_size(source).vae_factor
    if factor != expected:
        raise ModelError(
            f"autoencoder {name}: {factor} pixels per latent pixel, expected {expected} as in the model's "
            "own: choose one made for this model"
        )
    return vae


def files_of(source: ModelSource, needed: Needed) -> Path:
    """The folder with a model's files, fetched where that is needed.

    Raises:
        ModelError: some are missing.
    """
    if not source.is_local:
        # Of what is fetched the smallest will do, whatever it is to be computed in.
        smallest = replace(needed, reading=replace(needed.reading, dtype="float16"))
        return hub_folder(source.location, smallest, source.revision)
    folder = Path(source.location)
    needed(files_under(folder))
    return folder


def load_named(what: str, name: str, kinds: Sequence[str], family: Family, reading: Reading) -> Any:
    """A network by the name that a user gives to it.

    Args:
        what: it is, as messages call it.
        name: folder, single file or hub id.
        kinds: names of the classes that it may be.
        family: of the model that it is for.
        reading: how its weights are read.

    Raises:
        ModelError: there is none of that name, or it cannot be used.
    """
    source = find_files(what, name, allow_pickle=reading.allow_pickle)
    with _told(f"{what} {name}", source):
        file = _one_file(source)
        if file is not None:
            return load_file_network(file, kinds, family, reading)
        if source.is_local:
            return load_network(kinds, Path(name), reading)
        folder = hub_folder(name, _whole_folder(what, name, reading), source.revision)
        return load_network(kinds, folder, reading)


def _one_file(source: ModelSource) -> Path | None:
    """The file that a name stands for, fetched where it is one of a hub model; None: it stands for more."""
    hub = None if source.is_local else HUB_NAME.fullmatch(source.location)
    if hub is None or hub["file"] is None:
        return Path(source.location) if source.is_file else None
    if not hub["file"].endswith(".safetensors") and not source.allow_pickle:
        raise pickle_refused(source.location, Path(hub["file"]).name)
    return hub_file(hub["id"], hub["file"], source.revision)


def _whole_folder(what: str, name: str, reading: Reading) -> Choice:
    """Settings and weights of a network that is a hub model of its own."""
    smallest = replace(reading, dtype="float16")

    def choice(names: Collection[str]) -> list[str]:
        here = [file for file in names if "/" not in file]
        weights = choose_weights(f"{what} {name}", here, smallest).names
        return [*weights, *(file for file in here if file.endswith(".json"))]

    return choice


def _named(control: Control, recipe: Recipe, source: ModelSource, family: Family, reading: Reading) -> Any:
    """What was asked for to steer a model, or what usually steers its family, where it brings nothing."""
    if control.source is None and control.kind != "depth":
        raise ModelError(
            f"model {recipe.base}: it has no control network of its own for {control.kind}: give "
            f"--controlnet {control.kind}= with a folder, a file or a hub id, see docs/controls.md"
        )
    if control.source is None and source.is_local and not _is_cached(family.controlnet):
        place = "" if source.is_file else f" in {Path(source.location) / 'controlnet'}: save one there or"
        raise ModelError(
            f"model {recipe.base}: it has no ControlNet, expected a depth ControlNet{place or ':'} give "
            f"--controlnet with a folder, a file or a hub id such as {family.controlnet}"
        )
    name = control.source or family.controlnet
    return load_named("control network", name, CONTROL_NETWORKS, family, reading)


def _is_cached(name: str) -> bool:
    return cached_folder(name, find_files("ControlNet", name).revision) is not None


def _motion_adapter(name: str, family: Family, reading: Reading) -> Any:
    source = find_files("motion adapter", name, allow_pickle=reading.allow_pickle)
    with _told(f"motion adapter {name}", source):
        file = _one_file(source)
        if file is not None:
            return read_motion_file(file, reading)
    return load_named("motion adapter", name, ("MotionAdapter",), family, reading)


def _assembled(family: Family, source: ModelSource, components: dict[str, Any]) -> Any:
    kind = getattr(diffusers, family.pipeline)
    if family.optional:  # who has none says so
        options = {"requires_safety_checker": False}
        components = dict.fromkeys(family.optional) | components
    else:
        zeros = read_model_index(source).get("force_zeros_for_empty_prompt", True)
        options = {"force_zeros_for_empty_prompt": bool(zeros), "add_watermarker": False}
    pipeline = kind(**components, **options)
    pipeline.register_to_config(_name_or_path=source.location)
    return pipeline


def check_networks(model: str, pipeline: Any) -> None:
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
    unet, vae = pipeline.unet, pipeline.vae
    for network in networks_of(pipeline.controlnet):
        check_fits(model, network, unet)
    channels, latent_channels = unet.config.in_channels, vae.config.latent_channels
    if channels != latent_channels:
        raise ModelError(
            f"model {model}: its UNet makes latents of {channels} channels, its autoencoder reads "
            f"{latent_channels}: choose an autoencoder made for this model"
        )
