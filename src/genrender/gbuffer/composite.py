"""Finished frames over a plain colour: what shows no surface in the G-buffer is painted over."""

import numpy as np
from jaxtyping import Float32

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer


def composite_backdrop(
    frame: Float32[np.ndarray, "H W 3"], gbuffer: GBuffer, color: tuple[int, int, int]
) -> Float32[np.ndarray, "H W 3"]:
    """The frame with a plain colour behind its objects.

    G-buffers have no anti-aliasing, so the edge is softened over one pixel on either side: a pixel's opacity
    is the mean of the mask around it. A pixel whose eight neighbours all show a surface keeps its value
    exactly. Outside the edge the surface's colour fades out, never what the model painted as background.

    Args:
        frame: RGB in [0, 1].
        gbuffer: what the frame shows, at the same size.
        color: RGB, 0 to 255.

    Raises:
        ConfigError: frame and G-buffer differ in size.
    """
    if frame.shape[:2] != gbuffer.depth.shape:
        raise ConfigError(
            f"the frame has {frame.shape[1]}x{frame.shape[0]} pixels, its G-buffer {gbuffer.width}x"
            f"{gbuffer.height}; expected the same size"
        )
    mask = gbuffer.visible[..., None].astype(np.float32)
    opacity = _soften(mask)
    surface = _soften(mask * frame) / np.where(opacity > 0, opacity, 1)
    surface = np.where(mask > 0, frame, surface)
    backdrop = np.asarray(color, np.float32) / 255
    # This form, and not a sum of two shares, is exact at both ends.
    return np.where(opacity < 1, backdrop + opacity * (surface - backdrop), surface).astype(np.float32)


def _soften(picture: Float32[np.ndarray, "H W C"]) -> Float32[np.ndarray, "H W C"]:
    """Weights 1 2 1 over 4 along both axes; at its border the picture goes on as it ends."""
    for axis in (0, 1):
        padding = [(1, 1) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(picture, padding, mode="edge")
        n = picture.shape[axis]
        before, here, after = (padded.take(range(start, start + n), axis) for start in range(3))
        picture = (before + 2 * here + after) / 4
    return picture
