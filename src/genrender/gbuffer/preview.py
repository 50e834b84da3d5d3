"""Pictures of G-buffers for people to look at. Background is black in all of them."""

import colorsys
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, UInt8

from genrender.gbuffer.control import inverse_depth_range, scale_inverse_depth
from genrender.gbuffer.control_normal import view_normals
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.camera import Lens


def depth_picture(
    gbuffer: GBuffer, inverse_range: tuple[float, float] | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Depth in grey: near is bright, far is dark, background is black.

    Args:
        gbuffer: one frame.
        inverse_range: the clip's `inverse_depth_range`, so that its pictures are comparable.
            None: this frame's.
    """
    control = scale_inverse_depth(gbuffer, inverse_range or inverse_depth_range([gbuffer]))
    return to_picture(np.repeat(control[..., None], 3, axis=2))


def uv_picture(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 3"]:
    """Texture coordinates in colour: red is u, green is v; a little blue tells (0, 0) from background."""
    blue = np.where(gbuffer.visible, np.float32(0.25), np.float32(0))
    return to_picture(np.concatenate([gbuffer.uv, blue[..., None]], axis=2))


def object_picture(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 3"]:
    """Every object in a colour of its own, the same one in every frame."""
    ids, index = np.unique(gbuffer.object_id, return_inverse=True)
    colours = np.array([object_colour(int(object_id)) for object_id in ids], np.uint8)
    return colours[index.reshape(gbuffer.object_id.shape)]


def object_colour(object_id: int) -> tuple[int, int, int]:
    """The RGB colour of one object: hues a golden section apart, so that neighbouring ids differ most."""
    if object_id == 0:
        return 0, 0, 0
    hue = object_id * 0.618033988749895 % 1
    saturation = (0.75, 0.45)[object_id // 8 % 2]
    value = (0.95, 0.65)[object_id // 4 % 2]
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def shaded_picture(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 4"]:
    """Surfaces in their objects' colours, lit from above the viewer's left shoulder; the rest is transparent.

    Where the lens is not known, as of some EXR files, one of 40 degrees is taken.
    """
    lens = gbuffer.lens or Lens(half_height=float(np.tan(np.deg2rad(20))))
    normals = view_normals(replace(gbuffer, lens=lens))
    light = np.array([-0.45, 0.6, 0.66], np.float32)
    brightness = 0.45 + 0.6 * np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
    clay = 0.55 * np.float32(230 / 255) + 0.45 * object_picture(gbuffer).astype(np.float32) / 255
    shaded = to_picture(clay * brightness[..., None].astype(np.float32))
    return np.dstack([shaded, np.where(gbuffer.visible, np.uint8(255), np.uint8(0))])


def to_picture(values: Float32[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Values in [0, 1] as bytes, rounded; what lies outside is clipped."""
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
