"""Light made steady over time: what of a surface's light differs from frame to frame without a reason.

Frames of an image model differ in tone, too: the whole object a bit warmer here, a patch lighter there. Along
each surface point a line is fitted to the light of frames around, and a frame takes what the line says. Light
that truly changes keeps its slope, and what changes too much for flicker (a shadow that passes, a lamp that
is switched on) is not averaged at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64

from genrender.surface.light import LightConfig
from genrender.surface.nearby import Nearby
from genrender.surface.sightings import Sightings

# Frames that are looked at, in either direction: each stands for those up to the next.
_STRIDES = (1, 2, 4, 8, 16)
# Light is smooth, so some of its pixels tell all: so many in its radius, along either axis.
_POINTS_PER_RADIUS = 4


@dataclass(frozen=True, eq=False)
class FrameLight:
    """The light of a frame.

    Attributes:
        light: what is added to what the views show.
        colours: what the frame shows with it.
        known: pixels where it is.
    """

    light: Float32[np.ndarray, "H W 3"]
    colours: Float32[np.ndarray, "H W 3"]
    known: Bool[np.ndarray, "H W"]


def neighbours(frame: int, n_frames: int, reach: int) -> list[tuple[int, float]]:
    """The frames that steady a frame, and for how many each stands: ever fewer with their distance.

    Example:
        >>> neighbours(10, 100, 4)
        [(9, 1.0), (11, 1.0), (8, 1.5), (12, 1.5), (6, 1.5), (14, 1.5)]
    """
    strides = [stride for stride in _STRIDES if stride <= reach]
    # Half of the gap to the one before and half of the gap to the one after.
    bounds = [1, *((a + b + 1) / 2 for a, b in pairwise(strides)), reach + 1]
    return [
        (other, upper - lower)
        for stride, (lower, upper) in zip(strides, pairwise(bounds), strict=True)
        for other in (frame - stride, frame + stride)
        if 0 <= other < n_frames
    ]


def steady_change(
    frame: int,
    lights: Mapping[int, FrameLight],
    sightings: Sightings,
    config: LightConfig,
) -> Float64[np.ndarray, "H W 3"]:
    """What to add to a frame's light: a local linear fit over time, evaluated at the frame.

    Notation: d frames from the frame, w weight, y the light's change from it. A weighted mean would pull a
    fade towards the window's inside wherever the window is one-sided. The fit's slope is the fading's doing,
    and that changes colours alike in proportion, so pixels around share one slope relative to their colour.

    Args:
        frame: its number.
        lights: of the frame and its `neighbours`.
        sightings: where frames show surface points.
        config: how far, and what is no flicker.
    """
    gbuffer, own = sightings.gbuffers[frame], lights[frame]
    radius_px = config.radius_px(gbuffer)
    chosen = _some(own.known, max(radius_px // _POINTS_PER_RADIUS, 1))
    pixels = np.flatnonzero(chosen)
    near = Nearby(gbuffer.object_id, chosen)
    light, colours = (each.reshape(-1, 3)[pixels].astype(np.float64) for each in (own.light, own.colours))

    # 1. Moments over time: s_k = sum of w d^k, t_k = sum of w d^k y. The frame itself has w = 1, d = y = 0.
    s0, s1, s2 = np.ones(len(pixels)), np.zeros(len(pixels)), np.zeros(len(pixels))
    t0, t1 = np.zeros_like(light), np.zeros_like(light)
    for other, count in neighbours(frame, len(sightings.gbuffers), config.frames):
        d = other - frame
        xy, shown = sightings.find(frame, pixels, other)
        column, row = np.floor(xy).astype(np.int64).T
        there = lights[other]
        shown &= there.known[row, column]
        change = np.where(shown[:, None], there.light[row, column] - light, 0)
        weight = count * np.exp(-0.5 * (2 * d / config.frames) ** 2) * _likeness(change, shown, config)
        s0 += weight
        s1 += weight * d
        s2 += weight * d * d
        t0 += weight[:, None] * change
        t1 += (weight * d)[:, None] * change

    # 2. Weighted least squares for the slope, pooled: slope = colour * relative.
    determinant = (s0 * s2 - s1 * s1)[:, None]
    numerator = s0[:, None] * t1 - s1[:, None] * t0
    sums = near.sum(np.concatenate([colours * numerator, colours * colours * determinant], axis=1), radius_px)
    relative = sums[:, :3] / np.maximum(sums[:, 3:], 1e-6)

    # 3. The fit at d = 0, spread from the chosen pixels to all.
    fit = (t0 - colours * relative * s1[:, None]) / s0[:, None]
    known = np.flatnonzero(own.known)
    at = np.zeros(own.known.size)
    values = np.zeros((own.known.size, 3))
    at[pixels], values[pixels] = 1, fit
    change = np.zeros((*own.known.shape, 3))
    change[own.known] = Nearby(gbuffer.object_id, own.known).mean(values[known], radius_px, at[known])
    return change


def _some(known: Bool[np.ndarray, "H W"], stride: int) -> Bool[np.ndarray, "H W"]:
    """The known pixels on a grid, and no others."""
    chosen = np.zeros_like(known)
    grid = slice(stride // 2, None, stride)
    chosen[grid, grid] = known[grid, grid]
    return chosen


def _likeness(
    change: Float64[np.ndarray, "N 3"], shown: Bool[np.ndarray, "N"], config: LightConfig
) -> Float64[np.ndarray, "N"]:
    """Weights from 1, the same light, to 0, a change that is no flicker (Tukey's biweight); 0 if not shown.

    Unlike a Gaussian it ends: beyond a shadow's edge that passes by, nothing has any weight.
    """
    square = (change**2).mean(axis=1)
    return np.where(shown, np.maximum(1 - square / config.tolerance**2, 0) ** 2, 0)
