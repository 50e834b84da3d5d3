"""What low-rank adapters do to a weight W, after the papers: LoRA, LoHa, LoKr, and DoRA on top of each.

Notation: r = rank, alpha = how strong it was trained to be, A and B = the low-rank factors, m = DoRA's
magnitudes, s = the weight that is asked for. A factor with `t` is the core of a Tucker decomposition of a
convolution.

    LoRA   W + s alpha/r B A                      (Hu et al. 2021)
    LoHa   W + s alpha/r (B1 A1) * (B2 A2)        (Hyeon-Woo et al. 2021; * is elementwise)
    LoKr   W + s alpha/r C x D                    (Yeh et al. 2023; x is Kronecker's product, r D's rank)
    DoRA   W + s (m V / |V| - W), V = W + change  (Liu et al. 2024; the norm of each output or input)

Libraries that merge these were tried: LyCORIS 4.1 counts LoKr's alpha / r twice where it merges.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Parts = Mapping[str, Tensor]


def merged(weight: Tensor, parts: Parts, strength: float) -> Tensor:
    """A layer's weight with an adapter, in float32.

    Args:
        weight: "out in" or "out in kh kw".
        parts: of the adapter for this layer, by the names that LyCORIS gives them.
        strength: how much of the change is made; 0 leaves the weight as it is.

    Raises:
        RuntimeError: the adapter is for a weight of another shape.
        KeyError: a part is missing.
    """
    base = weight.float()
    change = _change({name: part.to(weight.device, torch.float32) for name, part in parts.items()}, base)
    if "dora_scale" not in parts:
        return base + strength * change
    magnitude = parts["dora_scale"].to(base)
    directed = base + change
    # Magnitudes of outputs are a column, those of inputs a row.
    of_outputs = magnitude.shape[0] == len(base)
    others = [axis for axis in range(base.dim()) if axis != (0 if of_outputs else 1)]
    shape = [1] * base.dim()
    shape[0 if of_outputs else 1] = -1
    decomposed = (
        magnitude.reshape(shape) * directed / torch.linalg.vector_norm(directed, dim=others, keepdim=True)
    )
    return base + strength * (decomposed - base)


def _change(parts: Parts, weight: Tensor) -> Tensor:
    """What is added to a weight at strength 1."""
    if "lora_up.weight" in parts:
        change, rank = _lora(parts), len(parts["lora_down.weight"])
    elif "hada_w1_a" in parts:
        first, second = (_product(parts, f"hada_w{n}", f"hada_t{n}", weight) for n in (1, 2))
        change, rank = first * second, len(parts["hada_w1_b"])
    else:
        left = parts["lokr_w1"] if "lokr_w1" in parts else parts["lokr_w1_a"] @ parts["lokr_w1_b"]
        right, rank = _right_of_lokr(parts, weight)
        if rank is None and "lokr_w1_b" in parts:
            rank = len(parts["lokr_w1_b"])
        change = torch.kron(left.reshape(*left.shape, *[1] * (right.dim() - 2)), right)
    if change.numel() != weight.numel() or change.shape[0] != weight.shape[0]:
        raise RuntimeError(f"it changes {list(change.shape)}, the model's weight is {list(weight.shape)}")
    alpha = parts["alpha"].item() if "alpha" in parts and rank is not None else rank
    return change.reshape(weight.shape) * (1.0 if rank is None or alpha is None else alpha / rank)


def _lora(parts: Parts) -> Tensor:
    up, down = parts["lora_up.weight"], parts["lora_down.weight"]
    if "lora_mid.weight" in parts:
        core = parts["lora_mid.weight"]
        return torch.einsum("or,rs...,si->oi...", up.flatten(1), core, down.flatten(1))
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def _product(parts: Parts, name: str, core: str, weight: Tensor) -> Float[Tensor, "out in ..."]:
    """B A, or a convolution's Tucker decomposition, whose outer factors are both "r side"."""
    outer, inner = parts[f"{name}_a"], parts[f"{name}_b"]
    if core in parts:
        return torch.einsum("rs...,ro,si->oi...", parts[core], outer, inner)
    product = outer @ inner
    kernel = weight.shape[2:]
    return product.reshape(len(product), -1, *kernel)


def _right_of_lokr(parts: Parts, weight: Tensor) -> tuple[Tensor, int | None]:
    """The right factor, and the rank; None where it is whole."""
    if "lokr_w2" in parts:
        return parts["lokr_w2"], None
    return _product(parts, "lokr_w2", "lokr_t2", weight), len(parts["lokr_w2_b"])
