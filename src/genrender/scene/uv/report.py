"""What is wrong with the texture coordinates of an object, in figures and in words."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int32

from genrender.scene.uv.quality import (
    is_degenerate,
    outside_percent,
    overlap_percent,
    signed_uv_area,
    surface_area,
    texel_coverage,
)

Layout: TypeAlias = Literal["unit", "tiles", "tiling"]

# Above these, what lives in a texture cannot be kept apart on the surface, and `--uv auto` unwraps anew.
MAX_SHARED_PERCENT = 5.0
MAX_COLLAPSED_PERCENT = 5.0
# In length: a texel is then 16 times as long here as there, and no texture size fits both places.
MAX_DENSITY_RATIO = 16.0

# Triangles whose texture is smaller than this share of the atlas have no area, but for rounding errors.
_FLAT = 1e-10
_TOLERANCE = 1e-5
# Texels along a side of the rasters in which triangles meet.
_OVERLAP_SIDE, _SHARED_SIDE = 512, 256


@dataclass(frozen=True)
class UvReport:
    """How usable the texture coordinates of one object are. Percentages of nothing are 0.

    Attributes:
        missing_percent: of the triangles that have no coordinates; all others concern those that have.
        collapsed_percent: of the surface whose triangles have no area in the texture.
        outside_percent: of the triangles with a corner outside [0, 1].
        layout: `unit` within [0, 1]; `tiles` where charts lie in tiles of their own, as in UDIM; `tiling`
            where a triangle runs across tiles and so repeats the texture.
        overlap_percent: of the covered texels that belong to more than one triangle; UVs wrap around.
        shared_percent: of the covered texels that still do where charts that overlap get textures apart.
        mirrored_percent: of the surface that is mirrored in the texture against the larger rest.
        density_ratio: texel density, in length, of the 95th over the 5th percentile of the surface, but for
            what has collapsed.
        is_degenerate: more than half of the surface has collapsed.
    """

    missing_percent: float
    collapsed_percent: float = 0.0
    outside_percent: float = 0.0
    layout: Layout = "unit"
    overlap_percent: float = 0.0
    shared_percent: float = 0.0
    mirrored_percent: float = 0.0
    density_ratio: float = 1.0
    is_degenerate: bool = False

    @property
    def state(self) -> Literal["ok", "missing", "partial", "degenerate", "poor"]:
        """`poor`: there for every triangle, but of no use; see `faults`."""
        if self.missing_percent == 100:
            return "missing"
        if self.is_degenerate:
            return "degenerate"
        if self.missing_percent > 0:
            return "partial"
        return "poor" if self.faults else "ok"

    @property
    def faults(self) -> tuple[str, ...]:
        """Why `--uv auto` unwraps the object; empty where it keeps its coordinates."""
        if self.missing_percent == 100:
            return ("has none",)
        faults = []
        if self.missing_percent > 0:
            faults.append(f"{self.missing_percent:.3g} % has none")
        if self.collapsed_percent > MAX_COLLAPSED_PERCENT:
            faults.append(f"{self.collapsed_percent:.3g} % has no area in the texture")
        if self.shared_percent > MAX_SHARED_PERCENT:
            faults.append(
                f"{self.shared_percent:.3g} % of its texels are in several places of the surface"
                + (", for the texture is tiled" if self.layout == "tiling" else "")
            )
        if self.density_ratio > MAX_DENSITY_RATIO:
            faults.append(f"texel density differs {self.density_ratio:.3g}-fold")
        return tuple(faults)

    @property
    def advice(self) -> str:
        """What to do about it, or why nothing needs to be done."""
        if self.state == "missing":
            return "gets charts"
        if self.faults:
            return f"unwrap: {'; '.join(self.faults)}"
        if self.overlap_percent > 0.5:
            kind = "mirrored parts" if self.mirrored_percent > 0.5 else "charts"
            return f"fine: {kind} that overlap get textures of their own"
        return "fine"


def uv_report(
    uvs: Float[np.ndarray, "T 3 2"],
    has_uvs: Bool[np.ndarray, "T"],
    corners: Float[np.ndarray, "T 3 3"],
    atlas_id: Int32[np.ndarray, "T"],
) -> UvReport:
    """Measures the texture coordinates of one object.

    Args:
        uvs: texture coordinates of each triangle's corners.
        has_uvs: which triangles have any.
        corners: where the triangles' corners are.
        atlas_id: the texture that each triangle's coordinates point into, see `charts.atlas_ids`.
    """
    missing_percent = 100 * float(1 - has_uvs.mean())
    if not has_uvs.any():
        return UvReport(missing_percent)
    uvs, corners, atlas_id = uvs[has_uvs], corners[has_uvs], atlas_id[has_uvs]
    area, signed = surface_area(corners), signed_uv_area(uvs)
    if area.sum() == 0:
        area = np.ones(len(area))
    is_flat = np.abs(signed) < _FLAT
    mirrored = min(area[(signed < 0) & ~is_flat].sum(), area[(signed > 0) & ~is_flat].sum())
    return UvReport(
        missing_percent=missing_percent,
        collapsed_percent=100 * float(area[is_flat].sum() / area.sum()),
        outside_percent=outside_percent(uvs),
        layout=_layout(uvs),
        overlap_percent=overlap_percent(uvs, _OVERLAP_SIDE),
        shared_percent=_shared_percent(uvs, atlas_id),
        mirrored_percent=100 * float(mirrored / area.sum()),
        density_ratio=_density_ratio(np.abs(signed[~is_flat]), area[~is_flat]),
        is_degenerate=is_degenerate(uvs, corners),
    )


def _layout(uvs: Float[np.ndarray, "T 3 2"]) -> Layout:
    if outside_percent(uvs) == 0:
        return "unit"
    # A chart that ends at the edge of its tile does not reach into the next one.
    low, high = uvs.min(axis=1).astype(np.float64), uvs.max(axis=1).astype(np.float64)
    low, high = np.floor(low + _TOLERANCE), np.ceil(high - _TOLERANCE)
    return "tiling" if (high - low > 1).any() else "tiles"


def _shared_percent(uvs: Float[np.ndarray, "T 3 2"], atlas_id: Int32[np.ndarray, "T"]) -> float:
    n_covered = n_shared = 0
    for atlas in np.unique(atlas_id):
        coverage = texel_coverage(uvs[atlas_id == atlas], _SHARED_SIDE)
        n_covered += int(np.count_nonzero(coverage))
        n_shared += int(np.count_nonzero(coverage > 1))
    return 100 * n_shared / n_covered if n_covered else 0.0


def _density_ratio(texture_area: Float[np.ndarray, "T"], area: Float[np.ndarray, "T"]) -> float:
    """The 95th over the 5th percentile, by surface, of texture length per length."""
    texture_area, area = texture_area[area > 0], area[area > 0]
    if not len(area):
        return 1.0
    density = np.sqrt(texture_area / area)
    order = np.argsort(density)
    share = np.cumsum(area[order])
    low, high = (density[order[np.searchsorted(share, part * share[-1])]] for part in (0.05, 0.95))
    return float(high / low)
