"""The control picture of line networks: white lines on black where objects end, step back or bend sharply.

The lines are those of the geometry: they follow the scene exactly, and no texture or shadow makes one.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from genrender.gbuffer.control_normal import Slopes, surface_slopes, view_normals
from genrender.gbuffer.gbuffer import GBuffer

# A surface that lies behind the one before it by so many widths of a pixel is another one; where it lies a
# little less far behind, the line is fainter, so that none appears or goes all at once.
STEP_PX = (2.0, 5.0)
# Faces that meet at such angles have an edge between them; those of rounded things meet at smaller ones.
CREASE_DEG = (30.0, 50.0)
# Line pixels that fewer others surround, in a square of five, are specks of detail finer than pixels.
SUPPORT = (1.0, 3.0)
# The width of a pixel at depth 1, times the picture's height, where no lens is known: 45 degrees are usual.
USUAL_HEIGHT = 2 * np.tan(np.radians(45) / 2)


def lineart_control(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W"]:
    """One frame's control picture, lines about two pixels wide with soft edges.

    Where the lens is not known, sharp bends make no lines.
    """
    slopes = surface_slopes(gbuffer)
    normals = None if gbuffer.lens is None else view_normals(gbuffer).astype(np.float64)
    lines = np.zeros(slopes.shown.shape, np.float32)
    for axis, slope in ((1, slopes.along_x), (0, slopes.along_y)):
        # Views of the picture in which the first axis is the one along which neighbours lie.
        value, run, line = (np.moveaxis(one, axis, 0) for one in (slopes.value, slope, lines))
        objects = np.moveaxis(np.where(slopes.shown, gbuffer.object_id, 0), axis, 0)
        here, there = objects[:-1], objects[1:]
        width = _widths(gbuffer, value, _pixel(gbuffer, slopes))
        edge = _ramp(_steps(value, run) / width, STEP_PX)
        if normals is not None:
            facing = np.moveaxis(normals, axis, 0)
            cosine = np.einsum("ijk,ijk->ij", facing[:-1], facing[1:])
            edge = np.maximum(edge, _ramp(np.degrees(np.arccos(np.clip(cosine, -1, 1))), CREASE_DEG))
        edge = np.where(here != there, 1, np.where(here > 0, edge, 0)).astype(np.float32)
        # The line lies on what is nearer, the object that it outlines. Where things touch, neither is clearly
        # nearer, and the line must not jump from one to the other.
        nearness = np.where(objects > 0, -value, -np.finfo(np.float32).max) if _is_flat(gbuffer) else value
        is_first = nearness[1:] - nearness[:-1] <= STEP_PX[1] * width
        line[:-1] = np.maximum(line[:-1], edge * is_first)
        line[1:] = np.maximum(line[1:], edge * ~is_first)
    support = _blurred(_blurred(lines, (1, 1, 1)), (1, 1, 1)) - lines
    lines *= _ramp(support, SUPPORT)
    # Twice as bright: a straight line keeps its full brightness.
    return np.round(np.minimum(2 * _blurred(lines, (0.25, 0.5, 0.25)), 1) * 255).astype(np.uint8)


def _ramp(values: Float[np.ndarray, "a b"], bounds: tuple[float, float]) -> Float[np.ndarray, "a b"]:
    """0 up to the first bound, 1 from the second on."""
    return np.clip((values - bounds[0]) / (bounds[1] - bounds[0]), 0, 1)


def _is_flat(gbuffer: GBuffer) -> bool:
    return gbuffer.lens is not None and gbuffer.lens.is_orthographic


def _pixel(gbuffer: GBuffer, slopes: Slopes) -> float:
    """The width of a pixel at depth 1; in scene units if orthographic."""
    seen = USUAL_HEIGHT if gbuffer.lens is None else 2 * gbuffer.lens.half_height
    return seen / slopes.shown.shape[0]


def _steps(value: Float64[np.ndarray, "a b"], run: Float64[np.ndarray, "a b"]) -> Float64[np.ndarray, "c b"]:
    """How far a surface lies from where the one before it would go on, on the better of both sides."""
    change = value[1:] - value[:-1]
    return np.minimum(np.abs(change - run[:-1]), np.abs(change - run[1:]))


def _widths(gbuffer: GBuffer, value: Float64[np.ndarray, "a b"], pixel: float) -> Float64[np.ndarray, "c b"]:
    """What a step as deep as a pixel is wide changes in `value`; where nothing is shown something above 0."""
    nearer = np.maximum(value[1:], value[:-1])
    if _is_flat(gbuffer):
        return np.full_like(nearer, pixel)
    # A step of s in depth z changes 1 / z by s / z², and a pixel is z times `pixel` wide.
    return np.where(nearer > 0, pixel * nearer, 1)


def _blurred(
    picture: Float32[np.ndarray, "H W"], weights: tuple[float, float, float]
) -> Float32[np.ndarray, "H W"]:
    """Sums of neighbours along both axes; at its border the picture goes on as it ends."""
    for axis in (0, 1):
        padding = [(1, 1) if axis == i else (0, 0) for i in range(2)]
        padded = np.moveaxis(np.pad(picture, padding, mode="edge"), axis, 0)
        before, here, after = (np.float32(weight) for weight in weights)
        summed = before * padded[:-2] + here * padded[1:-1] + after * padded[2:]
        picture = np.moveaxis(summed, 0, axis)
    return picture
