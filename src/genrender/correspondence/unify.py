"""How keyframes that show the same surface point are combined: a rule is a set of weights over the keyframes.

Each rule maps what K keyframes show of N surface points to weights that are >= 0, sum to one wherever any
keyframe sees the point, and are zero for keyframes that do not see it. To add a rule, write its function and
name it in `UNIFY_RULES` and in `genrender.config.UnifyRule`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from genrender.config import UnifyRule
from genrender.errors import ConfigError

# The power at the last step, and the least share of the best quality that counts.
MAX_POWER = 6
MIN_SHARE = 1e-3


@dataclass(frozen=True)
class Samples:
    """What the keyframes show of some surface points.

    Attributes:
        seen: which keyframes see each point.
        quality: how well, at least 0; None: keyframes are as good as they come first.
        progress: share of the diffusion steps that are done, in [0, 1]; for rules that change with it.
    """

    seen: Bool[Tensor, "K N"]
    quality: Int64[Tensor, "K N"] | None = None
    progress: float = 0.0


def fill(samples: Samples) -> Float32[Tensor, "K N"]:
    """Visit the keyframes one after the other, the best first, and write only what is still empty.

    Source: section 4 of the paper (sequential texture filling, against over-smoothing).
    Differs: the order by quality is ours.
    """
    seen, quality = samples.seen, samples.quality
    n_keyframes = seen.shape[0]
    score = seen.long() if quality is None else torch.where(seen, quality + 1, 0)
    # The second term breaks ties by order on every device; argmax alone promises no order.
    order = torch.arange(n_keyframes - 1, -1, -1, device=seen.device)[:, None]
    first = (score * n_keyframes + order).argmax(0, keepdim=True)
    return torch.zeros_like(seen, dtype=torch.float32).scatter_(0, first, 1.0) * seen


def mean(samples: Samples) -> Float32[Tensor, "K N"]:
    """All keyframes that see the point count alike."""
    return samples.seen / samples.seen.sum(0).clamp(min=1)


def paper(samples: Samples) -> Float32[Tensor, "K N"]:
    """Half `fill`, half `mean`."""
    return 0.5 * fill(samples) + 0.5 * mean(samples)


def rising(samples: Samples) -> Float32[Tensor, "K N"]:
    """Each keyframe by its quality to a power that rises over the steps: first a mean, at the end a winner.

    Early steps agree on colours, which a mean does best; late ones paint details, which a mean blurs.

    Source: Liu et al. 2023, "SyncMVD" (2311.12891): the cosine of the viewing angle to the power 0 to 6.
    Differs: quality also tells how near the camera is.
    """
    if samples.quality is None:
        return mean(samples)
    # Better than the best by nothing and worse by no more than MIN_SHARE: so nobody's share is rounded to 0.
    quality = (samples.quality + 1) * samples.seen
    share = (quality / quality.amax(0).clamp(min=1)).clamp(min=MIN_SHARE)
    weight = samples.seen * share ** (MAX_POWER * samples.progress)
    return weight / weight.sum(0).clamp(min=1e-30)


@dataclass(frozen=True)
class Rule:
    """One way to combine keyframes.

    Attributes:
        meaning: in one line.
        weights: of the samples at each point.
        averages: every keyframe that sees a point has a share in it; False: a point comes from one keyframe,
            and no spread is lost.
        rises: the weights depend on how many steps are done.
    """

    meaning: str
    weights: Callable[[Samples], Float32[Tensor, "K N"]]
    averages: bool = True
    rises: bool = False


UNIFY_RULES: dict[UnifyRule, Rule] = {
    "fill": Rule("the keyframe that sees the point best, or first", fill, averages=False),
    "mean": Rule("all keyframes that see the point, alike", mean),
    "paper": Rule("half fill, half mean", paper),
    "rising": Rule("each keyframe by its quality, to a power that rises over the steps", rising, rises=True),
}


def unify_weights(rule: UnifyRule, samples: Samples) -> Float32[Tensor, "K N"]:
    """The weights of the rule with this name.

    Raises:
        ConfigError: unknown rule.
    """
    if rule not in UNIFY_RULES:
        raise ConfigError(f"unknown unify rule {rule!r}, expected {' or '.join(UNIFY_RULES)}")
    return UNIFY_RULES[rule].weights(samples)
