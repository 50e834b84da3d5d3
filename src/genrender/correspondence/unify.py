"""How keyframes that show the same surface point are combined: a rule is a set of weights over the keyframes.

Each rule maps `seen` (which of K keyframes see each of N surface points) to weights that are >= 0, sum to one
wherever any keyframe sees the point, and are zero elsewhere.
"""

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from genrender.config import UnifyRule
from genrender.errors import ConfigError


def fill(seen: Bool[Tensor, "K N"], quality: Int64[Tensor, "K N"] | None = None) -> Float32[Tensor, "K N"]:
    """Visit the keyframes one after the other and write only what is still empty.

    Args:
        seen: which keyframes see each point.
        quality: how well; the best comes first, point by point. None: keyframes come in the order given.

    Source: section 4 of the paper (sequential texture filling, against over-smoothing).
    Differs: the order by quality is ours.
    """
    n_keyframes = seen.shape[0]
    score = seen.long() if quality is None else torch.where(seen, quality + 1, 0)
    # The second term breaks ties by order on every device; argmax alone promises no order.
    order = torch.arange(n_keyframes - 1, -1, -1, device=seen.device)[:, None]
    first = (score * n_keyframes + order).argmax(0, keepdim=True)
    return torch.zeros_like(seen, dtype=torch.float32).scatter_(0, first, 1.0) * seen


def mean(seen: Bool[Tensor, "K N"]) -> Float32[Tensor, "K N"]:
    """All keyframes that see the point count alike."""
    return seen / seen.sum(0).clamp(min=1)


def paper(seen: Bool[Tensor, "K N"], quality: Int64[Tensor, "K N"] | None = None) -> Float32[Tensor, "K N"]:
    """Half `fill`, half `mean`."""
    return 0.5 * fill(seen, quality) + 0.5 * mean(seen)


def unify_weights(
    rule: UnifyRule, seen: Bool[Tensor, "K N"], quality: Int64[Tensor, "K N"] | None = None
) -> Float32[Tensor, "K N"]:
    """The weights of the rule with this name.

    Raises:
        ConfigError: unknown rule.
    """
    if rule == "fill":
        return fill(seen, quality)
    if rule == "mean":
        return mean(seen)
    if rule == "paper":
        return paper(seen, quality)
    raise ConfigError(f"unify: unknown rule {rule!r}, expected fill, mean or paper; trajectory needs queries")
