"""Surface error: does a point of a surface keep its colour from frame to frame?

The correspondence is exact, from geometry; nothing is estimated from the pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32, Num

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.camera import Camera

# A pixel this close to the background may carry its colour: pictures are decoded from 8x coarser latents.
EROSION_PX = 2

# Positions are rounded to this, far below what matters and above the rounding errors of float32 weights: a
# pixel that did not move is then compared with itself and not with a mixture of its neighbours.
SUBPIXEL = 1 / 256

# How much the inverse depth of one and the same surface point may differ, relative to itself.
DEPTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SurfaceFlow:
    """Where another frame shows what each pixel of a frame shows.

    Attributes:
        xy: pixel coordinates in the other frame, x right, y down, pixel centres at +0.5; 0 where not visible.
        visible: True where the other frame shows the point, so that all four pixels around `xy` belong to it.
    """

    xy: Float64[np.ndarray, "H W 2"]
    visible: Bool[np.ndarray, "H W"]


def surface_error(
    frames: Float[np.ndarray, "F H W 3"],
    gbuffers: Sequence[GBuffer],
    tris: Int32[np.ndarray, "T 3"],
    verts: Sequence[Float[np.ndarray, "V 3"]],
    cameras: Sequence[Camera],
    stride: int = 1,
) -> float:
    """Mean absolute RGB difference of pixels that show the same surface point in frames `stride` apart.

    Each pixel of frame j whose surface point frame j - stride shows too is compared with the colour there,
    sampled bilinearly. Pixels near the background are left out in both frames.

    Args:
        frames: RGB in [0, 1].
        gbuffers: what each frame shows; with triangles, so not read from image files.
        tris: the scene's triangles.
        verts: world-space vertices at each frame's time.
        cameras: each frame's camera.
        stride: how many frames lie between the two of a pair, from 1.

    Returns:
        The mean over the pixels of all pairs and over the three channels, in [0, 1].

    Raises:
        ConfigError: the arguments differ in length, no pair has that stride, a G-buffer has no triangles, or
            no surface point is visible in both frames of any pair.
    """
    n_frames = len(frames)
    if not n_frames == len(gbuffers) == len(verts) == len(cameras):
        raise ConfigError(
            f"surface error needs one G-buffer, vertex array and camera per frame; got {n_frames} frames, "
            f"{len(gbuffers)} G-buffers, {len(verts)} vertex arrays, {len(cameras)} cameras"
        )
    if not 1 <= stride < n_frames:
        raise ConfigError(f"stride is {stride}, expected 1 to {n_frames - 1} for {n_frames} frames")
    total, n_pixels = 0.0, 0
    for j in range(stride, n_frames):
        i = j - stride
        flow = correspond(gbuffers[j], tris, verts[i], cameras[i], gbuffers[i])
        difference = np.abs(
            frames[j][flow.visible].astype(np.float64) - sample_bilinear(frames[i], flow.xy[flow.visible])
        )
        total += float(difference.mean(axis=1).sum())
        n_pixels += len(difference)
    if n_pixels == 0:
        raise ConfigError(
            f"no surface point is visible in two frames {stride} apart, so there is nothing to compare; "
            "use a smaller stride or larger pictures"
        )
    return total / n_pixels


def correspond(
    gbuffer_a: GBuffer,
    tris: Int32[np.ndarray, "T 3"],
    verts_b: Float[np.ndarray, "V 3"],
    camera_b: Camera,
    gbuffer_b: GBuffer,
) -> SurfaceFlow:
    """Where frame b shows the surface points that frame a shows.

    A point counts as visible in b if all four pixels around its projection show the same object at the
    point's depth, up to what the surface's slope explains, and if neither end lies within `EROSION_PX` of
    background.

    Args:
        gbuffer_a: the frame whose pixels are looked for.
        tris: the scene's triangles.
        verts_b: world-space vertices at frame b's time.
        camera_b: frame b's camera.
        gbuffer_b: what frame b shows.

    Raises:
        ConfigError: `gbuffer_a` was read from an image file and knows no triangles.
    """
    if not gbuffer_a.has_triangles:
        raise ConfigError(
            "these G-buffers know no triangles because they were read from image files; "
            "surface error needs G-buffers rendered from the scene"
        )
    height, width = gbuffer_b.depth.shape
    eligible = erode(gbuffer_a.visible, EROSION_PX)

    # 1. The surface point that each pixel of a shows, as it lies in the world at b's time.
    second, third = (gbuffer_a.bary[eligible].astype(np.float64)[:, k, None] for k in (0, 1))
    corners = verts_b[tris[gbuffer_a.tri_id[eligible]]].astype(np.float64)
    points = (1 - second - third) * corners[:, 0] + second * corners[:, 1] + third * corners[:, 2]

    # 2. Where b's camera sees it, if it lies in front of it and inside the picture.
    with np.errstate(divide="ignore", invalid="ignore"):  # points in the camera's own plane
        position, depth = camera_b.project(points, height, width)
        position = np.round(position / SUBPIXEL) * SUBPIXEL
        inside = (depth > 0) & np.all((position >= 0.5) & (position <= (width - 0.5, height - 0.5)), axis=1)
    position, depth = position[inside], depth[inside]

    # 3. Whether b shows it there: all four pixels that a bilinear sample reads must belong to it.
    inverse, tolerance = _inverse_depth_and_tolerance(gbuffer_b)
    foreground = erode(gbuffer_b.visible, EROSION_PX)
    object_id = gbuffer_a.object_id[eligible][inside]
    shown = np.ones(len(position), bool)
    for row, column, weight in _bilinear_taps(position, height, width):
        belongs = (
            foreground[row, column]
            & (gbuffer_b.object_id[row, column] == object_id)
            & (np.abs(inverse[row, column] - 1 / depth) <= tolerance[row, column])
        )
        shown &= belongs | (weight == 0)

    xy = np.zeros((*gbuffer_a.depth.shape, 2))
    visible = np.zeros(gbuffer_a.depth.shape, bool)
    rows, columns = (index[inside][shown] for index in np.nonzero(eligible))
    xy[rows, columns] = position[shown]
    visible[rows, columns] = True
    return SurfaceFlow(xy, visible)


def sample_bilinear(
    picture: Num[np.ndarray, "H W C"], xy: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N C"]:
    """The picture's values between pixel centres, which lie at +0.5; edge pixels go on beyond the picture."""
    height, width = picture.shape[:2]
    return sum(
        (weight[:, None] * picture[row, column] for row, column, weight in _bilinear_taps(xy, height, width)),
        start=np.zeros((len(xy), picture.shape[2])),
    )


def erode(mask: Bool[np.ndarray, "H W"], radius_px: int) -> Bool[np.ndarray, "H W"]:
    """What is left of a mask when everything within `radius_px` (in a square) of its outside is taken away.

    What lies beyond the picture counts as inside: a surface that leaves the picture has no edge there.
    """
    for axis in (0, 1):
        padding = [(radius_px, radius_px) if axis == other else (0, 0) for other in (0, 1)]
        padded = np.pad(mask, padding, constant_values=True)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius_px + 1, axis=axis)
        mask = np.all(windows, axis=-1)
    return mask


def _bilinear_taps(
    xy: Float64[np.ndarray, "N 2"], height: int, width: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Row, column and weight of the four pixels around each position."""
    corner = np.floor(xy - 0.5)
    across, down = (xy - 0.5 - corner).T
    left, top = corner.astype(np.int64).T
    return [
        (np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1), weight_y * weight_x)
        for dy, weight_y in ((0, 1 - down), (1, down))
        for dx, weight_x in ((0, 1 - across), (1, across))
    ]


def _inverse_depth_and_tolerance(
    gbuffer: GBuffer,
) -> tuple[Float64[np.ndarray, "H W"], Float64[np.ndarray, "H W"]]:
    """Inverse depth, and how much a point of the same surface up to one pixel away may differ from it.

    Inverse depth is linear across the picture of a plane, so the slope alone tells. Of the two slopes on
    either side the smaller one counts: at the edge of an occluder the other one is a jump and no slope.
    """
    inverse = np.where(gbuffer.visible, 1 / gbuffer.depth.astype(np.float64), 0)
    slope = np.zeros_like(inverse)
    for axis in (0, 1):
        step = np.abs(np.diff(inverse, axis=axis))
        edge = np.full_like(inverse.take([0], axis=axis), np.inf)
        smaller = np.minimum(np.concatenate([edge, step], axis=axis), np.concatenate([step, edge], axis=axis))
        slope += np.where(np.isfinite(smaller), smaller, 0)  # a picture one pixel wide has no slope
    return inverse, DEPTH_TOLERANCE * inverse + 1.5 * slope
