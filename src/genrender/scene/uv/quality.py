"""Quality of texture coordinates: which texels are covered, how often, and which are free."""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32

# A triangle that runs across more tiles than this covers every texel several times anyway.
MAX_TILES = 4
ROWS_AT_ONCE = 2_000_000
# Beyond this, float32 has no room behind the point to tell texels apart.
MAX_UV = 2.0**16
# In texels; of float64 crossings, far above what they may be off.
_ROUNDING = 1e-9


def is_usable(uvs: Float[np.ndarray, "T 3 2"]) -> Bool[np.ndarray, "T"]:
    """The triangles whose texture coordinates are numbers that tell a place in a texture."""
    return np.logical_and.reduce(np.abs(uvs) <= MAX_UV, axis=(1, 2))


def texel_coverage(uvs: Float[np.ndarray, "T 3 2"], side: int) -> Int32[np.ndarray, "S S"]:
    """How many triangles cover the centre of each texel of a square texture; coordinates wrap around.

    A centre on the edge that two triangles share counts once.
    """
    coverage = np.zeros((side, side + 1), np.int32)
    if not len(uvs):
        return coverage[:, :side]
    corners = uvs.astype(np.float64)
    low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])
    corners -= np.floor(low)[:, None]
    corners = np.clip(corners, 0, MAX_TILES, out=corners) * side
    low = np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2]) - 0.5
    high = np.maximum(np.maximum(corners[:, 0], corners[:, 1]), corners[:, 2]) - 0.5
    # Many triangles of a fine mesh lie between the centres. A crossing may be off by a rounding error.
    reaches = (np.ceil(low[:, 0] - _ROUNDING) < np.ceil(high[:, 0] + _ROUNDING)) & (
        np.ceil(low[:, 1]) < np.ceil(high[:, 1])
    )
    corners, low, high = corners[reaches], low[reaches, 1], high[reaches, 1]
    first_row = np.ceil(low).astype(np.int64)
    n_rows = np.ceil(high).astype(np.int64) - first_row
    # Triangle by triangle would be slow and all at once large: as many as fit into a fixed number of rows.
    group = np.cumsum(n_rows) // ROWS_AT_ONCE
    for chunk in np.split(np.arange(len(corners)), np.flatnonzero(np.diff(group)) + 1):
        _add_rows(coverage, corners[chunk], first_row[chunk], n_rows[chunk])
    return np.cumsum(coverage, axis=1, dtype=np.int32)[:, :side]


def _add_rows(
    steps: Int32[np.ndarray, "S S1"],
    corners: Float64[np.ndarray, "T 3 2"],
    first_row: Int[np.ndarray, "T"],
    n_rows: Int[np.ndarray, "T"],
) -> None:
    """Adds +1 where a covered run of texels begins in a row and -1 behind its end."""
    side = len(steps)
    tri = np.repeat(np.arange(len(corners)), n_rows)
    row = np.arange(len(tri)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first_row[tri]
    y = row + 0.5
    left, right = np.full(len(tri), np.inf), np.full(len(tri), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        low, high = corners[:, a], corners[:, b]
        # Neighbours name the ends of their edge in opposite order; sorted, both compute the same crossing.
        swap = (low[:, 1] > high[:, 1]) | ((low[:, 1] == high[:, 1]) & (low[:, 0] > high[:, 0]))
        low, high = np.where(swap[:, None], high, low), np.where(swap[:, None], low, high)
        low_y = low[:, 1][tri]
        crossed = np.flatnonzero((low_y <= y) & (y < high[:, 1][tri]))
        of = tri[crossed]
        share = (y[crossed] - low_y[crossed]) / (high[:, 1] - low[:, 1])[of]
        x = low[:, 0][of] + share * (high[:, 0] - low[:, 0])[of]
        left[crossed] = np.minimum(left[crossed], x)
        right[crossed] = np.maximum(right[crossed], x)
    is_hit = right > left
    row, left, right = row[is_hit] % side, left[is_hit], right[is_hit]
    start = np.ceil(left - 0.5).astype(np.int64)
    length = np.ceil(right - 0.5).astype(np.int64) - start
    start %= side
    whole, rest = length // side, length % side
    end = start + rest
    wraps = end > side
    row *= side + 1
    n = steps.size
    counts = np.bincount(row + start, minlength=n) - np.bincount(
        row + np.where(wraps, end - side, end), minlength=n
    )
    times = whole + wraps
    if times.any():
        counts += np.bincount(np.repeat(row, times), minlength=n)
    steps += counts.reshape(steps.shape).astype(np.int32)


def overlap_percent(uvs: Float[np.ndarray, "T 3 2"], side: int = 1024) -> float:
    """Share of the covered texels that belong to more than one triangle."""
    coverage = texel_coverage(uvs, side)
    n_covered = int(np.count_nonzero(coverage))
    return 100.0 * int(np.count_nonzero(coverage > 1)) / n_covered if n_covered else 0.0


def outside_percent(uvs: Float[np.ndarray, "T 3 2"]) -> float:
    """Share of the triangles with a corner outside [0, 1]; rounding errors do not count."""
    tolerance = 1e-5
    is_outside = ((uvs < -tolerance) | (uvs > 1 + tolerance)).any(axis=(1, 2))
    return 100.0 * float(is_outside.mean()) if len(uvs) else 0.0


def is_degenerate(uvs: Float[np.ndarray, "T 3 2"], corners: Float[np.ndarray, "T 3 3"]) -> bool:
    """True if more than half of the surface has texture triangles without area, and so shows single texels.

    Args:
        corners: world-space corners of the same triangles.
    """
    uv_area = np.abs(signed_uv_area(uvs))
    area = surface_area(corners)
    if area.sum() == 0:
        area = np.ones(len(uvs))
    return bool(area[uv_area < 1e-10].sum() > area.sum() / 2)


def signed_uv_area(uvs: Float[np.ndarray, "T 3 2"]) -> Float64[np.ndarray, "T"]:
    """Area of every triangle in the atlas; negative where it is mirrored."""
    edges = np.subtract(uvs[:, 1:], uvs[:, :1], dtype=np.float64)
    return (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2


def surface_area(corners: Float[np.ndarray, "T 3 3"]) -> Float64[np.ndarray, "T"]:
    """Area of every triangle."""
    edges = np.subtract(corners[:, 1:], corners[:, :1], dtype=np.float64)
    return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2


def largest_free_square(uvs: Float[np.ndarray, "T 3 2"]) -> tuple[Float64[np.ndarray, "2"], float]:
    """Upper left corner and side of the largest square of [0, 1]^2 that no triangle touches, to 1/128."""
    side = 128
    fine = texel_coverage(uvs, 4 * side) > 0
    is_taken = fine.reshape(side, 4, side, 4).any(axis=(1, 3))
    padded = np.pad(is_taken, 1, mode="wrap")
    # A texel of distance, so that bilinear sampling does not mix old and new charts.
    shifts = [padded[dy : dy + side, dx : dx + side] for dy in range(3) for dx in range(3)]
    near = np.logical_or.reduce(shifts)
    size = np.zeros((side + 1, side + 1), np.int64)  # of the largest square that ends at this texel
    for y in range(side):
        for x in range(side):
            if not near[y, x]:
                size[y + 1, x + 1] = 1 + min(size[y, x], size[y, x + 1], size[y + 1, x])
    best = int(size.max())
    y, x = np.unravel_index(int(size.argmax()), size.shape)
    return np.array([x - best, y - best]) / side, best / side
