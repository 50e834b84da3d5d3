"""Which texture each triangle's coordinates point into, when parts of one object share texels.

Artists lay charts over each other to save texels: both arms in one place, a mirrored half on the other. What
lives in a texel then has two places on the surface. Noise there would repeat itself within a picture, and
features would wander from one arm to the other. So charts that overlap get textures of their own.
"""

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from genrender.scene.uv_quality import overlap_percent, texel_coverage

# Texels along a side of the raster in which charts meet.
_SIDE = 256
# Neighbours in a tight atlas touch in some texels; charts that share less than this part of the smaller one
# count as side by side.
_TOLERANCE = 0.05


def atlas_ids(
    tris: Int32[np.ndarray, "T 3"], uvs: Float[np.ndarray, "T 3 2"], object_id: Int32[np.ndarray, "T"]
) -> Int32[np.ndarray, "T"]:
    """For every triangle the texture that its coordinates point into.

    Args:
        tris: vertex indices.
        uvs: texture coordinates of each triangle's corners; they wrap around.
        object_id: from 1.

    Returns:
        The object's own id wherever its charts do not overlap. Where they do, charts are dealt out, large
        ones first, to as few textures as keep them apart: the first is the object's own, the others have the
        lowest ids that no object has.
    """
    atlas = object_id.copy()
    taken = set(np.unique(object_id).tolist())
    next_id = 1
    for object_ in sorted(taken):
        of_object = np.flatnonzero(object_id == object_)
        for layer, of_layer in enumerate(_layers(tris[of_object], uvs[of_object])):
            if layer == 0:
                continue
            while next_id in taken:
                next_id += 1
            taken.add(next_id)
            atlas[of_object[of_layer]] = next_id
    return atlas


def _layers(tris: Int32[np.ndarray, "T 3"], uvs: Float[np.ndarray, "T 3 2"]) -> list[Bool[np.ndarray, "T"]]:
    """Sets of triangles whose charts do not overlap within a set; one set where nothing overlaps."""
    if overlap_percent(uvs, _SIDE) == 0:
        return [np.ones(len(tris), bool)]
    chart = _charts(tris, uvs)
    n_charts = int(chart.max()) + 1
    order = np.argsort(chart, kind="stable")
    of_chart = np.split(order, np.flatnonzero(np.diff(chart[order])) + 1)
    covered = [np.flatnonzero(texel_coverage(uvs[members], _SIDE)) for members in of_chart]
    layer_of_chart = np.zeros(n_charts, np.int64)
    occupied: list[Bool[np.ndarray, "S"]] = []
    for index in sorted(range(n_charts), key=lambda i: (-len(covered[i]), i)):
        texels = covered[index]
        layer = next(
            (i for i, taken in enumerate(occupied) if taken[texels].sum() <= _TOLERANCE * len(texels)), None
        )
        if layer is None:
            layer = len(occupied)
            occupied.append(np.zeros(_SIDE * _SIDE, bool))
        occupied[layer][texels] = True
        layer_of_chart[index] = layer
    layer_of_tri = layer_of_chart[chart]
    return [layer_of_tri == layer for layer in range(len(occupied))]


def _charts(tris: Int32[np.ndarray, "T 3"], uvs: Float[np.ndarray, "T 3 2"]) -> Int64[np.ndarray, "T"]:
    """The chart of every triangle: triangles that share a vertex, its coordinates and their orientation."""
    edges = (uvs[:, 1:] - uvs[:, :1]).astype(np.float64)
    is_mirrored = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0] < 0
    corner = np.column_stack(
        [tris.reshape(-1), uvs.reshape(-1, 2).astype(np.float64), np.repeat(is_mirrored, 3)]
    )
    _, index = np.unique(corner, axis=0, return_inverse=True)
    node = index.reshape(-1, 3)
    # Every node takes the lowest label of its triangles, and then that label's own, until nothing changes.
    label = np.arange(int(node.max()) + 1)
    while True:
        lowest = label.copy()
        np.minimum.at(lowest, node, label[node].min(axis=1, keepdims=True))
        lowest = lowest[lowest]
        if np.array_equal(lowest, label):
            break
        label = lowest
    return np.unique(label[node[:, 0]], return_inverse=True)[1].astype(np.int64)
