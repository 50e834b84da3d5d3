"""Texture coordinates for surfaces that have none: charts by xatlas, packed into [0, 1]^2 per object."""

from dataclasses import replace

import numpy as np
import xatlas
from jaxtyping import Bool, Float, Float32, Int32

from genrender.errors import SceneError
from genrender.scene.scene import Scene
from genrender.scene.uv_quality import is_degenerate, largest_free_square, surface_area

# Feature and noise textures have 64 to 512 texels a side; the gap between charts must survive at 128.
ATLAS_SIDE = 512
ATLAS_PADDING = 4
# xatlas' default of 2 cuts a low-poly character into hundreds of charts, and every seam is a place where
# features cannot be blended. Beyond 8 nothing changes.
MAX_CHART_COST = 8.0
# Below an eighth of the texture's side the charts would be too small to hold features.
MIN_FREE_SQUARE = 0.125


def unwrap_missing(scene: Scene) -> Scene:
    """The scene with texture coordinates on every triangle.

    Objects without UVs, or whose UVs have no area, get charts of their rest pose. Where only some triangles
    of an object lack them, their charts go into the largest free square of its texture and the others keep
    theirs; if there is no such room, the whole object is charted anew. Everything else stays as it is, and
    the result is deterministic.

    Raises:
        SceneError: an object cannot be unwrapped.
    """
    uvs, has_uvs = scene.uvs.copy(), scene.has_uvs.copy()
    objects = list(scene.objects)
    done: dict[int, np.ndarray] = {}
    start = 0
    for index, scene_object in enumerate(scene.objects):
        span = slice(start, start + scene_object.n_tris)
        start = span.stop
        corners = _corners(scene, span)
        if has_uvs[span].all() and not is_degenerate(uvs[span], corners):
            continue
        if scene_object.mesh not in done or scene_object.mesh < 0:
            try:
                done[scene_object.mesh] = _complete(uvs[span], has_uvs[span], corners)
            except RuntimeError as error:  # how the binding reports what xatlas refuses
                raise SceneError(
                    f"{scene.path.name}: object {scene_object.name!r} cannot be unwrapped ({error}); "
                    "give it UVs"
                ) from None
        uvs[span] = done[scene_object.mesh]
        has_uvs[span] = True
        objects[index] = replace(scene_object, has_uvs=True)
    return scene.with_uvs(uvs, has_uvs, tuple(objects))


def _corners(scene: Scene, span: slice) -> Float32[np.ndarray, "T 3 3"]:
    corners = scene.rest_verts[scene.tris[span]]
    if surface_area(corners).sum() == 0:
        # Hidden in the rest pose by a scale of zero: the mesh's own space still shows its shape.
        corners = scene.motion.mesh_verts()[scene.tris[span]]
    return corners


def _complete(
    uvs: Float32[np.ndarray, "T 3 2"], has_uvs: Bool[np.ndarray, "T"], corners: Float32[np.ndarray, "T 3 3"]
) -> Float32[np.ndarray, "T 3 2"]:
    is_kept = has_uvs.copy()
    if not is_kept.any() or is_degenerate(uvs[is_kept], corners[is_kept]):
        return charts(corners)
    corner, side = largest_free_square(uvs[is_kept])
    if side < MIN_FREE_SQUARE:
        return charts(corners)
    completed = uvs.copy()
    completed[~is_kept] = (corner + charts(corners[~is_kept]) * side).astype(np.float32)
    return completed


def charts(corners: Float[np.ndarray, "T 3 3"]) -> Float32[np.ndarray, "T 3 2"]:
    """Texture coordinates in [0, 1] for every triangle corner, without overlap and about equally dense.

    Args:
        corners: triangle corners. Those at the same place are the same vertex.

    Raises:
        RuntimeError: xatlas refuses the mesh.
    """
    verts, tris = weld(corners)
    extent = np.ptp(verts, axis=0).max()
    if extent == 0:
        return np.zeros((len(corners), 3, 2), np.float32)
    # xatlas takes triangles below a fixed area for degenerate, so the mesh comes in a fixed size.
    verts = ((verts - verts.min(axis=0)) / extent).astype(np.float32)
    atlas = xatlas.Atlas()
    atlas.add_mesh(verts, tris.astype(np.uint32))
    chart_options, pack_options = xatlas.ChartOptions(), xatlas.PackOptions()
    chart_options.max_cost = MAX_CHART_COST
    pack_options.resolution = ATLAS_SIDE
    pack_options.padding = ATLAS_PADDING
    pack_options.create_image = False
    atlas.generate(chart_options, pack_options)
    _, indices, uvs = atlas.get_mesh(0)
    if len(indices) != len(corners):
        raise RuntimeError(f"{len(indices)} of {len(corners)} triangles came back")
    # xatlas divides by width and height; undone, so that charts keep their shape.
    size = np.array([atlas.width, atlas.height], np.float32)
    return np.clip(uvs[indices] * size / size.max(), 0, 1).astype(np.float32)


def weld(
    corners: Float[np.ndarray, "T 3 3"],
) -> tuple[Float[np.ndarray, "V 3"], Int32[np.ndarray, "T 3"]]:
    """Vertices and triangles in which equal corners share one vertex."""
    verts, inverse = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return verts, inverse.reshape(-1, 3).astype(np.int32)
