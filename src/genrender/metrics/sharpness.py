"""Sharpness of surfaces, beside steadiness: a blurred clip is steady, too."""

from collections.abc import Sequence

import numpy as np

from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.lazy_frames import Pictures
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.light import LUMINANCE


def sharpness(frames: Pictures, gbuffers: Sequence[GBuffer]) -> float:
    """Variance of the luminance's Laplacian inside the silhouette, averaged over the frames, in 1e-3.

    Args:
        frames: RGB in [0, 1].
        gbuffers: what each frame shows. The silhouette itself is sharp in every picture and says nothing
            about the surface, so pixels near it do not count.

    Returns:
        0 where no frame shows enough of a surface.
    """
    values = []
    for frame, gbuffer in zip(frames, gbuffers, strict=True):
        padded = np.pad(frame @ LUMINANCE, 1, mode="edge")
        neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        inside = erode(gbuffer.visible, EROSION_PX)
        if inside.any():
            values.append(float((neighbours - 4 * padded[1:-1, 1:-1])[inside].var()))
    return 1e3 * float(np.mean(values)) if values else 0.0
