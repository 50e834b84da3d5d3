"""Where another frame shows what a frame's pixels show, and how colours changed on the way.

Example:
    >>> from genrender.surface.flow import color_change, follow
    >>> flow = follow(clip.tracker, frame=1, other=0)
    >>> color_change(frames[0], frames[1], flow).shape
    (9130, 3)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from genrender.surface.tracking import SurfaceTracker, check_triangles, sample_bilinear

# A pixel this close to the background may carry its colour: pictures are decoded from 8x coarser latents.
EROSION_PX = 2


@dataclass(frozen=True)
class SurfaceFlow:
    """Where another frame shows what each pixel of a frame shows.

    Attributes:
        xy: pixel coordinates in the other frame, x right, y down, pixel centres at +0.5; 0 where not visible.
        visible: True where the other frame shows the point, so that all four pixels around `xy` belong to it.
    """

    xy: Float64[np.ndarray, "H W 2"]
    visible: Bool[np.ndarray, "H W"]


def follow(tracker: SurfaceTracker, frame: int, other: int) -> SurfaceFlow:
    """Where frame `other` of a clip shows the surface points that `frame` shows.

    A point counts as visible in the other frame if all four pixels around its projection show the same object
    at the point's depth, up to what the surface's slope explains, and if neither end lies within `EROSION_PX`
    of background.

    Raises:
        ConfigError: `frame` was read from an image file and knows no triangles.
    """
    here, there = tracker.gbuffers[frame], tracker.gbuffers[other]
    check_triangles(here)
    eligible = erode(here.visible, EROSION_PX)
    # Metrics look at every pair of frames once, so exactly rather than fast.
    position, depth = tracker.project(
        tracker.points(here.tri_id[eligible], here.bary[eligible], other), other
    )
    inside = erode(there.visible, EROSION_PX)
    shown = tracker.shows(position, depth, here.object_id[eligible], other, inside)

    xy = np.zeros((*here.depth.shape, 2))
    visible = np.zeros(here.depth.shape, bool)
    rows, columns = (index[shown] for index in np.nonzero(eligible))
    xy[rows, columns] = position[shown]
    visible[rows, columns] = True
    return SurfaceFlow(xy, visible)


def color_change(
    before: Float[np.ndarray, "H W 3"], after: Float[np.ndarray, "H W 3"], flow: SurfaceFlow
) -> Float64[np.ndarray, "N 3"]:
    """How each surface point that both frames show changed its colour; `flow` leads back from `after`."""
    return after[flow.visible].astype(np.float64) - sample_bilinear(before, flow.xy[flow.visible])


def erode(mask: Bool[np.ndarray, "H W"], radius_px: int) -> Bool[np.ndarray, "H W"]:
    """What is left of a mask when everything within `radius_px` (in a square) of its outside is taken away.

    What lies beyond the picture counts as inside: a surface that leaves the picture has no edge there.
    """
    for axis in (0, 1):
        along = mask.swapaxes(0, axis)
        padded = np.pad(along, ((radius_px, radius_px), (0, 0)), constant_values=True)
        shifted = (padded[start : start + len(along)] for start in range(2 * radius_px + 1))
        mask = np.logical_and.reduce([*shifted]).swapaxes(0, axis)
    return mask
