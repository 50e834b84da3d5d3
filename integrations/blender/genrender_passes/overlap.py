"""How much of a surface has no place of its own in the texture."""

import numpy as np

# The texture is looked at in cells, so many along a side.
SIDE = 512
# Triangles that span up to so many cells are looked at together.
TOGETHER = 4


def bad_share(mesh, uv_layer) -> float:
    """The larger of two shares, 0..1: cells that several triangles cover, and surface without area there.

    Coordinates beyond 0..1 repeat. A coordinate set that spans more than its square twice over is all bad.
    """
    mesh.calc_loop_triangles()
    n_tris = len(mesh.loop_triangles)
    corners = np.empty(3 * n_tris, np.int32)
    mesh.loop_triangles.foreach_get("loops", corners)
    uvs = np.empty(2 * len(mesh.loops), np.float32)
    uv_layer.uv.foreach_get("vector", uvs)
    surface = np.empty(n_tris, np.float32)
    mesh.loop_triangles.foreach_get("area", surface)
    triangles = uvs.reshape(-1, 2)[corners.reshape(-1, 3)].astype(np.float64)
    areas = np.abs(_cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])) / 2
    if not np.isfinite(areas).all() or areas.sum() > 2:
        return 1.0
    collapsed = float(surface[areas < 1e-12].sum() / max(float(surface.sum()), 1e-30))
    claims = claimed(triangles)
    return max(collapsed, float((claims > 1).sum() / max(int((claims > 0).sum()), 1)))


def claimed(triangles: np.ndarray) -> np.ndarray:
    """By how many triangles [n, 3, 2] the centre of each cell is covered, [SIDE, SIDE]."""
    claims = np.zeros((SIDE, SIDE), np.int32)
    places = triangles * SIDE - 0.5  # a cell's centre has whole numbers
    low = np.ceil(places.min(axis=1)).astype(np.int64)
    n_cells = np.floor(places.max(axis=1)).astype(np.int64) - low + 1
    small = (n_cells <= TOGETHER).all(axis=1)
    for row in range(TOGETHER):
        for column in range(TOGETHER):
            cells = low[small] + (column, row)
            inside = cells[_inside(cells, places[small])]
            np.add.at(claims, (inside[:, 1] % SIDE, inside[:, 0] % SIDE), 1)
    for start, counts, triangle in zip(low[~small], n_cells[~small], places[~small], strict=True):
        if (counts <= 0).any():
            continue
        cells = np.stack(
            np.meshgrid(*(start[axis] + np.arange(counts[axis]) for axis in (0, 1))), -1
        ).reshape(-1, 2)
        inside = cells[_inside(cells, triangle[None])]
        np.add.at(claims, (inside[:, 1] % SIDE, inside[:, 0] % SIDE), 1)
    return claims


def _inside(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Whether points [n, 2] lie strictly in triangles [n or 1, 3, 2]."""
    sides = [
        _cross(triangles[:, (corner + 1) % 3] - triangles[:, corner], points - triangles[:, corner])
        for corner in range(3)
    ]
    return np.all([side > 1e-9 for side in sides], axis=0) | np.all([side < -1e-9 for side in sides], axis=0)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
