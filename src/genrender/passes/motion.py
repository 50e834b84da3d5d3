"""Exact motion of what pixels show: vectors to other frames, and the colours of places in the first frame."""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from genrender.gbuffer.gbuffer import GBuffer
from genrender.shots.clip import Clip
from genrender.surface.tracking import between_corners


def motion_vectors(clip: Clip, frame: int, other: int) -> Float32[np.ndarray, "H W 2"]:
    """Where the surface point of each pixel is in another frame, hidden or not, less where it is here.

    Returns:
        Pixels, x to the right, y down; 0 for background, and for points behind the other frame's camera.

    Raises:
        ConfigError: the clip was read from image files.
    """
    gbuffer = clip.gbuffers[frame]
    rows, cols = np.nonzero(gbuffer.visible)
    xy, depth = _seen_from(clip, gbuffer, other)
    here = np.stack([cols, rows], axis=-1) + 0.5
    vectors = np.zeros((*gbuffer.depth.shape, 2), np.float32)
    vectors[rows, cols] = np.where((depth > 0)[:, None], xy - here, 0)
    return vectors


def tracking_picture(
    clip: Clip, frame: int, inverse_range: tuple[float, float]
) -> UInt8[np.ndarray, "H W 3"]:
    """One frame of a tracking video: each surface point has the colour of its place in the first frame.

    Red grows from the first frame's left to its right, green from top to bottom, blue from far to near
    (inverse depth between two percentiles); what lies outside has the colour of the border, and background
    is black.

    Args:
        inverse_range: of the first frame, see `first_inverse_range`.

    Raises:
        ConfigError: the clip was read from image files.

    Source: Diffusion as Shader (arXiv 2501.03847), section 3.2. There points are tracked by a network and
        drawn as squares; here every pixel knows its point.
    """
    gbuffer = clip.gbuffers[frame]
    xy, depth = _seen_from(clip, gbuffer, 0)
    last = np.maximum(np.array([gbuffer.width, gbuffer.height]) - 1, 1)
    far, near = inverse_range
    with np.errstate(divide="ignore"):
        inverse = np.where(depth > 0, 1 / depth, near)
    nearness = (inverse - far) / (near - far) if near > far else np.ones_like(inverse)
    share = np.concatenate([(xy - 0.5) / last, nearness[:, None]], axis=1)
    # A point behind the first camera is seen nowhere; its place there is the picture's middle.
    share[depth <= 0, :2] = 0.5
    picture = np.zeros((*gbuffer.depth.shape, 3), np.uint8)
    picture[gbuffer.visible] = np.round(255 * np.clip(share, 0, 1))
    return picture


def first_inverse_range(clip: Clip) -> tuple[float, float]:
    """The 2nd and 98th percentile of the first frame's inverse depths; both 0 where it shows nothing."""
    depth = clip.gbuffers[0].depth[clip.gbuffers[0].visible]
    if not len(depth):
        return 0.0, 0.0
    far, near = np.percentile(1 / depth, [2, 98])
    return float(far), float(near)


def _seen_from(
    clip: Clip, gbuffer: GBuffer, other: int
) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, "N"]]:
    """Pixel coordinates and planar depth, in another frame, of what a frame's visible pixels show."""
    shot, visible = clip.geometry, gbuffer.visible
    corners = shot.verts(other)[shot.scene.tris[gbuffer.tri_id[visible]]].astype(np.float64)
    points = between_corners(corners, gbuffer.bary[visible])
    with np.errstate(divide="ignore", invalid="ignore"):  # points in the camera's own plane
        return shot.cameras[other].project(points, gbuffer.height, gbuffer.width)
