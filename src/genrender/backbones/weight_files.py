"""Which of a network's weight files to read: safetensors or pickle, whole or in shards, of which variant."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genrender.config import Dtype
from genrender.errors import ModelError

# Names that diffusers and transformers give to weights, such as `model.fp16-00001-of-00002.safetensors`.
_NAME = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>\w+))?"
    r"(?:-(?P<shard>\d+)-of-(?P<n_shards>\d+))?(?:\.(?P<legacy>\w+))?\.(?P<format>safetensors|bin)"
)
# The variants that are taken without being asked for, smallest first.
HALF_PRECISION = ("fp16", "bf16")
# What `Recipe.variant` calls the files that are of no variant.
FULL = "full"


@dataclass(frozen=True)
class Reading:
    """How weights are read.

    Attributes:
        dtype: numbers that the networks are to compute in.
        variant: such as `fp16`; `full`: files of no variant; None: the smallest that suffices for `dtype`.
        allow_pickle: whether pickles may be read where there is no safetensors file.
    """

    dtype: Dtype = "float32"
    variant: str | None = None
    allow_pickle: bool = False

    @property
    def torch_dtype(self) -> Any:
        """The same as PyTorch calls it."""
        import torch

        return getattr(torch, self.dtype)

    @property
    def preferred(self) -> tuple[str | None, ...]:
        """Variants in the order in which they are taken; None is no variant."""
        if self.variant is not None:
            return (None,) if self.variant == FULL else (self.variant,)
        return (None, *HALF_PRECISION) if self.dtype == "float32" else (*HALF_PRECISION, None)


@dataclass(frozen=True)
class WeightFiles:
    """Files that make up a network's weights.

    Attributes:
        names: in the network's folder.
        variant: None: none.
        is_pickle: reading them could run code.
    """

    names: tuple[str, ...]
    variant: str | None
    is_pickle: bool


def choose_weights(
    where: str, names: Iterable[str], reading: Reading, must_be_variant: bool = False
) -> WeightFiles:
    """The files to read among those of a network's folder.

    A variant that was asked for is taken where the network has it; others are read as they are, unless
    `must_be_variant`.

    Raises:
        ModelError: there are none, only pickles though these are not allowed, or none of the variant.
    """
    sets = _complete_sets(names)
    safe = {variant: names for (variant, is_pickle), names in sets.items() if not is_pickle}
    pickled = {variant: names for (variant, is_pickle), names in sets.items() if is_pickle}
    if not safe and pickled and not reading.allow_pickle:
        raise pickle_refused(where, min(name for names in pickled.values() for name in names))
    found = safe or pickled
    if not found:
        raise ModelError(f"{where}: it holds no weights, expected a safetensors file: get the model anew")
    order = reading.preferred
    if not must_be_variant:
        order = (*order, None, *HALF_PRECISION)
    for variant in order:
        if variant in found:
            return WeightFiles(tuple(sorted(found[variant])), variant, found is pickled)
    known = ", ".join(variant or FULL for variant in found)
    raise ModelError(f"{where}: no weights of variant {reading.variant}, expected one of: {known}")


def variants(names: Iterable[str]) -> list[str | None]:
    """Which variants of weights are among a network's files; None is no variant."""
    return list(dict.fromkeys(variant for variant, _ in _complete_sets(names)))


def _complete_sets(names: Iterable[str]) -> Mapping[tuple[str | None, bool], list[str]]:
    """Weight files by variant and whether they are pickles; shards only where none is missing."""
    sets: dict[tuple[str | None, bool], list[Any]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match:
            variant = match["variant"] or match["legacy"]
            sets.setdefault((variant, match["format"] == "bin"), []).append(match)
    complete = {}
    for key, matches in sets.items():
        whole = [match.string for match in matches if match["shard"] is None]
        shards = [match for match in matches if match["shard"] is not None]
        if whole:
            complete[key] = whole[:1]
        elif len(shards) == int(shards[0]["n_shards"]):
            complete[key] = [match.string for match in shards]
    return complete


def pickle_refused(where: str, name: str) -> ModelError:
    """For weights that could run code when they are read: says so, and how to convert them."""
    safe = re.sub(r"\.\w+$", "", name).replace("pytorch_model", "model", name.startswith("pytorch_model"))
    return ModelError(
        f"{where}: its weights are a pickle ({name}), which can run code when it is read, expected "
        f"safetensors: convert them there with `{conversion(name, safe)}`, or let `genrender render "
        "--allow-pickle` read them as they are"
    )


def conversion(name: str, safe: str) -> str:
    """A command that makes a safetensors file of a pickle of weights without running what it holds."""
    return (
        'python -c "import torch; from safetensors.torch import save_file; '
        f"w = torch.load('{name}', map_location='cpu', weights_only=True); w = w.get('state_dict', w); "
        "save_file({k: v.clone().contiguous() for k, v in w.items() if torch.is_tensor(v)}, "
        f"'{safe}.safetensors', dict(format='pt'))\""
    )
