"""From weights over keyframe pixels to features in frames: what all correspondence engines end in."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor


@dataclass(frozen=True)
class FeatureMap:
    """Which feature maps are carried on the surface.

    Attributes:
        height: in feature pixels; need not divide the picture's height.
        width: likewise.
        layer: name of the attention layer that makes them; empty for latents and pictures.
    """

    height: int
    width: int
    layer: str = ""


class WeightedGather:
    """out[row] += weight * features[source], over all (row, source, weight): a sparse matrix, row by row.

    Args:
        row: index of the output pixel.
        source: index k * P + pixel of the keyframe pixel, where keyframe k has P pixels.
        weight: weights of one row sum to one, or the row is absent.
        n_rows: output pixels.
    """

    def __init__(
        self, row: Int64[Tensor, "M"], source: Int64[Tensor, "M"], weight: Float32[Tensor, "M"], n_rows: int
    ):
        used = torch.nonzero(weight).squeeze(1)
        self.n_rows = n_rows
        self.row, self.source, self.weight = row[used], source[used], weight[used, None]

    def __call__(self, features: Float[Tensor, "K P C"]) -> Float32[Tensor, "N C"]:
        out = torch.zeros(self.n_rows, features.shape[2], device=features.device)
        return out.index_add_(0, self.row, features.flatten(0, 1)[self.source].float() * self.weight)


def gather_pixels(
    pixel: Int64[Tensor, "K N"], weights: Float32[Tensor, "K N"], n_pixels: int
) -> WeightedGather:
    """Gather one pixel of each keyframe per output row.

    Args:
        pixel: flat index of the keyframe's pixel.
        weights: of each keyframe.
        n_pixels: pixels of a keyframe.
    """
    n_keyframes, n_rows = pixel.shape
    row = torch.arange(n_rows, device=pixel.device).expand(n_keyframes, -1)
    first = torch.arange(n_keyframes, device=pixel.device)[:, None] * n_pixels
    return WeightedGather(row.flatten(), (first + pixel).flatten(), weights.flatten(), n_rows)


@dataclass(frozen=True)
class Moment:
    """What the weights of a rule depend on and what changes from step to step.

    Attributes:
        keyframes: of the step.
        progress: share of the steps that are done; 0 for rules that do not ask.
    """

    keyframes: tuple[int, ...]
    progress: float = 0.0


class References:
    """By which texels or pixels spread is measured: alike for all chunks of a step, so found once a step.

    Only what the keyframes that were asked for last need is kept, for each size and rule.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[Hashable, ...], tuple[Moment, WeightedGather]] = {}

    def look_up(self, find: Callable[..., WeightedGather], moment: Moment, *key: Hashable) -> WeightedGather:
        """`find(moment, *key)`, called only where the result is not at hand."""
        found = self._found.get(key)
        if found is None or found[0] != moment:
            found = self._found[key] = moment, find(moment, *key)
        return found[1]


class SurfaceBlend:
    """Renders the keyframes' unified features into frames; made by an engine's `blend`.

    One object serves every layer of its size, both guidance branches and all calls of a diffusion step.

    Args:
        frames: which keyframe pixels make up each of the frames' pixels.
        surface: which of these show any surface.
        valid: which get features.
        inpainted: which get features of another point than theirs; None: none does.
        reference: by which texels or pixels spread is measured; None: it is not restored.

    Attributes:
        surface: as above.
    """

    def __init__(
        self,
        frames: WeightedGather,
        *,
        surface: Bool[Tensor, "F h w"],
        valid: Bool[Tensor, "F h w"],
        inpainted: Bool[Tensor, "F h w"] | None = None,
        reference: WeightedGather | None = None,
    ):
        self.surface = surface
        self._valid = valid
        self._inpainted = inpainted
        self._frames = frames
        self._reference = reference

    def __call__(
        self, features: Float[Tensor, "K C h w"]
    ) -> tuple[Float[Tensor, "F C h w"], Bool[Tensor, "F h w"]]:
        """Blend the keyframes' features and see them through the frames' G-buffers.

        Args:
            features: one map per keyframe, in the order of the keyframes given to `blend`.

        Returns:
            R, the rendered surface features, 0 where invalid; and where they are valid.
        """
        # Rows of C contiguous numbers: attention features are stored that way, so this copies nothing.
        flat = features.flatten(2).transpose(1, 2)
        rendered = self._frames(flat)
        if self._reference is not None:
            rendered = self._restore_spread(rendered, flat, self._reference)
        n_frames, height, width = self._valid.shape
        rendered = rendered.to(features.dtype).view(n_frames, height, width, -1).permute(0, 3, 1, 2)
        return rendered, self._valid

    def shows(self, pixels: Bool[Tensor, "K h w"]) -> Bool[Tensor, "F h w"]:
        """Which of the frames' pixels show a surface point that any of these pixels of the keyframes shows.

        The unify rule must average: one that does not gives a point to a single keyframe.
        """
        shown = (self._frames(pixels.flatten(1)[..., None].float()) > 0).view_as(self._valid)
        return shown if self._inpainted is None else shown & ~self._inpainted

    def _restore_spread(
        self, rendered: Float32[Tensor, "N C"], flat: Float[Tensor, "K P C"], reference: WeightedGather
    ) -> Float32[Tensor, "N C"]:
        """Scale about the mean, channel by channel, so that averaging loses no variance.

        The law of total variance: what the average u of sources x lost is the spread of x about u,
        Var(x) = Var(u) + E[Var(x | texel)]. Both sides are taken over the keyframes' texels and never over
        the frames rendered now, so that the gain does not depend on how frames are grouped.
        """
        if reference.n_rows == 0:
            return rendered
        unified = reference(flat)
        mean = unified.mean(0)
        source_var = reference((flat.float() - mean).square()).mean(0)
        unified_var = (unified - mean).square().mean(0)
        gain = torch.where(unified_var > 0, (source_var / unified_var.clamp(min=1e-30)).sqrt(), 1.0)
        # K independent sources lose a factor sqrt(K); more is no average's doing but chance or rounding.
        gain = gain.clamp(1.0, flat.shape[0] ** 0.5)
        # mean + gain * (rendered - mean) in place; where nothing is valid, 0 stays 0.
        return rendered.mul_(gain).addcmul_(self._valid.flatten()[:, None].float(), mean - gain * mean)
