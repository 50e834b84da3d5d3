"""How much the colour of a surface point varies over time, over the points that many frames show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from genrender.gbuffer.gbuffer import GBuffer
from genrender.metrics.surface import EROSION_PX, erode
from genrender.texels import texel_ids

# A standard deviation over fewer frames says little.
MIN_FRAMES = 5


@dataclass(frozen=True)
class TexelStd:
    """Temporal standard deviation of RGB per surface point, averaged over points and channels, in [0, 1].

    Attributes:
        total: of the colours as they are; NaN where no point is seen in enough frames.
        texture: of the colours less each frame's mean colour: what is left when the whole flickers as one.
        n_points: how many points were seen in enough frames.
    """

    total: float
    texture: float
    n_points: int


def texel_std(
    frames: Sequence[Float[np.ndarray, "H W 3"]] | Float[np.ndarray, "F H W 3"],
    gbuffers: Sequence[GBuffer],
    side: int | None = None,
) -> TexelStd:
    """Standard deviation over time of every surface point that at least `MIN_FRAMES` frames show.

    A point is a texel of its object's atlas. Pixels near the background are left out, as in `surface_error`.

    Args:
        frames: RGB in [0, 1].
        gbuffers: what each frame shows; files will do, since only UVs are needed.
        side: texels along an atlas's side; None takes the pictures' longer side, so that a point is about as
            large as a pixel of an object that fills the picture.
    """
    side = side or max(gbuffers[0].height, gbuffers[0].width)
    texels, colors = [], []
    for frame, gbuffer in zip(frames, gbuffers, strict=True):
        inside = erode(gbuffer.visible, EROSION_PX)
        texel, index = np.unique(texel_ids(gbuffer, side)[inside], return_inverse=True)
        count = np.bincount(index, minlength=len(texel))[:, None]
        total = np.stack([np.bincount(index, c, len(texel)) for c in frame[inside].astype(np.float64).T], 1)
        texels.append(texel)
        colors.append(total / np.maximum(count, 1))
    texel, index, n_frames = np.unique(np.concatenate(texels), return_inverse=True, return_counts=True)
    often = n_frames >= MIN_FRAMES
    if not often.any():
        return TexelStd(float("nan"), float("nan"), 0)
    means = [color.mean(0) if len(color) else np.zeros(3) for color in colors]
    less_mean = [color - mean for color, mean in zip(colors, means, strict=True)]
    total, texture = (
        _mean_std(np.concatenate(values), index, len(texel), often) for values in (colors, less_mean)
    )
    return TexelStd(total, texture, int(often.sum()))


def _mean_std(values: np.ndarray, index: np.ndarray, n_texels: int, often: np.ndarray) -> float:
    count = np.bincount(index, minlength=n_texels)[:, None]
    mean = np.stack([np.bincount(index, c, n_texels) for c in values.T], 1) / count
    squared = np.stack([np.bincount(index, c, n_texels) for c in ((values - mean[index]) ** 2).T], 1)
    return float(np.sqrt(squared / count)[often].mean())
