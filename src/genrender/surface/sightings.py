"""How well frames see a frame's surface points, and where: through the scene's geometry, or through UVs.

One protocol with two makers, so that what compares finished frames works for scenes and for EXR passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.bounded_cache import Recent
from genrender.surface.nearby import Nearby
from genrender.surface.texels import join_texel, split_texel, texel_ids
from genrender.surface.tracking import SurfaceTracker, between_corners

# How vertices are seen by the frames that are looked at again and again: those that lend their colours.
_N_CACHED_VIEWS = 16
_N_CACHED_MAPS = 24
# Textures are twice as fine as pictures; coarser ones serve where a frame does not show such a texel.
_TEXELS_PER_PIXEL = 2
_N_LEVELS = 4
# From a pixel that shows a point's texel to the one that shows the point, each time by a line.
_N_STEPS = 3
_MAX_STEP_PX = 1.0
_SIZE_RADIUS_PX = 8


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
            Pixel coordinates, x right, y down, pixel centres at +0.5; and whether it may: near edges, where a
            neighbouring pixel decides, that is for the caller to weigh.
        """
        ...


class GeometrySightings:
    """Exact, by projection."""

    def __init__(self, tracker: SurfaceTracker):
        self._tracker = tracker
        self._seen = Recent[np.ndarray](_N_CACHED_VIEWS)

    @property
    def gbuffers(self) -> Sequence[GBuffer]:
        return self._tracker.gbuffers

    def size(self, frame: int, pixels: Int64[np.ndarray, "N"], other: int) -> Float64[np.ndarray, "N"]:
        gbuffer = self.gbuffers[frame]
        corners = self._tracker.tris[gbuffer.tri_id.ravel()[pixels]]
        of_corners = self._seen.look_up(self._tracker.seen_at_verts, other)[corners]
        seen = between_corners(of_corners, gbuffer.bary.reshape(-1, 2)[pixels])
        return self._tracker.pixels_per_area(seen, other)

    def find(
        self, frame: int, pixels: Int64[np.ndarray, "N"], other: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Bool[np.ndarray, "N"]]:
        gbuffer = self.gbuffers[frame]
        if frame == other:
            rows, columns = np.divmod(pixels, gbuffer.width)
            return np.stack([columns, rows], axis=1) + 0.5, np.ones(len(pixels), bool)
        tri_id, bary = gbuffer.tri_id.ravel()[pixels], gbuffer.bary.reshape(-1, 2)[pixels]
        xy, depth = self._tracker.locate(tri_id, bary, other)
        return xy, self._tracker.may_show(xy, depth, gbuffer.object_id.ravel()[pixels], other)


@dataclass(frozen=True, eq=False)
class _UvMap:
    """Which pixel of a frame shows a texel, and how texture coordinates change around it.

    Attributes:
        levels: textures, each half as fine as the one before: texels in ascending order, every one once, and
            the flat index of a pixel that shows it.
        uv: of every pixel.
        pixels_per_uv: how x and y change with `uv` at every pixel; 0 where that cannot be told.
        size: pixels over area in the texture.
    """

    levels: list[tuple[np.ndarray, np.ndarray]]
    uv: Float32[np.ndarray, "P 2"]
    pixels_per_uv: Float32[np.ndarray, "P 2 2"]
    size: Float32[np.ndarray, "P"]


class UvSightings:
    """Through texture coordinates, for G-buffers that know no triangles.

    A point is sought from a pixel that shows its texel by how texture coordinates change. Points
    that share texture coordinates, as those of mirrored charts do, pass for one.
    """

    def __init__(self, gbuffers: Sequence[GBuffer]):
        self._gbuffers = gbuffers
        self._maps = Recent[_UvMap](_N_CACHED_MAPS)
        # A frame is looked at from all views in turn.
        self._kept_texels = Recent[np.ndarray](1)

    @property
    def gbuffers(self) -> Sequence[GBuffer]:
        return self._gbuffers

    def size(self, frame: int, pixels: Int64[np.ndarray, "N"], other: int) -> Float64[np.ndarray, "N"]:
        there = self._maps.look_up(self._find_map, other)
        pixel, found = self._match(frame, pixels, there)
        return np.where(found, there.size[pixel].astype(np.float64), 0)

    def find(
        self, frame: int, pixels: Int64[np.ndarray, "N"], other: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Bool[np.ndarray, "N"]]:
        there = self._maps.look_up(self._find_map, other)
        pixel, found = self._match(frame, pixels, there)
        uv = self.gbuffers[frame].uv.reshape(-1, 2)[pixels].astype(np.float64)
        atlas_id = self.gbuffers[frame].atlas_id.ravel()[pixels]
        height, width = self.gbuffers[other].depth.shape
        ids = self.gbuffers[other].atlas_id
        centre, step = _centres(pixel, width), _step(there, pixel, uv)
        # Newton's method: where texels are larger than pixels, their pixel may be far from the point.
        for _ in range(_N_STEPS - 1):
            column, row = np.floor(np.clip(centre + step, 0, (width - 0.5, height - 0.5))).astype(np.int64).T
            pixel = np.where(ids[row, column] == atlas_id, row * width + column, pixel)
            centre, step = _centres(pixel, width), _step(there, pixel, uv)
        xy = centre + step
        # Farther away a chart has ended or bends, and the line says nothing.
        found &= (there.size[pixel] > 0) & (np.abs(step) <= _MAX_STEP_PX).all(axis=1)
        found &= ((xy >= 0.5) & (xy <= (width - 0.5, height - 0.5))).all(axis=1)
        return np.where(found[:, None], xy, 0.5), found

    def _match(
        self, frame: int, pixels: Int64[np.ndarray, "N"], there: _UvMap
    ) -> tuple[Int64[np.ndarray, "N"], Bool[np.ndarray, "N"]]:
        """A pixel that shows each point's texel in the finest texture that has it, and whether any has."""
        texel = self._kept_texels.look_up(self._texels, frame)[pixels]
        pixel, found = np.zeros(len(pixels), np.int64), np.zeros(len(pixels), bool)
        for level, (texels, shown_at) in enumerate(there.levels):
            if not len(texels):
                break
            wanted = _coarser(texel, level)
            index = np.minimum(np.searchsorted(texels, wanted), len(texels) - 1)
            hit = ~found & (texels[index] == wanted)
            pixel[hit] = shown_at[index[hit]]
            found |= hit
        return pixel, found

    def _texels(self, frame: int) -> Int64[np.ndarray, "P"]:
        gbuffer = self.gbuffers[frame]
        return texel_ids(gbuffer, _TEXELS_PER_PIXEL * max(gbuffer.height, gbuffer.width)).ravel()

    def _find_map(self, frame: int) -> _UvMap:
        gbuffer, texel = self.gbuffers[frame], self._texels(frame)
        shown = np.flatnonzero(texel >= 0)
        levels = []
        for level in range(_N_LEVELS):
            texels, first = np.unique(_coarser(texel[shown], level), return_index=True)
            levels.append((texels, shown[first].astype(np.int32)))
        # How uv changes along x and y; across the edge of a chart or an object it jumps, on one side.
        changes = np.stack([_slope(gbuffer, axis) for axis in (1, 0)], axis=-1).reshape(-1, 2, 2)
        area = changes[:, 0, 0] * changes[:, 1, 1] - changes[:, 0, 1] * changes[:, 1, 0]
        inverse = np.stack(
            [changes[:, 1, 1], -changes[:, 0, 1], -changes[:, 1, 0], changes[:, 0, 0]], axis=-1
        ).reshape(-1, 2, 2)
        is_known = np.abs(area) > 1e-12
        inverse = np.where(is_known[:, None, None], inverse / np.where(is_known, area, 1)[:, None, None], 0)
        size = np.zeros(len(texel))
        known = is_known & gbuffer.visible.ravel()
        near = Nearby(gbuffer.object_id, known.reshape(gbuffer.depth.shape))
        # Of single pixels it is noisy, and the winner among views would change from pixel to pixel.
        size[known] = np.exp(-near.mean(np.log(np.abs(area[known, None])), _SIZE_RADIUS_PX))[:, 0]
        uv = gbuffer.uv.reshape(-1, 2).astype(np.float32)
        # Two dozen of these are kept: half the digits are enough, and half the memory.
        return _UvMap(levels, uv, inverse.astype(np.float32), size.astype(np.float32))


def _centres(pixel: Int64[np.ndarray, "N"], width: int) -> Float64[np.ndarray, "N 2"]:
    return np.stack([pixel % width, pixel // width], axis=1) + 0.5


def _step(
    there: _UvMap, pixel: Int64[np.ndarray, "N"], uv: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N 2"]:
    """How far texture coordinates lie from those of pixels, in pixels."""
    return np.einsum("nij,nj->ni", there.pixels_per_uv[pixel].astype(np.float64), uv - there.uv[pixel])


def _coarser(texel: Int64[np.ndarray, "N"], level: int) -> Int64[np.ndarray, "N"]:
    atlas, v, u = split_texel(texel)
    return join_texel(atlas, v >> level, u >> level)


def _slope(gbuffer: GBuffer, axis: int) -> Float64[np.ndarray, "H W 2"]:
    """The change of `uv` from pixel to pixel along an axis: of both sides' the smaller one."""
    uv = gbuffer.uv.astype(np.float64).swapaxes(0, axis)
    ids = gbuffer.atlas_id.swapaxes(0, axis)
    step = np.where((ids[1:] == ids[:-1])[..., None], np.diff(uv, axis=0), np.inf)
    nothing = np.full((1, *uv.shape[1:]), np.inf)
    before, after = np.concatenate([nothing, step]), np.concatenate([step, nothing])
    smaller = (np.abs(before).sum(-1) <= np.abs(after).sum(-1))[..., None]
    slope = np.where(smaller, before, after)
    return np.where(np.isfinite(slope), slope, 0).swapaxes(0, axis)
