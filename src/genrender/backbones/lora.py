"""LoRAs and their kin: what a file is, which layers it changes, and how it gets into a model.

Plain LoRAs, and DoRAs as diffusers writes them, are loaded by diffusers beside the layers that they change.
DoRA, LoHa and LoKr as LyCORIS and kohya's scripts write them, of which diffusers drops parts or which it
refuses, are merged into the weights.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from genrender.backbones.adapter_files import find_file, read_weights
from genrender.backbones.layer_names import Layer, LayerNames
from genrender.backbones.lora_formulas import merged
from genrender.backbones.recipe import Lora
from genrender.errors import ModelError, first_line
from genrender.storage.quiet import silent_library

NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors", "pytorch_lora_weights.bin")

# Endings of tensors' names, and what LyCORIS calls the part; what diffusers has called it over time.
_LORA_PARTS = {
    "lora_down.weight": "lora_down.weight",
    "lora_up.weight": "lora_up.weight",
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora.down.weight": "lora_down.weight",
    "lora.up.weight": "lora_up.weight",
    "lora_linear_layer.down.weight": "lora_down.weight",
    "lora_linear_layer.up.weight": "lora_up.weight",
}
_OLD_PROCESSORS = {
    f"{name}_lora.{way}.weight": (layer, f"lora_{way}.weight")
    for name, layer in (("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out", "to_out.0"))
    for way in ("down", "up")
}
_MERGED_PARTS = (
    "lora_mid.weight",
    "dora_scale",
    *(f"hada_w{n}_{side}" for n in "12" for side in "ab"),
    *("hada_t1", "hada_t2", "lokr_w1", "lokr_w2", "lokr_t2"),
    *(f"lokr_w{n}_{side}" for n in "12" for side in "ab"),
)
_BY_DIFFUSERS_ONLY = {f"lora_magnitude_vector{end}": "magnitude" for end in ("", ".weight", ".default")}
# Parts of kinds that change weights in other ways, and what these kinds are called.
_OTHER_KINDS = {
    "diff": "full weights",
    "diff_b": "full weights",
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "a1.weight": "GLoRA",
    "on_input": "IA3",
    "w_norm": "norms",
    "b_norm": "norms",
    "lora_B.bias": "LoRA with biases",
    "lora_embedding_A": "LoRA of embeddings",
}


@dataclass(frozen=True)
class LoraFile:
    """A LoRA that was read.

    Attributes:
        path: where it is.
        layers: parts of each layer's adapter by LyCORIS' names, by the layer's name in the file.
        says_more: diffusers has written beside the tensors what they mean, such as alpha.
    """

    path: Path
    layers: Mapping[str, Mapping[str, Tensor]]
    says_more: bool

    @property
    def kind(self) -> str:
        """`LoRA`, `LoHa` or `LoKr`, or `DoRA` where magnitudes are told apart, whatever it builds on."""
        parts = {part for layer in self.layers.values() for part in layer}
        if parts & {"dora_scale", "magnitude"}:
            return "DoRA"
        starts = {part.split("_")[0] for part in parts}
        return "LoHa" if "hada" in starts else "LoKr" if "lokr" in starts else "LoRA"

    @property
    def is_merged(self) -> bool:
        """Whether it is merged into the weights; else diffusers loads it."""
        return any(part in _MERGED_PARTS for layer in self.layers.values() for part in layer)


def read_lora(lora: Lora, allow_pickle: bool = False) -> LoraFile:
    """Find and read a LoRA.

    Raises:
        ModelError: there is none, it is of an unknown kind, or it needs peft, which is missing.
    """
    path = find_file("LoRA", lora.source, NAMES, allow_pickle)
    weights = read_weights("LoRA", path)
    layers: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in weights.items():
        layer, part = _split(path, key)
        layers[layer][part] = tensor
    if not any(len(parts) > 1 for parts in layers.values()):
        raise ModelError(f"LoRA {path}: it holds no adapter of any layer, expected LoRA, DoRA, LoHa or LoKr")
    file = LoraFile(path, dict(layers), _says_more(path))
    if not file.is_merged:
        _check_peft(path)
    return file


def _says_more(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    with safe_open(path, framework="pt") as file:
        return "lora_adapter_metadata" in (file.metadata() or {})


def _split(path: Path, key: str) -> tuple[str, str]:
    """Layer and part of a tensor's name."""
    for ending, (projection, part) in _OLD_PROCESSORS.items():
        if key.endswith(f".{ending}"):
            return f"{key.removesuffix(ending)}{projection}", part
    endings = {**_LORA_PARTS, **{part: part for part in (*_MERGED_PARTS, "alpha")}, **_BY_DIFFUSERS_ONLY}
    for ending, part in endings.items():
        if key.endswith(f".{ending}"):
            return key.removesuffix(f".{ending}"), part
    for ending, kind in _OTHER_KINDS.items():
        if key.endswith(f".{ending}"):
            raise ModelError(f"LoRA {path}: it is of the kind {kind}, expected LoRA, DoRA, LoHa or LoKr")
    raise ModelError(f"LoRA {path}: it holds {key}, expected a LoRA, DoRA, LoHa or LoKr for this model")


def _check_peft(path: Path) -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ModelError(f"LoRA {path} needs peft: pip install 'genrender[lora]'") from error


def load_loras(pipeline: Any, loras: Sequence[tuple[Lora, LoraFile]]) -> None:
    """Put LoRAs into a pipeline's networks, with their weights. One of weight 0 is left out.

    Those that are merged come first: the others stay beside the layers.

    Raises:
        ModelError: one was made for another model; then nothing was changed.
    """
    names = LayerNames(pipeline)
    placed = [(lora, file, _layers(file, names)) for lora, file in loras]
    wanted = [each for each in placed if each[0].weight]
    for lora, file, layers in wanted:
        if file.is_merged:
            _merge(layers, file, lora.weight)
    beside = {f"lora_{n}": each for n, each in enumerate(wanted) if not each[1].is_merged}
    for name, (_, file, layers) in beside.items():
        _load_beside(pipeline, layers, file, name)
    if beside:
        pipeline.set_adapters(list(beside), [lora.weight for lora, *_ in beside.values()])


def _layers(file: LoraFile, names: LayerNames) -> dict[str, Layer]:
    """The model's layers that a file changes, by their names in the file."""
    layers = {}
    for called, parts in file.layers.items():
        found = names.get(called)
        if found is not None and _fits(parts, found.module.weight):
            layers[called] = found
    misfits = [called for called in file.layers if called not in layers]
    if misfits:
        raise ModelError(
            f"LoRA {file.path}: {len(misfits)} of its {len(file.layers)} layers fit none of this model, "
            f"first {misfits[0]}: it was made for another kind of model; choose one made for this kind"
        )
    return layers


def _fits(parts: Mapping[str, Tensor], weight: Tensor) -> bool:
    if "lora_up.weight" in parts and not {"lora_mid.weight", "dora_scale"} & set(parts):
        up, down = parts["lora_up.weight"], parts.get("lora_down.weight")
        return down is not None and (len(up), down.shape[1]) == tuple(weight.shape[:2])
    try:
        # On no device: only the shapes are asked for.
        merged(
            weight.to("meta"), {name: part.to("meta") for name, part in parts.items() if name != "alpha"}, 1
        )
    except (RuntimeError, KeyError):
        return False
    return True


@torch.no_grad()
def _merge(layers: Mapping[str, Layer], file: LoraFile, strength: float) -> None:
    for called, parts in file.layers.items():
        weight = layers[called].module.weight
        weight.copy_(merged(weight, parts, strength))


def _load_beside(pipeline: Any, layers: Mapping[str, Layer], file: LoraFile, name: str) -> None:
    path = file.path
    try:
        # They tell of networks that the file has nothing for, which is said of every LoRA.
        with silent_library(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            # What no name of LyCORIS' stands for, only diffusers reads.
            if file.says_more or file.kind == "DoRA":
                pipeline.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
                )
            else:
                pipeline.load_lora_weights(_for_peft(layers, file), adapter_name=name)
    # diffusers and peft have no error of their own for files that they cannot place.
    except Exception as error:
        raise ModelError(
            f"LoRA {path}: diffusers cannot load it ({first_line(error)}): get it anew, or leave it out"
        ) from error
    adapted = {
        id(module.base_layer)
        for network in (pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None))
        for module in (() if network is None else network.modules())
        if name in getattr(module, "lora_A", ())
    }
    left_out = [called for called in file.layers if id(layers[called].module) not in adapted]
    if left_out:
        raise ModelError(
            f"LoRA {path}: diffusers has left out {len(left_out)} of its {len(file.layers)} layers, first "
            f"{left_out[0]}: update diffusers"
        )


def _for_peft(layers: Mapping[str, Layer], file: LoraFile) -> dict[str, Tensor]:
    """The file's tensors by the names that peft gives them, with alpha / r in the second factor.

    diffusers renames kohya's layers itself, but with some versions of transformers those of text encoders get
    lost on the way.
    """
    tensors = {}
    for called, parts in file.layers.items():
        down, up = parts["lora_down.weight"], parts["lora_up.weight"].float()
        if "alpha" in parts:
            up = up * (parts["alpha"].item() / len(down))
        kernel = layers[called].module.weight.dim() - 2
        for part, tensor in (("lora_A", down), ("lora_B", up)):
            # Old files have 1 x 1 kernels where the model has matrices, or the other way round.
            shaped = tensor if tensor.dim() - 2 == kernel else tensor.flatten(1)
            tensors[f"{layers[called].name}.{part}.weight"] = shaped[
                (..., *[None] * (kernel + 2 - shaped.dim()))
            ]
    return tensors
