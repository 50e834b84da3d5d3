"""Which texture each triangle's coordinates point into, when parts of one object share texels.

Artists lay charts over each other to save texels: both arms in one place, a mirrored half on the other. What
lives in a texel then has two places on the surface. Noise there would repeat itself within a picture, and
features would wander from one arm to the other. So charts that overlap get textures of their own.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from genrender.scene.uv.quality import overlap_percent, signed_uv_area, texel_coverage

# Texels along a side of the raster in which charts meet.
_SIDE = 128
# Neighbours in a tight atlas touch in some texels; charts that share less than this part of the smaller one
# count as side by side.
_TOLERANCE = 0.05
# Textures of one object. Leaves that all show one picture may be thousands; there the least overlap decides.
MAX_TEXTURES = 16


def atlas_ids(
    tris: Int32[np.ndarray, "T 3"],
    uvs: Float[np.ndarray, "T 3 2"],
    object_id: Int32[np.ndarray, "T"],
    verts: Float[np.ndarray, "V 3"],
    end_id: int,
) -> Int32[np.ndarray, "T"]:
    """For every triangle the texture that its coordinates point into.

    A chart that overlaps itself, as tiled coordinates beyond [0, 1] do, stays in one texture.

    Args:
        tris: vertex indices.
        uvs: texture coordinates of each triangle's corners; they wrap around.
        object_id: of objects, or of the parts that they are joined from; from 1.
        verts: positions at rest: triangles hang together where they share a place, whatever their indices.
        end_id: new ids lie below this; where none is left, the object's own texture serves.

    Returns:
        The object's own id wherever its charts do not overlap. Where they do, charts are dealt out, large
        ones first, to as few textures as keep them apart, at most `MAX_TEXTURES`: the first is the object's
        own, the others have the lowest ids that no object has.
    """
    atlas = object_id.copy()
    own = np.unique(object_id)
    free = iter(np.setdiff1d(np.arange(1, end_id), own).tolist())
    for object_ in own:
        of_object = np.flatnonzero(object_id == object_)
        for number, layer in enumerate(_layers(tris[of_object], uvs[of_object], verts)):
            new_id = next(free, None) if number else None
            if new_id is not None:
                atlas[of_object[layer]] = new_id
    return atlas


def _layers(
    tris: Int32[np.ndarray, "T 3"], uvs: Float[np.ndarray, "T 3 2"], verts: Float[np.ndarray, "V 3"]
) -> Iterator[Bool[np.ndarray, "T"]]:
    """Sets of triangles whose charts do not overlap within a set; one set where nothing overlaps."""
    if overlap_percent(uvs, _SIDE) == 0:
        yield np.ones(len(tris), bool)
        return
    chart = charts_of(tris, uvs, verts)
    order = np.argsort(chart, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(chart[order])) + 1)
    area = np.bincount(chart, np.abs(signed_uv_area(uvs)))
    layer_of_chart = np.zeros(len(members), np.int64)
    occupied: list[Bool[np.ndarray, "S"]] = []
    for index in np.lexsort((np.arange(len(area)), -area)):
        texels = np.flatnonzero(texel_coverage(uvs[members[index]], _SIDE))
        shared = [int(np.count_nonzero(taken[texels])) for taken in occupied]
        fitting = [layer for layer, n in enumerate(shared) if n <= _TOLERANCE * len(texels)]
        if fitting:
            layer = fitting[0]
        elif len(occupied) < MAX_TEXTURES:
            layer = len(occupied)
            occupied.append(np.zeros(_SIDE * _SIDE, bool))
        else:
            layer = int(np.argmin(shared))
        occupied[layer][texels] = True
        layer_of_chart[index] = layer
    for layer in range(len(occupied)):
        yield layer_of_chart[chart] == layer


def charts_of(
    tris: Int32[np.ndarray, "T 3"], uvs: Float[np.ndarray, "T 3 2"], verts: Float[np.ndarray, "V 3"]
) -> Int64[np.ndarray, "T"]:
    """The chart of every triangle: triangles of one orientation that share a place and its coordinates."""
    corner = np.column_stack(
        [
            verts[tris.reshape(-1)].astype(np.float64),
            uvs.reshape(-1, 2).astype(np.float64),
            np.repeat(signed_uv_area(uvs) < 0, 3),
        ]
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
