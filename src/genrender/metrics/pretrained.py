"""Loading the networks that judge frames, from a folder or from the hub, with the library transformers."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers.utils.logging

from genrender.backbones.hub import hub_folder
from genrender.errors import ModelError, first_line

# Of a hub model's files weights that can run no code, settings and words.
_NEEDED = ("*.safetensors", "*.json", "*.txt", "*.model")


def load_pretrained(what: str, source: str | Path, model: Any, *companions: Any) -> tuple[Any, ...]:
    """A network in float32, and its tokenizer, picture processor or the like.

    Args:
        what: what it is called where there is none.
        source: folder or hub id.
        model: class of the network.
        companions: classes of what else lies there.

    Raises:
        ModelError: there is no such network, or it is not on this machine and the hub does not give it.
    """
    if Path(source).is_file():  # transformers would take it for weights, of an older format
        raise ModelError(f"no {what} {source}: it is a file; give a folder or a hub id that holds one")
    folder = Path(source) if Path(source).is_dir() else _fetched(what, str(source))
    transformers.utils.logging.disable_progress_bar()  # only downloads are worth one
    try:
        network = model.from_pretrained(
            folder, torch_dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        return network, *(each.from_pretrained(folder, local_files_only=True) for each in companions)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no {what} {source} ({first_line(error)}); give a folder or a hub id that holds one"
        ) from error
    finally:
        transformers.utils.logging.enable_progress_bar()


def _fetched(what: str, location: str) -> Path:
    try:
        return hub_folder(location, _needed, by_hand=_NEEDED)
    except ModelError as error:
        raise ModelError(f"no {what} {location}: {error}") from error


def _needed(names: Collection[str]) -> list[str]:
    top = [name for name in names if "/" not in name]
    if not any(name.endswith(".safetensors") for name in top):
        raise ModelError("its weights are no safetensors; choose a model that has them")
    return [name for name in top if name.endswith(tuple(pattern[1:] for pattern in _NEEDED))]
