"""Polygons of any number of corners become triangles."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Integer
from mapbox_earcut import triangulate_float64

# Triangles of a fan that are turned over by less than this share of the polygon's area are so by rounding.
ROUNDING = 1e-6
# So many polygons are looked at in one go: a mesh of millions must not need several times its memory.
AT_ONCE = 2**18


def triangulate(
    verts: Float[np.ndarray, "V 3"],
    corners: Int[np.ndarray, "C"],
    counts: Int[np.ndarray, "P"],
    is_clockwise: bool = False,
) -> tuple[Int64[np.ndarray, "T 3"], Int64[np.ndarray, "T"]]:
    """Cuts polygons into triangles that cover what the polygons cover, also where these are not convex.

    Triangles and polygons that may be cut as fans from their first corner are; of the others, quads from
    their second corner, and the rest by clipping ears in the plane of Newell's normal. A hole is a part of
    the polygon's border that is reached and left along the same edge. Polygons that cross themselves, have no
    area, or name vertices that are not there or not finite, are cut as fans.

    Args:
        verts: where the vertices are.
        corners: the vertex of every corner; the corners of all polygons lie one after the other.
        counts: corners per polygon; those of fewer than three are no triangles.
        is_clockwise: the polygons run clockwise seen from outside; the triangles never do.

    Returns:
        The triangles, as numbers of corners, and the polygon that each is cut from. A polygon of n corners
        is n - 2 triangles, so that what is cut does not depend on where the vertices are later.
    """
    tris, polygon = fans(counts)
    first_tri = np.concatenate([[0], np.cumsum(np.maximum(counts.astype(np.int64) - 2, 0))])
    for start in range(0, len(counts), AT_ONCE):
        span = slice(first_tri[start], first_tri[min(start + AT_ONCE, len(counts))])
        if (counts[start : start + AT_ONCE] > 3).any():
            _mend(tris[span], polygon[span], verts, corners, counts)
    return (tris[:, ::-1].copy() if is_clockwise else tris), polygon


def fans(
    counts: Int[np.ndarray, "P"],
) -> tuple[Int64[np.ndarray, "T 3"], Int64[np.ndarray, "T"]]:
    """Polygons cut into triangles that share their first corner; else as `triangulate`."""
    n_tris = np.maximum(counts.astype(np.int64) - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), n_tris)
    first = (np.cumsum(counts, dtype=np.int64) - counts)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(n_tris) - n_tris)[polygon]
    return np.stack([first, first + step + 1, first + step + 2], axis=1), polygon


def _mend(
    tris: Int64[np.ndarray, "T 3"],
    polygon: Int64[np.ndarray, "T"],
    verts: Float[np.ndarray, "V 3"],
    corners: Int[np.ndarray, "C"],
    counts: Int[np.ndarray, "P"],
) -> None:
    """Cuts polygons anew, in place, whose fans do not cover them.

    Seen from a polygon's first corner, its border runs one way round if and only if the fan covers it.
    """
    rows = np.flatnonzero(np.append(True, polygon[1:] != polygon[:-1]))  # of the first triangle of each
    of = np.cumsum(np.append(False, polygon[1:] != polygon[:-1]))
    doubled = _doubled_areas(verts, corners, tris)
    with np.errstate(over="ignore", invalid="ignore"):
        normal = np.add.reduceat(doubled, rows, axis=0)
    is_turned = _is_turned(doubled, normal[of])
    bad = np.unique(of[is_turned])
    if not len(bad):
        return
    n = counts[polygon[rows[bad]]]

    # Of a quad that is simple, one of the two diagonals lies inside.
    quads = bad[n == 4]
    both = rows[quads, None] + [0, 1]
    first = tris[rows[quads], :1]
    other = first[..., None] + np.array([[[1, 2, 3], [1, 3, 0]]])
    is_crossed = _is_turned(
        _doubled_areas(verts, corners, other.reshape(-1, 3)), np.repeat(normal[quads], 2, axis=0)
    )
    is_simple = ~is_crossed.reshape(-1, 2).any(axis=1)
    tris[both[is_simple]] = other[is_simple]

    # What is left has five corners or more.
    left = bad[n > 4]
    length = np.linalg.norm(normal[left], axis=1)
    left = left[np.isfinite(length) & (length > 0)]
    begins, sizes = tris[rows[left], 0], counts[polygon[rows[left]]].astype(np.int64)
    for row, first_corner, cut in zip(
        rows[left].tolist(),
        begins.tolist(),
        _clip_ears(verts, corners, begins, sizes, normal[left]),
        strict=True,
    ):
        if cut is not None:
            tris[row : row + len(cut)] = cut
            tris[row : row + len(cut)] += first_corner


def _doubled_areas(
    verts: Float[np.ndarray, "V 3"], corners: Int[np.ndarray, "C"], tris: Int64[np.ndarray, "T 3"]
) -> Float64[np.ndarray, "T 3"]:
    """Normals as long as twice the triangles' areas; NaN where a vertex is not there."""
    rows = corners[tris]
    is_there = np.logical_and.reduce((rows >= 0) & (rows < len(verts)), axis=1)
    if not len(verts):
        return np.full((len(tris), 3), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        first, second, third = verts[np.where(is_there[:, None], rows, 0)].astype(np.float64).swapaxes(0, 1)
        doubled = np.cross(second - first, third - first)
    doubled[~is_there] = np.nan
    return doubled


def _is_turned(
    doubled: Float64[np.ndarray, "T 3"], normal: Float64[np.ndarray, "T 3"]
) -> Bool[np.ndarray, "T"]:
    """Which triangles lie upside down in their polygons."""
    with np.errstate(over="ignore", invalid="ignore"):
        along = np.einsum("ti,ti->t", doubled, normal)
        return along < -ROUNDING * np.einsum("ti,ti->t", normal, normal)


def _clip_ears(
    verts: Float[np.ndarray, "V 3"],
    corners: Int[np.ndarray, "C"],
    begins: Int64[np.ndarray, "P"],
    sizes: Int64[np.ndarray, "P"],
    normals: Float64[np.ndarray, "P 3"],
) -> Iterator[Int64[np.ndarray, "T 3"] | None]:
    """Triangles of each polygon, as many as it has corners less two; None where it crosses itself.

    Args:
        verts: as in `triangulate`.
        corners: likewise.
        begins: first corner of each polygon.
        sizes: corners of each.
        normals: of any length above 0.
    """
    if not len(begins):
        return
    ends = np.cumsum(sizes)
    place = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
    points = verts[corners[np.repeat(begins, sizes) + place]].astype(np.float64)
    points -= np.repeat(points[ends - sizes], sizes, axis=0)
    # Two directions within the plane, as long as each other.
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    across = np.cross(normals, np.eye(3)[np.argmin(np.abs(normals), axis=1)])
    flat = np.stack(
        [
            np.einsum("ci,ci->c", points, np.repeat(axis, sizes, axis=0))
            for axis in (across, np.cross(normals, across))
        ],
        axis=1,
    )
    for end, n in zip(ends.tolist(), sizes.tolist(), strict=True):
        cut = triangulate_float64(flat[end - n : end], np.array([n], np.uint32))
        if len(cut) < 3 * (n - 2):
            cut = _with_all_corners(cut, n)
        yield cut.reshape(-1, 3) if len(cut) == 3 * (n - 2) else None


def _with_all_corners(cut: Integer[np.ndarray, "K"], n: int) -> Integer[np.ndarray, "K"]:
    """Adds flat triangles for corners on straight lines, which the library leaves out.

    A moving mesh may bend there later, and its neighbours have these corners.
    """
    used = np.unique(cut)
    if not len(used):
        return cut
    flat = [
        (before, corner % n, (corner + 1) % n)
        for before, after in zip(used.tolist(), [*used[1:].tolist(), int(used[0]) + n], strict=True)
        for corner in range(before + 1, after)
    ]
    return np.append(cut, np.array(flat, cut.dtype).ravel())
