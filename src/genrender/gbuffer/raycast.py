"""Ray casting with Embree: world-space triangles and a camera in, a `GBuffer` out."""

import embreex.mesh_construction
import embreex.rtcore_scene
import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID
from genrender.scene.camera import Camera
from genrender.storage.limits import check_room

# Embree takes its time over every triangle that it is given. With more than this, leaving out those that no
# ray can meet is worth the look.
MANY_TRIS = 2**16
# What Embree asks for at least, and for every triangle (measured under bounds: 136 MiB, and 128 bytes).
EMBREE_BYTES, EMBREE_TRI_BYTES = 150_000_000, 150


def render_gbuffer(
    verts: Float[np.ndarray, "V 3"],
    tris: Int32[np.ndarray, "T 3"],
    uvs: Float32[np.ndarray, "T 3 2"],
    object_id: Int32[np.ndarray, "T"],
    camera: Camera,
    height: int,
    width: int,
    atlas_id: Int32[np.ndarray, "T"] | None = None,
) -> GBuffer:
    """What every pixel of one frame shows: one ray through each pixel centre, the first triangle wins.

    Both sides of a triangle are visible. Triangles without area are never hit. Vertices must be finite, which
    loading a scene ensures.

    Args:
        verts: world-space positions at this frame's time, in scene units.
        tris: vertex indices of each triangle.
        uvs: texture coordinates of each triangle's corners, any range, V downwards as in glTF.
        object_id: the object that each triangle belongs to, from 1.
        camera: where the picture is taken from; its field of view is vertical. What lies before its near or
            behind its far plane is not seen, but for a backdrop behind the far one.
        height: rows, at least 1.
        width: columns, at least 1.
        atlas_id: the texture that each triangle's `uvs` point into; None: one for each object.

    Raises:
        ConfigError: the picture has no pixels.
    """
    if height < 1 or width < 1:
        raise ConfigError(f"picture size is {width}x{height}, expected at least 1x1")
    origins, directions = camera.rays(height, width)
    rows = tris_at_pixel_centres(verts, tris, camera, height, width) if len(tris) > MANY_TRIS else None
    depth, tri_id, bary = _between_planes(verts, tris, object_id, camera, (origins, directions), rows)
    hit = tri_id >= 0
    uv = np.zeros((height * width, 2), np.float32)
    uv[hit] = wrap_uv(interpolate_corners(uvs, tri_id[hit], bary[hit]))
    pixel_object_id = np.zeros((height, width), np.int32)
    pixel_object_id[hit.reshape(height, width)] = object_id[tri_id[hit]]
    pixel_atlas_id = pixel_object_id
    if atlas_id is not None and not np.array_equal(atlas_id, object_id):
        pixel_atlas_id = np.zeros_like(pixel_object_id)
        pixel_atlas_id[hit.reshape(height, width)] = atlas_id[tri_id[hit]]
    return GBuffer(
        depth=depth.reshape(height, width),
        uv=uv.reshape(height, width, 2),
        object_id=pixel_object_id,
        tri_id=tri_id.reshape(height, width),
        bary=bary.reshape(height, width, 2),
        atlas_id=pixel_atlas_id,
        lens=camera.lens(height, width),
    )


def _between_planes(
    verts: Float[np.ndarray, "V 3"],
    tris: Int32[np.ndarray, "T 3"],
    object_id: Int32[np.ndarray, "T"],
    camera: Camera,
    rays: tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]],
    rows: Int64[np.ndarray, "K"] | None,
) -> tuple[Float32[np.ndarray, "N"], Int32[np.ndarray, "N"], Float32[np.ndarray, "N 2"]]:
    """What each ray meets first between the camera's near and far plane; what lies there costs nothing more.

    Args:
        rays: origins and directions, scaled so that the ray parameter IS the planar depth.
        rows: the triangles that count, None for all.
    """
    origins, directions = rays
    depth, tri_id, bary = _first_hits(verts, tris, rows, origins, directions)
    is_near = depth < camera.near
    if is_near.any():
        # These start anew at the near plane.
        moved = origins[is_near] + camera.near * directions[is_near]
        behind, tri_id[is_near], bary[is_near] = _first_hits(verts, tris, rows, moved, directions[is_near])
        depth[is_near] = behind + np.float32(camera.near)
    is_far = (tri_id >= 0) & (depth > camera.far)
    backdrop = np.flatnonzero(np.isin(object_id, (GROUND_ID, DOME_ID)))
    is_far &= ~np.isin(tri_id, backdrop)
    if is_far.any():
        # The file's planes are about the file's scene: behind it the backdrop is still there.
        depth[is_far], tri_id[is_far], bary[is_far] = _first_hits(
            verts, tris, backdrop, origins[is_far], directions[is_far]
        )
    return depth, tri_id, bary


def _first_hits(
    verts: Float[np.ndarray, "V 3"],
    tris: Int32[np.ndarray, "T 3"],
    rows: Int64[np.ndarray, "K"] | None,
    origins: Float[np.ndarray, "N 3"],
    directions: Float[np.ndarray, "N 3"],
) -> tuple[Float32[np.ndarray, "N"], Int32[np.ndarray, "N"], Float32[np.ndarray, "N 2"]]:
    """As `intersect`, with some of the triangles."""
    if rows is None:
        return intersect(verts, tris, origins, directions)
    depth, tri_id, bary = intersect(*_only(verts, tris[rows]), origins, directions)
    return depth, np.append(rows, -1).astype(np.int32)[tri_id], bary  # -1, a miss, stays -1


def tris_at_pixel_centres(
    verts: Float[np.ndarray, "V 3"], tris: Int32[np.ndarray, "T 3"], camera: Camera, height: int, width: int
) -> Int64[np.ndarray, "K"]:
    """The triangles that a ray may meet: before the camera, with the centre of a pixel in their box.

    Of a million triangles most are smaller than a pixel and lie between the centres, or beside the picture.
    """
    near = 1e-6 * float(np.abs(verts - camera.world_from_camera[:3, 3]).max(initial=0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        xy, depth = camera.project(verts, height, width)
        # What float32 may make of a position: a share of the distance, which far from the picture's middle
        # becomes ever more pixels.
        margin = 0.01 + 1e-8 * np.square(xy).max(axis=1)
    if camera.ymag is not None:
        margin += near / camera.ymag * height
    is_near = ~(depth > near) if camera.ymag is None else np.zeros(len(verts), bool)
    first, second, third = tris.T
    is_behind = depth < -near
    may_hit = ~(is_behind[first] & is_behind[second] & is_behind[third])
    for axis, n_pixels in ((0, width), (1, height)):
        # In whole pixels: the first centre behind the lower end, and the last before the upper one.
        lower, upper = (xy[:, axis] - margin - 0.5), (xy[:, axis] + margin - 0.5)
        lower[is_near], upper[is_near] = -np.inf, np.inf
        low = np.minimum(np.minimum(lower[first], lower[second]), lower[third])
        high = np.maximum(np.maximum(upper[first], upper[second]), upper[third])
        may_hit &= np.maximum(np.ceil(low), 0) <= np.minimum(np.floor(high), n_pixels - 1)
    return np.flatnonzero(may_hit)


def _only(
    verts: Float[np.ndarray, "V 3"], tris: Int32[np.ndarray, "T 3"]
) -> tuple[Float[np.ndarray, "U 3"], Int32[np.ndarray, "T 3"]]:
    """Triangles with the vertices that they use."""
    is_used = np.zeros(len(verts), bool)
    is_used[tris] = True
    new_row = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
    return verts[is_used], new_row[tris]


def intersect(
    verts: Float[np.ndarray, "V 3"],
    tris: Int32[np.ndarray, "T 3"],
    origins: Float[np.ndarray, "N 3"],
    directions: Float[np.ndarray, "N 3"],
) -> tuple[Float32[np.ndarray, "N"], Int32[np.ndarray, "N"], Float32[np.ndarray, "N 2"]]:
    """The first triangle that each ray meets.

    Returns:
        Ray parameter t (+inf: no hit), triangle index (-1: no hit) and barycentric weights of corners 2 and
        3, which are >= 0 and sum to at most 1.
    """
    n_rays = len(origins)
    if n_rays == 0 or len(tris) == 0:
        return (
            np.full(n_rays, np.inf, np.float32),
            np.full(n_rays, -1, np.int32),
            np.zeros((n_rays, 2), np.float32),
        )
    # Embree computes in float32. Seen from the first ray's origin the numbers are as small as the picture
    # allows, so a scene far from the world's origin loses nothing here.
    centre = np.asarray(origins[0], np.float64)
    return trace(accelerate(verts, tris, centre), origins - centre, directions)


def accelerate(
    verts: Float[np.ndarray, "V 3"], tris: Int32[np.ndarray, "T 3"], centre: Float[np.ndarray, "3"]
) -> embreex.rtcore_scene.EmbreeScene:
    """Triangles as Embree holds them, with `centre` as their origin; the first `trace` builds the tree.

    Raises:
        ConfigError: this process may not take the memory, without which Embree would end it.
    """
    check_room(EMBREE_BYTES + EMBREE_TRI_BYTES * len(tris), f"rays at {len(tris):,} triangles")
    # Robust: rays through an edge that two triangles share, or close by, must not slip between them.
    scene = embreex.rtcore_scene.EmbreeScene(robust=True)
    embreex.mesh_construction.TriangleMesh(
        scene, np.ascontiguousarray(verts - centre, np.float32), np.ascontiguousarray(tris)
    )
    return scene


def trace(
    scene: embreex.rtcore_scene.EmbreeScene,
    origins: Float[np.ndarray, "N 3"],
    directions: Float[np.ndarray, "N 3"],
) -> tuple[Float32[np.ndarray, "N"], Int32[np.ndarray, "N"], Float32[np.ndarray, "N 2"]]:
    """As `intersect`; origins are relative to the scene's `centre`."""
    hit = scene.run(
        np.ascontiguousarray(origins, np.float32), np.ascontiguousarray(directions, np.float32), output=1
    )
    tri_id = hit["primID"].astype(np.int32)
    missed = tri_id < 0
    t = np.where(missed, np.float32(np.inf), hit["tfar"]).astype(np.float32)
    # On an edge, Embree's weights may leave the triangle by a rounding error.
    second = np.clip(hit["u"], 0, 1)
    third = np.clip(hit["v"], 0, 1 - second)
    bary = np.stack([second, third], axis=1).astype(np.float32)
    bary[missed] = 0
    return t, tri_id, bary


def interpolate_corners(
    corners: Float32[np.ndarray, "T 3 C"],
    tri_id: Int32[np.ndarray, "N"],
    bary: Float32[np.ndarray, "N 2"],
) -> Float32[np.ndarray, "N C"]:
    """The values that points inside triangles have when each triangle's corners have the given ones.

    The result never leaves the range of the three corners, not even by a rounding error: a texture coordinate
    of 1.0000001 would wrap to the other side of the texture.

    Args:
        corners: C values at each triangle's three corners.
        tri_id: the triangle of each point, >= 0.
        bary: the point's weights of its triangle's second and third corner.
    """
    first, second, third = (corners[tri_id, corner] for corner in range(3))
    value = first + bary[:, :1] * (second - first) + bary[:, 1:] * (third - first)
    low = np.minimum(np.minimum(first, second), third)
    high = np.maximum(np.maximum(first, second), third)
    return np.clip(value, low, high)


def wrap_uv(uv: Float32[np.ndarray, "*N 2"]) -> Float32[np.ndarray, "*N 2"]:
    """Texture coordinates repeated into [0, 1]. What lies inside already is untouched, so 1.0 stays 1.0."""
    is_inside = (uv >= 0) & (uv <= 1)
    return np.where(is_inside, uv, uv - np.floor(uv))
