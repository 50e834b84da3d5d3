"""Polygons of any number of corners become triangles."""

import numpy as np
from jaxtyping import Int, Int64


def fans(
    counts: Int[np.ndarray, "P"], is_clockwise: bool = False
) -> tuple[Int64[np.ndarray, "T 3"], Int64[np.ndarray, "T"]]:
    """Polygons cut into triangles that share their first corner; those of fewer than three corners are none.

    Args:
        counts: corners per polygon; the corners of all polygons lie one after the other.
        is_clockwise: the polygons run clockwise seen from outside; the triangles never do.

    Returns:
        The triangles, as numbers of corners, and the polygon that each is cut from.
    """
    n_tris = np.maximum(counts.astype(np.int64) - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), n_tris)
    first = (np.cumsum(counts, dtype=np.int64) - counts)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(n_tris) - n_tris)[polygon]
    tris = np.stack([first, first + step + 1, first + step + 2], axis=1)
    return (tris[:, ::-1].copy() if is_clockwise else tris), polygon
