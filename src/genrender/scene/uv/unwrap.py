"""New texture coordinates where a file has no usable ones: charts by xatlas, packed into [0, 1]^2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xatlas
from jaxtyping import Float, Float32, Int32

from genrender.errors import SceneError
from genrender.scene.choices import UvMode
from genrender.scene.scene import Scene, SceneObject
from genrender.scene.uv.quality import largest_free_square, surface_area
from genrender.scene.uv.report import UvReport, uv_report

# Feature and noise textures have 64 to 512 texels a side; the gap between charts must survive at 128.
ATLAS_SIDE = 512
ATLAS_PADDING = 4
# xatlas' default of 2 cuts a low-poly character into hundreds of charts, and every seam is a place where
# features cannot be blended. Beyond 8 nothing changes.
MAX_CHART_COST = 8.0
# Below an eighth of the texture's side the charts would be too small to hold features.
MIN_FREE_SQUARE = 0.125


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A scene whose triangles all have texture coordinates, and what was done to get there.

    Attributes:
        made: why a part got new coordinates, by its index in the scene's parts.
        kept: what is wrong with a part whose coordinates were kept all the same, by its index.
    """

    scene: Scene
    made: dict[int, str]
    kept: dict[int, str]


def unwrap(scene: Scene, mode: UvMode = "auto") -> Unwrapped:
    """The scene with texture coordinates on every triangle. The result is deterministic.

    - `keep`: coordinates of the file stay, to the bit; only triangles without any get charts.
    - `auto`: objects whose coordinates will do keep them, to the bit. The others, see `UvReport.faults`, get
        charts of their rest pose; those that only lack some get them there.
    - `unwrap`: all objects get charts, whatever they have.

    Charts for a part of an object go into the largest free square of its texture. If there is no such room,
    `auto` charts the whole object anew, and `keep` lays them over the others; `Scene.atlas_id` keeps them
    apart. Objects that show one mesh share its coordinates. What is joined from several parts is unwrapped
    part by part. Backdrops are left alone.

    Raises:
        SceneError: an object cannot be unwrapped.
    """
    uvs = scene.uvs.copy()
    is_backdrop = scene.is_backdrop
    done: dict[int, tuple[np.ndarray, str, str]] = {}
    made: dict[int, str] = {}
    kept: dict[int, str] = {}
    for index, (part, span) in enumerate(zip(scene.parts, spans(scene.parts), strict=True)):
        mesh = part.mesh
        if is_backdrop[span].all():
            continue
        if mesh not in done or mesh < 0:
            done[mesh] = _unwrap_part(scene, part.name, span, mode)
        uvs[span], why_made, why_kept = done[mesh]
        if why_made:
            made[index] = why_made
        if why_kept:
            kept[index] = why_kept
    if not made:
        return Unwrapped(scene, made, kept)
    complete = replace(
        scene,
        uvs=uvs,
        has_uvs=np.ones_like(scene.has_uvs),
        objects=tuple(replace(thing, has_uvs=True) for thing in scene.objects),
        joined=tuple(replace(part, has_uvs=True) for part in scene.joined),
    )
    return Unwrapped(complete, made, kept)


def spans(objects: Sequence[SceneObject]) -> list[slice]:
    """The triangles of each object or part of a scene."""
    ends = np.cumsum([thing.n_tris for thing in objects]).tolist()
    return [slice(end - thing.n_tris, end) for thing, end in zip(objects, ends, strict=True)]


def report_of(scene: Scene, span: slice) -> UvReport:
    """How usable the coordinates of one object or part are."""
    return uv_report(
        scene.uvs[span], scene.has_uvs[span], scene.rest_verts[scene.tris[span]], scene.atlas_id[span]
    )


def _unwrap_part(scene: Scene, name: str, span: slice, mode: UvMode) -> tuple[np.ndarray, str, str]:
    """A part's coordinates, why they are new (empty: they are not) and what is wrong with kept ones."""
    uvs, has_uvs, corners = scene.uvs[span], scene.has_uvs[span], _corners(scene, span)
    try:
        if mode == "unwrap":
            return charts(corners), "asked for", ""
        report = report_of(scene, span)
        faults = "; ".join(report.faults)
        if has_uvs.all():
            if mode == "keep" or not faults:
                return uvs, "", faults
            return charts(corners), faults, ""
        if not has_uvs.any():
            return charts(corners), faults, ""
        # Other faults than the lack concern the coordinates that are there.
        others = "; ".join(report.faults[1:])
        if mode == "auto" and others:
            return charts(corners), faults, ""
        corner, side = largest_free_square(uvs[has_uvs])
        if side < MIN_FREE_SQUARE:
            if mode == "auto":
                return charts(corners), f"{faults}, and its texture has no room for more", ""
            corner, side = np.zeros(2), 1.0
        completed = uvs.copy()
        completed[~has_uvs] = (corner + charts(corners[~has_uvs]) * side).astype(np.float32)
        return completed, faults, others
    except RuntimeError as error:  # how the binding reports what xatlas refuses
        raise SceneError(
            f"{scene.path.name}: object {name!r} cannot be unwrapped ({error}); give it UVs"
        ) from None


def _corners(scene: Scene, span: slice) -> Float[np.ndarray, "T 3 3"]:
    corners = scene.rest_verts[scene.tris[span]]
    if surface_area(corners).sum() == 0:
        # Hidden in the rest pose by a scale of zero: the mesh's own space still shows its shape.
        corners = scene.motion.mesh_verts()[scene.tris[span]]
    return corners


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
