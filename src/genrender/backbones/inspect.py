"""What a model is and holds, as plain data for people and programs; weights are not loaded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from genrender.backbones.families import SD1, SD2, SDXL, Family
from genrender.backbones.hub import cached_folder, files_under
from genrender.backbones.model_folder import PLAIN_PARTS, read_family, read_settings
from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.single_file import Header, has_own_vae, read_header, says_prediction
from genrender.backbones.sources import ModelSource, find_model, read_vocabulary
from genrender.backbones.weight_files import FULL, Reading, choose_weights, variants
from genrender.errors import ModelError
from genrender.storage.limits import network_memory

# Where the weights of a network are in a single file, by the name that folders give to it.
_IN_FILE = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
_PRECISIONS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_FITS = {
    SD1.name: "ControlNets and LoRAs for Stable Diffusion 1.x (SD 1.4, 1.5)",
    SD2.name: "ControlNets and LoRAs for Stable Diffusion 2.x",
    SDXL.name: "ControlNets and LoRAs for Stable Diffusion XL (SDXL)",
}


def inspect_model(name: str) -> dict[str, Any]:
    """Family, networks, sizes, memory and vocabulary of a model on this machine, ready for JSON.

    Args:
        name: `pocket`, a folder, a single file, or a hub id that was fetched before.

    Raises:
        ModelError: there is no such model, it cannot be driven, or it is not on this machine.
    """
    source = find_model(name)
    if not source.is_local:
        folder = cached_folder(source.location, source.revision)
        if folder is None:
            raise ModelError(
                f"model {name} is not on this machine: render with it once, or give pocket, a folder or a "
                "file"
            )
        source = replace(source, location=str(folder), is_local=True)
    family = read_family(source)
    unet, scheduler = (read_settings(source, part) for part in ("unet", "scheduler"))
    networks = list(_file_networks(source, family) if source.is_file else _folder_networks(source))
    picture = read_picture_size(source)
    words = None if source.is_file else read_vocabulary(source.location)
    n_pixels = prod(picture.native or (0, 0))
    fits = _FITS[family.name] if unet.get("cross_attention_dim") == family.text_width else None
    return {
        "model": name,
        "location": source.location,
        "family": family.name,
        "title": family.title,
        "pipeline": family.pipeline,
        "text_channels": unet.get("cross_attention_dim"),
        "scheduler": scheduler.get("_class_name"),
        "prediction_type": scheduler.get("prediction_type", "epsilon"),
        "picture_size": list(picture.native) if picture.native else None,
        "networks": networks,
        "fits": fits,
        "memory_mb": _memory_mb(networks, n_pixels),
        "notes": _notes(source, unet, family, {network["name"] for network in networks}),
        "vocabulary": None if words is None else sorted(words),
    }


def _folder_networks(source: ModelSource) -> Iterable[dict[str, Any]]:
    folder, reading = Path(source.location), Reading("float16", allow_pickle=source.allow_pickle)
    names = files_under(folder)
    for part in sorted({name.split("/")[0] for name in names if name.count("/") == 1} - {*PLAIN_PARTS}):
        inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        if not variants(inside):
            continue
        chosen = choose_weights(f"{folder}: {part}", inside, reading)
        headers = [read_header(folder / part / name, source.allow_pickle) for name in chosen.names]
        settings = read_settings(source, part)
        kinds = [settings.get("_class_name"), *(settings.get("architectures") or ())]
        yield {
            "name": part,
            "class": next((kind for kind in kinds if isinstance(kind, str)), "unknown"),
            **_weights(headers),
            "size_mb": sum((folder / part / name).stat().st_size for name in chosen.names) / 1e6,
            "variants": [variant or FULL for variant in variants(inside)],
        }


def _file_networks(source: ModelSource, family: Family) -> Iterable[dict[str, Any]]:
    header = read_header(source.location, source.allow_pickle)
    for part, prefixes in _IN_FILE.items():
        names = {name for name in header.shapes if name.startswith(prefixes)}
        if not names or part not in family.parts:
            continue
        inside = replace(header, shapes={name: header.shapes[name] for name in names})
        yield {
            "name": part,
            "class": family.parts[part][0],
            **_weights([inside]),
            "size_mb": sum(prod(header.shapes[name]) * _bytes(header.dtypes[name]) for name in names) / 1e6,
            "variants": [],
        }


def _weights(headers: list[Header]) -> dict[str, Any]:
    """Number and precision of the weights in files; the precision that most of them have."""
    counts: dict[str, int] = {}
    for header in headers:
        for name, shape in header.shapes.items():
            counts[header.dtypes[name]] = counts.get(header.dtypes[name], 0) + prod(shape)
    most = max(counts, key=lambda dtype: counts[dtype], default="")
    return {"parameters_m": sum(counts.values()) / 1e6, "precision": _PRECISIONS.get(most, most)}


def _bytes(dtype: str) -> int:
    # Such as F16, bfloat16 or F8_E4M3, of which the first number counts.
    bits = re.search(r"\d+", dtype)
    return 1 if bits is None else max(1, int(bits[0]) // 8)


def _memory_mb(networks: Sequence[Mapping[str, Any]], n_pixels: int) -> dict[str, int]:
    """About what a run takes: weights, and maps of one frame of the model's own size."""
    weights = sum(network["parameters_m"] for network in networks if network["name"] != "clip")
    return {
        name: round(bytes_each * weights + network_memory(n_pixels, 1) * bytes_each / 4 / 1e6)
        for name, bytes_each in (("float32", 4), ("float16", 2))
    }


def _notes(source: ModelSource, unet: Mapping[str, Any], family: Family, parts: set[str]) -> list[str]:
    notes = []
    if unet.get("time_cond_proj_dim") is not None:
        notes.append("distilled with guidance as an input (LCM): a few steps suffice, no negative prompt")
    if "controlnet" not in parts:
        notes.append(f"brings no ControlNet: give --controlnet, for instance {family.controlnet}")
    if source.is_file:
        header = read_header(source.location, source.allow_pickle)
        if not has_own_vae(header):
            notes.append("brings no autoencoder: give --vae")
        if not says_prediction(header) and unet.get("cross_attention_dim") == SD2.text_width:
            notes.append("does not say what it predicts: see docs/models.md")
    return notes
