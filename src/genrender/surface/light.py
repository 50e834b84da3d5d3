"""Light: what differs slowly across a surface, and what of that is flicker.

Detail that differs between two pictures of a surface alternates within a few pixels; light and shade reach
further, and end at most at a shadow's edge. So the difference is smoothed inside each object, except across
edges that are left when everything small is gone (a guided filter whose guide is the smoothed difference: He
et al. 2013; rolling guidance: Zhang et al. 2014).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Integer

from genrender.surface.nearby import box_sum

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class LightConfig:
    """What counts as light.

    Attributes:
        radius: how far across a picture, as a share of its longer side, a difference has to reach.
        edge: a step of the smoothed difference of this height is half kept as an edge.
        frames: how many frames away light still steadies a frame's; 0 leaves it as it is.
        tolerance: a change of light of this size, RMS of RGB in [0, 1], is no flicker: it is not averaged.
    """

    radius: float = 1 / 16
    edge: float = 0.1
    frames: int = 8
    tolerance: float = 0.2


class Regions:
    """The objects of a picture, each in the smallest rectangle around it, for sums that stay inside."""

    def __init__(self, object_id: Integer[np.ndarray, "H W"], weight: Float64[np.ndarray, "H W"]):
        self._weight = weight
        self.parts: list[tuple[tuple[slice, slice], Bool[np.ndarray, "h w"]]] = []
        for id_ in np.unique(object_id[weight > 0]).tolist():
            whole = (object_id == id_) & (weight > 0)
            rows, columns = (np.flatnonzero(whole.any(axis)) for axis in (1, 0))
            box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            self.parts.append((box, whole[box]))

    def smooth(
        self, values: Float64[np.ndarray, "H W C"], radius_px: int, edge: float | None
    ) -> Float64[np.ndarray, "H W C"]:
        """Values without what is small, inside each object; 0 elsewhere.

        Args:
            values: RGB or the like.
            radius_px: what is smaller goes.
            edge: see `LightConfig`; None: edges are smoothed as well.
        """
        result = np.zeros_like(values)
        for box, mask in self.parts:
            weight = (self._weight[box] * mask)[..., None]
            smooth = _mean(values[box], weight, radius_px)
            if edge is not None:
                smooth = _guided(values[box], smooth, weight, radius_px, edge)
            result[box][mask] = smooth[mask]
        return result


def _mean(
    values: Float64[np.ndarray, "h w C"], weight: Float64[np.ndarray, "h w 1"], radius_px: int
) -> Float64[np.ndarray, "h w C"]:
    """Weighted means under a tent, two boxes of half the radius after each other."""
    stack = np.concatenate([values * weight, weight], axis=2)
    half = max(radius_px // 2, 1)
    for _ in range(2):
        stack = box_sum(stack, half)
    return stack[..., :-1] / np.maximum(stack[..., -1:], 1e-9)


def _guided(
    values: Float64[np.ndarray, "h w C"],
    guide: Float64[np.ndarray, "h w C"],
    weight: Float64[np.ndarray, "h w 1"],
    radius_px: int,
    edge: float,
) -> Float64[np.ndarray, "h w C"]:
    """The line through the values against the guide's luminance, fitted around each pixel and averaged."""
    one = (guide @ LUMINANCE)[..., None]
    n = values.shape[2]
    means = _mean(np.concatenate([one, one * one, values, one * values], axis=2), weight, radius_px)
    mean, square, of_values, product = (
        means[..., :1],
        means[..., 1:2],
        means[..., 2 : 2 + n],
        means[..., 2 + n :],
    )
    slope = (product - mean * of_values) / (np.maximum(square - mean * mean, 0) + edge * edge / 4)
    line = _mean(np.concatenate([slope, of_values - slope * mean], axis=2), weight, radius_px)
    return line[..., :n] * one + line[..., n:]
