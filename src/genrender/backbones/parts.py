"""Single networks, tokenizers and schedulers read from folders, in the numbers that they are to compute in.

Classes come from what we know of a family, never from a name in a file that would have code loaded.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import diffusers
import transformers
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from genrender.backbones.single_file import UNION_WEIGHTS, read_header
from genrender.backbones.weight_files import Reading, choose_weights
from genrender.errors import ModelError
from genrender.storage.untrusted import read_json


def load_part(part: str, kinds: Collection[str], folder: Path, reading: Reading) -> Any:
    """One part of a model by the name that pipelines give to it.

    Args:
        part: such as `unet` or `tokenizer_2`.
        kinds: names of the classes that it may be.
        folder: where it is.
        reading: how weights are read.

    Raises:
        ModelError: it is of another class, or its files cannot be used.
    """
    if part == "scheduler":
        return load_scheduler(folder)
    if part.startswith("tokenizer"):
        return load_tokenizer(folder)
    if part == "feature_extractor":
        return transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    return load_network(kinds, folder, reading, must_be_variant=part == "unet")


def load_network(
    kinds: Collection[str], folder: Path, reading: Reading, must_be_variant: bool = False
) -> Any:
    """A network of diffusers or transformers in a folder, ready to be asked.

    Args:
        kinds: names of the classes that it may be; its settings say which of them.
        folder: holds its settings and weights.
        reading: how its weights are read.
        must_be_variant: whether a variant that was asked for has to be there.

    Raises:
        ModelError: it is of another class, or its weights cannot be used.
    """
    kind: Any = _class_of(kinds, folder)
    names = [path.name for path in folder.iterdir()]
    weights = choose_weights(str(folder), names, reading, must_be_variant)
    # Unions are published under this name, and what makes them unions would be left out without a word.
    may_be_union = kind is ControlNetModel and not weights.is_pickle
    if may_be_union and any(read_header(folder / name).holds(UNION_WEIGHTS) for name in weights.names):
        kind = ControlNetUnionModel
    # Weights are made in the final dtype as they are read: a cast afterwards would hold them twice.
    dtype = {
        "dtype" if issubclass(kind, transformers.PreTrainedModel) else "torch_dtype": reading.torch_dtype
    }
    loaded: Any = kind.from_pretrained(
        folder,
        variant=weights.variant,
        use_safetensors=not weights.is_pickle,
        local_files_only=True,
        output_loading_info=True,
        **dtype,
    )
    network, report = loaded
    unplaced = sorted(report["unexpected_keys"])
    if unplaced and kind in (ControlNetModel, ControlNetUnionModel, UNet2DConditionModel):
        raise ModelError(
            f"{folder}: a {kind.__name__} has no place for its weights {unplaced[0]}, expected those of its "
            "config.json: get it anew"
        )
    missing = sorted(report["missing_keys"])
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ModelError(f"{folder}: its files lack the weights {missing[0]}{others}: get them anew")
    return network.eval()


def _class_of(kinds: Collection[str], folder: Path) -> Any:
    file = folder / "config.json"
    try:
        config = read_json(file, ModelError, "the settings of a network: save the model again")
    except FileNotFoundError:
        raise ModelError(f"{folder}: it holds no config.json, expected {_listed(kinds)}") from None
    named = config.get("_class_name") if isinstance(config, dict) else None
    if named is None and len(kinds) == 1:
        named = next(iter(kinds))  # transformers' settings do not always tell
    if not isinstance(named, str) or named not in kinds:
        raise ModelError(f"{folder}: it is a {named}, expected {_listed(kinds)}")
    if named == StableDiffusionSafetyChecker.__name__:
        return StableDiffusionSafetyChecker  # diffusers does not name it where it names all others
    return getattr(diffusers, named, None) or getattr(transformers, named)


def _listed(kinds: Collection[str]) -> str:
    return " or ".join(kinds)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a CLIP text encoder.

    Raises:
        ModelError: there is none. transformers would make up one that knows no words.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{folder}: it holds no tokenizer.json and no vocab.json: get the model anew")
    return transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def load_scheduler(folder: Path) -> Any:
    """The scheduler that a model was trained or tuned with.

    Raises:
        ModelError: its class is none of diffusers' schedulers.
    """
    file = folder / "scheduler_config.json"
    config = read_json(file, ModelError, "the settings of a scheduler: save the model again")
    named = config.get("_class_name") if isinstance(config, dict) else None
    kind = getattr(diffusers, str(named), None)
    if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
        raise ModelError(f"{file}: it names a {named}, expected one of diffusers' schedulers")
    return kind.from_pretrained(folder, local_files_only=True)
