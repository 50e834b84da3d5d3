"""The control picture of line networks: white lines on black where objects end, step back or bend sharply.

The lines are those of the geometry: they follow the scene exactly, and no texture or shadow makes one.
"""

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from genrender.gbuffer.control_normal import Slopes, surface_slopes, view_normals
from genrender.gbuffer.gbuffer import GBuffer

# A surface that lies further behind the one before it than this many pixels are wide there is another one.
STEP_PX = 4.0
# Where faces meet at a sharper angle there is an edge; the faces of rounded things meet at smaller ones.
CREASE_DEG = 40.0
# The width of a pixel at depth 1, times the picture's height, where no lens is known: 45 degrees are usual.
USUAL_HEIGHT = 2 * np.tan(np.radians(45) / 2)


def lineart_control(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W"]:
    """One frame's control picture, lines about two pixels wide with soft edges.

    Where the lens is not known, sharp bends make no lines.
    """
    slopes = surface_slopes(gbuffer)
    normals = None if gbuffer.lens is None else view_normals(gbuffer).astype(np.float64)
    lines = np.zeros(slopes.shown.shape, bool)
    for axis, slope in ((1, slopes.along_x), (0, slopes.along_y)):
        # Views of the picture in which the first axis is the one along which neighbours lie.
        value, run, line = (np.moveaxis(one, axis, 0) for one in (slopes.value, slope, lines))
        objects = np.moveaxis(np.where(slopes.shown, gbuffer.object_id, 0), axis, 0)
        here, there = objects[:-1], objects[1:]
        is_edge = (here != there) | _steps(gbuffer, value, run, _pixel(gbuffer, slopes))
        if normals is not None:
            facing = np.moveaxis(normals, axis, 0)
            cosine = np.einsum("ijk,ijk->ij", facing[:-1], facing[1:])
            is_edge |= (here == there) & (here > 0) & (cosine < np.cos(np.radians(CREASE_DEG)))
        # The line lies on what is nearer, the object that it outlines.
        nearness = np.where(objects > 0, -value if _is_flat(gbuffer) else value, -np.inf)
        is_first = nearness[:-1] >= nearness[1:]
        line[:-1] |= is_edge & is_first
        line[1:] |= is_edge & ~is_first
    return _softened(lines)


def _is_flat(gbuffer: GBuffer) -> bool:
    return gbuffer.lens is not None and gbuffer.lens.is_orthographic


def _pixel(gbuffer: GBuffer, slopes: Slopes) -> float:
    """The width of a pixel at depth 1; in scene units if orthographic."""
    seen = USUAL_HEIGHT if gbuffer.lens is None else 2 * gbuffer.lens.half_height
    return seen / slopes.shown.shape[0]


def _steps(
    gbuffer: GBuffer, value: Float64[np.ndarray, "a b"], run: Float64[np.ndarray, "a b"], pixel: float
) -> Bool[np.ndarray, "c b"]:
    """Where a surface does not go on as it runs on either side."""
    change = value[1:] - value[:-1]
    missed = np.minimum(np.abs(change - run[:-1]), np.abs(change - run[1:]))
    # A step of s in depth z changes 1 / z by s / z², and a pixel is z times `pixel` wide.
    width = pixel if _is_flat(gbuffer) else pixel * np.maximum(value[1:], value[:-1])
    return missed > STEP_PX * width


def _softened(lines: Bool[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Weights 1 2 1 along both axes, twice as bright: a straight line keeps its full brightness."""
    soft = lines.astype(np.float32)
    for axis in (0, 1):
        padding = [(1, 1) if axis == i else (0, 0) for i in range(2)]
        padded = np.moveaxis(np.pad(soft, padding, mode="edge"), axis, 0)
        soft = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    return np.round(np.minimum(2 * soft, 1) * 255).astype(np.uint8)
