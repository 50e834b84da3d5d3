"""Pairs of feature pixels that show the same surface point in two frames: exact, from geometry."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from genrender.surface.texels import pixel_centres
from genrender.surface.tracking import SurfaceTracker

# A pixel that holds a point may show something else at its own centre: beyond an outline, or behind a fold of
# the same object. What its centre shows must lie this close in the first frame, in feature pixels.
_CLOSE_PX = 2.0


@dataclass(frozen=True)
class Matches:
    """Feature pixels of two frames that show the same surface points, as flat indices y * w + x.

    Attributes:
        here: pixels of the first frame, each at most once.
        there: the pixel of the second frame that holds the point under the centre of `here`.
    """

    here: Int64[np.ndarray, "N"]
    there: Int64[np.ndarray, "N"]


def match_pixels(tracker: SurfaceTracker, here: int, there: int, shape: tuple[int, int]) -> Matches:
    """Which feature pixels of frame `here` show a surface point that frame `there` shows, and where.

    Args:
        tracker: knows the clip.
        here: index of the first frame.
        there: index of the second frame.
        shape: rows and columns of the feature map.
    """
    first, second = (pixel_centres(tracker.gbuffers[frame], shape) for frame in (here, there))
    pixel = np.flatnonzero(first.object_id)
    xy, depth = tracker.locate(first.tri_id[pixel], first.bary[pixel], there)
    shown = tracker.shows(xy, depth, first.object_id[pixel], there)
    pixel, xy = pixel[shown], xy[shown]

    gbuffer = tracker.gbuffers[there]
    col, row = np.floor(xy * (shape[1] / gbuffer.width, shape[0] / gbuffer.height)).astype(np.int64).T
    found = row * shape[1] + col
    same_object = second.object_id[found] == first.object_id[pixel]
    pixel, found = pixel[same_object], found[same_object]

    back_xy, back_depth = tracker.locate(second.tri_id[found], second.bary[found], here)
    offset = (back_xy - first.xy[pixel]) * (shape[1] / gbuffer.width, shape[0] / gbuffer.height)
    close = (back_depth > 0) & (np.abs(offset).max(axis=1, initial=0) <= _CLOSE_PX)
    return Matches(pixel[close], found[close])
