"""Standard deviation over time of the colour of surface points, for points that many frames show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.lazy_frames import Pictures
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.texels import texel_ids

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
    frames: Pictures,
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
    points = _Points()
    for frame, gbuffer in zip(frames, gbuffers, strict=True):
        inside = erode(gbuffer.visible, EROSION_PX)
        texel, index, count = np.unique(
            texel_ids(gbuffer, side)[inside], return_inverse=True, return_counts=True
        )
        total = np.stack([np.bincount(index, c, len(texel)) for c in frame[inside].astype(np.float64).T], 1)
        color = total / count[:, None]
        mean = color.mean(0) if len(color) else np.zeros(3)
        points.add(texel, np.concatenate([color, color - mean], axis=1))
    often = points.n_frames >= MIN_FRAMES
    if not often.any():
        return TexelStd(float("nan"), float("nan"), 0)
    std = points.std()[often]
    return TexelStd(float(std[:, :3].mean()), float(std[:, 3:].mean()), int(often.sum()))


class _Points:
    """Standard deviations of values at surface points, frame after frame: no frame is kept."""

    def __init__(self) -> None:
        self._texel = np.zeros(0, np.int64)  # ascending
        self.n_frames = np.zeros(0, np.int64)
        self._total = np.zeros((0, 6))
        self._squares = np.zeros((0, 6))

    def add(self, texel: Int64[np.ndarray, "N"], values: Float64[np.ndarray, "N 6"]) -> None:
        """One frame: points in ascending order, and their values."""
        known = np.union1d(self._texel, texel)
        if len(known) > len(self._texel):
            before = np.searchsorted(known, self._texel)
            for name in ("n_frames", "_total", "_squares"):
                old = getattr(self, name)
                grown = np.zeros((len(known), *old.shape[1:]), old.dtype)
                grown[before] = old
                setattr(self, name, grown)
            self._texel = known
        at = np.searchsorted(known, texel)
        self.n_frames[at] += 1
        self._total[at] += values
        self._squares[at] += values**2

    def std(self) -> Float64[np.ndarray, "M 6"]:
        n_frames = self.n_frames[:, None]
        return np.sqrt(np.maximum(self._squares / n_frames - (self._total / n_frames) ** 2, 0))
