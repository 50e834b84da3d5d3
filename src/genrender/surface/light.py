"""Light: what differs slowly across a surface.

Detail that differs between two pictures of a surface alternates within a few pixels; light and shade reach
further, and end at most at a shadow's edge. So the difference is smoothed inside each object, except across
edges that are left when everything small is gone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.nearby import Nearby

# Weights of linear RGB (Rec. 709).
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class LightConfig:
    """What counts as light, and as a change of it.

    Attributes:
        radius: how far across a picture, as a share of its longer side, a difference has to reach.
        edge: a step of the smoothed difference of this height, in RGB of [0, 1], is half kept as an edge.
        frames: how many frames away light still steadies a frame's; 0 leaves it as it is.
        tolerance: a change of light of this size, RMS of RGB, is no flicker: it has no weight.
    """

    radius: float = 1 / 16
    edge: float = 0.05
    frames: int = 8
    tolerance: float = 0.1

    def radius_px(self, gbuffer: GBuffer) -> int:
        """The radius in a frame's pixels."""
        return max(round(self.radius * max(gbuffer.height, gbuffer.width)), 2)


def light_in(
    difference: Float64[np.ndarray, "N 3"],
    weight: Float64[np.ndarray, "N"],
    near: Nearby,
    radius_px: int,
    edge: float,
) -> Float64[np.ndarray, "N 3"]:
    """What of a difference between two pictures is light.

    Args:
        difference: at the chosen pixels of `near`.
        weight: how well it is known at each.
        near: see there.
        radius_px: what is smaller is no light.
        edge: see `LightConfig`.

    Source: a guided filter (He, Sun and Tang 2013) whose guide is the smoothed difference, as in rolling
        guidance (Zhang et al. 2014): a line through the values against the guide's luminance is fitted around
        each pixel, and the lines are averaged.
    """
    smooth = near.mean(difference, radius_px, weight)
    # No matrix product: its last bit may hang on the number of threads.
    guide = (smooth * LUMINANCE).sum(axis=1, keepdims=True)
    products = np.concatenate([guide, guide * guide, difference, guide * difference], axis=1)
    mean, square, of_values, product = np.split(near.mean(products, radius_px, weight), (1, 2, 5), axis=1)
    slope = (product - mean * of_values) / (np.maximum(square - mean * mean, 0) + edge * edge / 4)
    lines = near.mean(np.concatenate([slope, of_values - slope * mean], axis=1), radius_px, weight)
    return lines[:, :3] * guide + lines[:, 3:]
