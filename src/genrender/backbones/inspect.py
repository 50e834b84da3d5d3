"""What a model folder holds, as plain data for people and programs; weights are not loaded."""

from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from genrender.backbones.model_folder import read_family, read_model_index
from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.sources import find_model, read_vocabulary
from genrender.errors import ModelError
from genrender.storage.untrusted import read_json


def inspect_model(name: str) -> dict[str, Any]:
    """Networks with their size, picture size and vocabulary of a model on this machine, ready for JSON.

    Args:
        name: `pocket` or a folder.

    Raises:
        ModelError: there is no such model, or it lies on the hub.
    """
    source = find_model(name)
    if not source.is_local:
        raise ModelError(f"model {name} is not on this machine: give pocket or a folder in diffusers' layout")
    model_index = read_model_index(source)
    folder = Path(source.location)
    networks = []
    for path in sorted(folder.iterdir()):
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
        if not files:
            continue
        declared = model_index.get(path.name)
        networks.append(
            {
                "name": path.name,
                "class": declared[1]
                if isinstance(declared, list) and len(declared) == 2
                else _class_name(path),
                "parameters_m": sum(map(_n_parameters, files)) / 1e6,
                "size_mb": sum(file.stat().st_size for file in files) / 1e6,
            }
        )
    native = read_picture_size(source).native
    words = read_vocabulary(folder)
    return {
        "model": name,
        "folder": str(folder),
        "family": read_family(source).name,
        "picture_size": list(native) if native else None,
        "networks": networks,
        "vocabulary": None if words is None else sorted(words),
    }


def _class_name(folder: Path) -> str:
    file = folder / "config.json"
    expected = "the settings of a network: save the model again"
    config = read_json(file, ModelError, expected)
    if not isinstance(config, dict):
        raise ModelError(f"{file}: expected {expected}")
    names = [config.get("_class_name"), *(config.get("architectures") or ())]
    return next((name for name in names if isinstance(name, str)), "unknown")


def _n_parameters(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no dict)
