"""Files that are added to a model, such as LoRAs, found and read: by path, folder or hub id; safetensors."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from genrender.backbones.hub import hub_file
from genrender.backbones.sources import HUB_NAME, WEIGHT_SUFFIXES
from genrender.errors import ModelError, first_line


def find_file(what: str, source: str, names: Iterable[str], allow_pickle: bool = False) -> Path:
    """The file of a LoRA, an embedding or an IP-Adapter.

    Args:
        what: what it is, for messages, such as `LoRA`.
        source: a file, a folder, a hub id `owner/name`, or `owner/name/folder/file.safetensors`.
        names: what such files are called where `source` names none.
        allow_pickle: whether it may be a pickle, which can run code when it is loaded.

    Raises:
        ModelError: there is none, it is a pickle, or it cannot be fetched.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = _only_file(what, path, tuple(names), allow_pickle)
    elif not path.is_file():
        hub = None if path.is_absolute() or path.parent.is_dir() else HUB_NAME.fullmatch(source)
        if hub is None:
            raise ModelError(
                f"{what} {source}: there is none, expected a file, a folder or a hub id such as owner/name"
            )
        name = hub["file"] or next(iter(names))
        if name.endswith(".safetensors") or allow_pickle:  # else it need not be fetched to be refused
            path = hub_file(hub["id"], name)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ModelError(f"{what} {source}: it is no file of weights, expected a .safetensors file")
    if path.suffix != ".safetensors" and not allow_pickle:
        raise ModelError(
            f"{what} {source}: it lies in a pickle, which can run code when it is loaded, expected a "
            ".safetensors file: get it in that format, or pass --allow-pickle if you trust where it is from"
        )
    return path


def _only_file(what: str, folder: Path, names: tuple[str, ...], allow_pickle: bool) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    endings = (".safetensors", *((".pt", ".bin") if allow_pickle else ()))
    found = sorted(path for path in folder.iterdir() if path.suffix in endings)
    if len(found) != 1:
        what_is_there = ", ".join(path.name for path in found) or "none"
        raise ModelError(
            f"{what} {folder}: its files are {what_is_there}, expected one .safetensors file: name it"
        )
    return found[0]


def read_weights(what: str, path: Path) -> dict[str, Any]:
    """What a file of weights holds: tensors by name; pickles may hold other things.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    # What damaged files make the libraries raise knows no limits.
    except Exception as error:
        raise ModelError(f"{what} {path}: cannot be read ({first_line(error)}): get it anew") from error
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise ModelError(f"{what} {path}: it holds no weights by name, expected them so: get it anew")
    return weights
