"""Surviving light: how much of a known change of light is left after frames were made steady.

What is steady because its light is frozen to the surface is no good. A clip that was painted under a known
light tells how much of it a method for finished frames lets pass.
"""

from typing import Literal

from genrender.errors import ConfigError
from genrender.metrics.surface import pairs
from genrender.storage.lazy_frames import Pictures
from genrender.surface.flow import color_change, follow
from genrender.surface.tracking import SurfaceTracker


def surviving_light(
    frames: Pictures, light: Pictures, tracker: SurfaceTracker, stride: int | Literal["first"] = "first"
) -> float:
    """The share of a known change of light, along surface points, that a clip still shows.

    It is the slope of a regression without a constant, y = slope * x, over all surface points that both
    frames of a pair show, where x is how the known light changed and y how the colour changed. Flicker adds
    noise to y, which has nothing to do with x, so it hardly moves the slope.

    Args:
        frames: RGB in [0, 1], after whatever was done to the painted clip.
        light: what light adds to each colour of the painted clip: the clip under the light that changes less
            the same clip under one that does not. May be negative.
        tracker: where surface points lie in each frame.
        stride: how many frames lie between the two of a pair; `first` compares all with frame 0.

    Returns:
        1 where all of it survives, 0 where the light is frozen; above 1 it is exaggerated.

    Raises:
        ConfigError: the numbers of frames differ, or the light does not change.
    """
    n_frames = len(tracker.gbuffers)
    if not len(frames) == len(light) == n_frames:
        raise ConfigError(
            f"got {len(frames)} frames and {len(light)} of light for {n_frames} G-buffers, expected one each"
        )
    product = square = 0.0
    for i, j in pairs(n_frames, stride):
        flow = follow(tracker, j, i)
        known = color_change(light[i], light[j], flow)
        product += float((known * color_change(frames[i], frames[j], flow)).sum())
        square += float((known**2).sum())
    if square == 0:
        raise ConfigError(
            "the light does not change on any surface point that two frames show; give frames under other "
            "light"
        )
    return product / square
