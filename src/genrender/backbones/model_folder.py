"""A model in diffusers' layout: the settings in its folders, and which of its files are needed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrender.backbones.families import Family, family_of
from genrender.backbones.hub import hub_file
from genrender.backbones.single_file import file_family, file_settings, read_header
from genrender.backbones.sources import AVAILABLE, ModelSource
from genrender.backbones.weight_files import Reading, choose_weights
from genrender.errors import ModelError, first_line
from genrender.storage.untrusted import read_json

# Parts without weights: settings and words.
PLAIN_PARTS = ("scheduler", "tokenizer", "tokenizer_2", "feature_extractor")
# Folders whose settings tell what a model is.
_TELLING = ("unet", "vae", "text_encoder", "text_encoder_2", "transformer", "prior", "decoder")


def read_settings(source: ModelSource, part: str) -> dict[str, Any]:
    """The settings of one part of a model.

    Raises:
        ModelError: they are missing or damaged.
    """
    if source.is_file:
        return file_settings(read_header(source.location, source.allow_pickle), part)
    name = f"{part}/{'scheduler_config' if part == 'scheduler' else 'config'}.json"
    if source.is_local:
        path = Path(source.location, name)
    else:
        path = hub_file(source.location, name, source.revision)
    return _read_object(source, path, name, "the settings of a network: save the model again")


def read_model_index(source: ModelSource) -> dict[str, Any]:
    """The parts that a model declares, by name; nothing where it has no index.

    Raises:
        ModelError: the index is damaged.
    """
    name = "model_index.json"
    if source.is_file:
        return {}
    if source.is_local:
        path = Path(source.location, name)
        if not path.is_file():
            return {}
    else:
        path = hub_file(source.location, name, source.revision)
    return _read_object(source, path, name, "the list of a model's networks: get the model anew")


def _read_object(source: ModelSource, path: Path, name: str, what: str) -> dict[str, Any]:
    def fault(text: str) -> ModelError:
        return ModelError(f"model {source.location}: {text}")

    try:
        found = read_json(path, fault, what)
    except OSError as error:
        raise fault(f"cannot read {name} ({first_line(error)}): get the model anew") from error
    if not isinstance(found, dict):
        raise fault(f"{name}: expected {what}")
    return found


def declared_parts(model_index: Mapping[str, Any]) -> list[str]:
    """Names of the parts that an index says the model has."""
    return [name for name, kind in model_index.items() if isinstance(kind, list) and any(kind)]


def read_family(source: ModelSource) -> Family:
    """What kind of model there is, by its settings.

    Raises:
        ModelError: it cannot be driven, or its settings cannot be read.
    """
    if source.is_file:
        return file_family(read_header(source.location, source.allow_pickle))
    if source.is_local:
        folder = Path(source.location)
        parts = [path.parent.name for path in sorted(folder.glob("*/config.json"))]
        if not parts:
            raise ModelError(f"model {folder}: it holds no unet/config.json, expected {AVAILABLE}")
    else:
        parts = declared_parts(read_model_index(source))
    configs = {part: read_settings(source, part) for part in parts if part in _TELLING}
    try:
        return family_of(configs)
    except ModelError as error:
        raise ModelError(f"model {source.location}: {error}") from None


@dataclass(frozen=True)
class Needed:
    """Which files of a model are needed.

    Attributes:
        where: the model, as messages call it.
        parts: that it must have.
        optional: that it may have.
        reading: how weights are read.
    """

    where: str
    parts: tuple[str, ...]
    optional: tuple[str, ...]
    reading: Reading

    def __call__(self, names: Collection[str]) -> list[str]:
        """Of all files of a model those that are needed.

        Raises:
            ModelError: a part that must be there is not.
        """
        needed = [name for name in names if "/" not in name and name.endswith(".json")]
        for part in (*self.parts, *self.optional):
            inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
            if not inside and part in self.optional:
                continue
            if not inside:
                raise ModelError(f"model {self.where}: it has no {part}: get the model anew")
            missing = _missing(part, inside)
            if missing:
                raise ModelError(f"model {self.where}: its {part} has no {missing}: get the model anew")
            kept = [name for name in inside if name.endswith((".json", ".txt")) and "index" not in name]
            if part not in PLAIN_PARTS:
                where = f"model {self.where}: {part}"
                # What lies here without the variant that is asked for is not what is needed.
                chosen = choose_weights(where, inside, self.reading, must_be_variant=part == "unet")
                kept += chosen.names
                kept += [name for name in inside if name.endswith(".json") and "index" in name]
            needed += [f"{part}/{name}" for name in kept]
        return needed


def _missing(part: str, names: Collection[str]) -> str | None:
    """What a part cannot do without, such as the rest of what was fetched by halves; None: nothing lacks."""
    if not part.startswith("tokenizer"):
        settings = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json"}
        name = settings.get(part, "config.json")
        return None if name in names else name
    has_words = "tokenizer.json" in names or {"vocab.json", "merges.txt"} <= {*names}
    if not has_words:
        return "tokenizer.json, nor vocab.json and merges.txt"
    return None if "tokenizer_config.json" in names else "tokenizer_config.json"
