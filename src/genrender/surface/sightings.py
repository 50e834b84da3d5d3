"""How well frames see a frame's surface points, and where: through the scene's geometry, or through UVs.

One protocol with two makers, so that what compares finished frames works for scenes and for EXR passes.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.bounded_cache import Recent
from genrender.surface.tracking import SurfaceTracker

# Sizes of all triangles' corners in the frames that are looked at again and again.
_N_CACHED_FRAMES = 64


@runtime_checkable
class Sightings(Protocol):
    """Where frames of a clip see what another frame's pixels show."""

    @property
    def gbuffers(self) -> Sequence[GBuffer]:
        """What each frame shows."""
        ...

    def size(self, frame: int, pixels: Int64[np.ndarray, "N"], other: int) -> Float64[np.ndarray, "N"]:
        """How large another frame sees the surface around points, hidden or not: an area, to be compared
        between frames only; 0 where it cannot see them.

        It depends on the point and the other frame, never on `frame`, and has no steps within a surface.

        Args:
            frame: whose pixels name the points.
            pixels: flat indices of pixels that show a surface.
            other: the frame that looks.
        """
        ...

    def find(
        self, frame: int, pixels: Int64[np.ndarray, "N"], other: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Bool[np.ndarray, "N"]]:
        """Where another frame shows the points of a frame's pixels, and whether it does.

        Returns:
            Pixel coordinates, x right, y down, pixel centres at +0.5; and whether all four pixels around
            show the point.
        """
        ...


class GeometrySightings:
    """Exact, by projection."""

    def __init__(self, tracker: SurfaceTracker):
        self._tracker = tracker
        self._sizes = Recent[np.ndarray](_N_CACHED_FRAMES)

    @property
    def gbuffers(self) -> Sequence[GBuffer]:
        return self._tracker.gbuffers

    def size(self, frame: int, pixels: Int64[np.ndarray, "N"], other: int) -> Float64[np.ndarray, "N"]:
        gbuffer = self.gbuffers[frame]
        corners = self._tracker.tris[gbuffer.tri_id.ravel()[pixels]]
        bary = gbuffer.bary.reshape(-1, 2)[pixels].astype(np.float64)
        of_verts = self._sizes.look_up(self._tracker.size_at_verts, other)[corners]
        return (1 - bary.sum(1)) * of_verts[:, 0] + bary[:, 0] * of_verts[:, 1] + bary[:, 1] * of_verts[:, 2]

    def find(
        self, frame: int, pixels: Int64[np.ndarray, "N"], other: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Bool[np.ndarray, "N"]]:
        gbuffer = self.gbuffers[frame]
        if frame == other:
            rows, columns = np.divmod(pixels, gbuffer.width)
            return np.stack([columns, rows], axis=1) + 0.5, np.ones(len(pixels), bool)
        tri_id, bary = gbuffer.tri_id.ravel()[pixels], gbuffer.bary.reshape(-1, 2)[pixels]
        xy, depth = self._tracker.locate(tri_id, bary, other)
        return xy, self._tracker.nearest_shows(xy, depth, gbuffer.object_id.ravel()[pixels], other)
