"""Surface normals as the camera sees them, and the control picture that is made of them.

They are found from depth and lens alone: on a plane, 1 / depth is a linear function of the place in the
picture (depth itself, where rays are parallel). So every clip has them whose lens is known, whether its
G-buffers were rendered here or elsewhere, and none has to be stored.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import DOME_ID
from genrender.scene.camera import Lens


@dataclass(frozen=True)
class Slopes:
    """How a frame's surfaces run across the picture.

    Attributes:
        value: 1 / depth, or depth where rays are parallel; 0 where nothing is shown, and on a dome.
        along_x: its change from a pixel to the next one to the right, on the surface that the pixel shows.
        along_y: likewise, to the next one below.
        shown: which pixels show a surface; a dome counts as background.
    """

    value: Float64[np.ndarray, "H W"]
    along_x: Float64[np.ndarray, "H W"]
    along_y: Float64[np.ndarray, "H W"]
    shown: Bool[np.ndarray, "H W"]


def surface_slopes(gbuffer: GBuffer) -> Slopes:
    """Of every pixel, from the one of its two neighbours on an axis that lies on its surface."""
    shown = gbuffer.visible & (gbuffer.object_id != DOME_ID)
    is_orthographic = gbuffer.lens is not None and gbuffer.lens.is_orthographic
    depth = np.where(shown, gbuffer.depth, 1).astype(np.float64)
    value = np.where(shown, depth if is_orthographic else 1 / depth, 0)
    return Slopes(value, _slope(gbuffer, value, shown, 1), _slope(gbuffer, value, shown, 0), shown)


def _slope(
    gbuffer: GBuffer, value: Float64[np.ndarray, "H W"], shown: Bool[np.ndarray, "H W"], axis: int
) -> Float64[np.ndarray, "H W"]:
    """A neighbour on the same triangle is on the same surface; else the one that changes less. 0: none is."""
    before, after = (_from_to(axis, ends) for ends in ((None, -1), (1, None)))
    objects, tris = gbuffer.object_id, gbuffer.tri_id
    change = value[after] - value[before]
    is_same = (objects[after] == objects[before]) & shown[after]
    # Another triangle costs more than any change of the same one: depths are finite.
    cost = np.abs(change) + np.where(tris[after] == tris[before], 0, value.max(initial=0) + 1)
    cost[~is_same] = np.inf
    slope, costs = np.zeros_like(value), np.full_like(value, np.inf)
    slope[before], costs[before] = np.where(is_same, change, 0), cost
    is_better = cost < costs[after]
    slope[after] = np.where(is_better, change, slope[after])
    return slope


def _from_to(axis: int, ends: tuple[int | None, int | None]) -> tuple[slice, slice]:
    return (slice(*ends), slice(None)) if axis == 0 else (slice(None), slice(*ends))


def view_normals(gbuffer: GBuffer) -> Float32[np.ndarray, "H W 3"]:
    """Unit normals of what pixels show: x to the right, y up, z towards the viewer; background faces him.

    They turn towards the camera, whichever side of a triangle is seen, and are those of the triangles, not
    smoothed ones. A surface that is one pixel wide faces the camera across.

    Raises:
        ConfigError: the lens is not known.
    """
    lens = gbuffer.lens
    if lens is None:
        raise ConfigError(
            "control pictures of normals need the camera's lens, which these G-buffers do not tell: give "
            "yfov_deg, the vertical field of view, in --exr-map"
        )
    return _normals(surface_slopes(gbuffer), lens)


def _normals(slopes: Slopes, lens: Lens) -> Float32[np.ndarray, "H W 3"]:
    height, width = slopes.value.shape
    x, y = lens.in_plane(height, width)
    # Pixels are square, and further down is less far up.
    pixel = 2 * lens.half_height / height
    dx, dy = slopes.along_x / pixel, -slopes.along_y / pixel
    if lens.is_orthographic:
        towards = np.ones_like(dx)
    else:
        dx, dy, towards = -dx, -dy, slopes.value - x * dx - y[:, None] * dy
    normals = np.stack([dx, dy, towards], axis=-1)
    normals[~slopes.shown] = 0, 0, 1
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals.astype(np.float32)


def normal_control(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 3"]:
    """One frame's control picture: red looks left, green up, blue at the viewer; background looks at him.

    Source: ControlNet 1.1's description of its normal model, "blue is front, red is left, green is top",
    which Bae's estimator (ScanNet's protocol) and, after it, ControlNet-Union were trained with; ControlNet
    1.0 had the same colours. Other programs paint what looks right in red.

    Raises:
        ConfigError: the lens is not known.
    """
    normals = view_normals(gbuffer) * np.array([-1, 1, 1], np.float32)
    return np.round((normals + 1) * 127.5).astype(np.uint8)
