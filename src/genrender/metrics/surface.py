"""Surface error: by how much the colour of a surface point changes from frame to frame.

The correspondence is exact, from geometry; nothing is estimated from the pictures. Changes are told apart by
how far they reach: colours and shades that breathe are the low band, details that move or are drawn anew the
high one.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from genrender.errors import ConfigError
from genrender.gbuffer.control import shows_own_object
from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.lazy_frames import Pictures
from genrender.surface.flow import EROSION_PX, color_change, erode, follow
from genrender.surface.nearby import Nearby
from genrender.surface.tracking import SurfaceTracker

N_QUARTERS = 4
# What is nearer than this share of the picture's longer side is one place to the low band.
BAND_SHARE = 1 / 16


@dataclass(frozen=True)
class SurfaceErrors:
    """Mean absolute RGB differences between frames of a clip, in [0, 1]; None: nothing to compare.

    Attributes:
        surface: of all pixels that show the same surface point.
        foreground: of those on the scene's own objects.
        background: of those on a backdrop, and of pixels that show nothing in both frames, which are compared
            where they are: without a backdrop the background stays put on the screen.
        low: of the foreground, what neighbouring points of an object change together.
        high: of the foreground, the rest: what each point does beside that.
        quarters: `surface`, of pairs whose later frame lies in each quarter of the clip.
    """

    surface: float | None
    foreground: float | None
    background: float | None
    low: float | None = None
    high: float | None = None
    quarters: tuple[float | None, ...] = (None,) * N_QUARTERS


def surface_error(frames: Pictures, tracker: SurfaceTracker, stride: int | Literal["first"] = 1) -> float:
    """Mean absolute RGB difference of pixels that show the same surface point in frames `stride` apart.

    Each pixel of frame j whose surface point frame j - stride shows too is compared with the colour there,
    sampled bilinearly. Pixels near the background are left out in both frames.

    Args:
        frames: RGB in [0, 1].
        tracker: where surface points lie in each frame.
        stride: how many frames lie between the two of a pair, from 1; `first` compares all with frame 0.

    Returns:
        The mean over the pixels of all pairs and over the three channels, in [0, 1].

    Raises:
        ConfigError: there are more or fewer frames than the tracker knows, no pair has that stride, or no
            surface point is visible in both frames of any pair.
    """
    if not pairs(len(frames), stride):
        n_frames = len(frames)
        raise ConfigError(f"stride is {stride}, expected 1 to {n_frames - 1} for {n_frames} frames")
    error = surface_errors(frames, tracker, stride).surface
    if error is None:
        raise ConfigError(
            f"no surface point is visible in two frames that lie {stride} apart, so there is nothing to "
            "compare; use a smaller stride or larger pictures"
        )
    return error


def surface_errors(
    frames: Pictures, tracker: SurfaceTracker, stride: int | Literal["first"] = 1
) -> SurfaceErrors:
    """`surface_error` with foreground and background apart; None where there is nothing to compare.

    Raises:
        ConfigError: there are more or fewer frames than the tracker knows.
    """
    n_frames, gbuffers = len(frames), tracker.gbuffers
    if n_frames != len(gbuffers):
        raise ConfigError(f"got {n_frames} frames for {len(gbuffers)} G-buffers, expected one for each")
    foreground, backdrop, nothing, low, high = (_Mean() for _ in range(5))
    quarters = [_Mean() for _ in range(N_QUARTERS)]
    for i, j in pairs(n_frames, stride):
        before, after = frames[i], frames[j]
        flow = follow(tracker, j, i)
        change = color_change(before, after, flow)
        difference = np.abs(change).mean(axis=1)
        quarters[j * N_QUARTERS // n_frames].add(difference)
        shows_own = shows_own_object(gbuffers[j])
        is_own = shows_own[flow.visible]
        slow, fast = bands(change[is_own], gbuffers[j], flow.visible & shows_own)
        low.add(np.abs(slow).mean(axis=1))
        high.add(np.abs(fast).mean(axis=1))
        foreground.add(difference[is_own])
        backdrop.add(difference[~is_own])
        empty = erode(~gbuffers[i].visible & ~gbuffers[j].visible, EROSION_PX)
        nothing.add(np.abs(after[empty].astype(np.float64) - before[empty]).mean(axis=1))
    return SurfaceErrors(
        (foreground + backdrop).value,
        foreground.value,
        (backdrop + nothing).value,
        low.value,
        high.value,
        tuple(quarter.value for quarter in quarters),
    )


def bands(
    change: Float64[np.ndarray, "N 3"], gbuffer: GBuffer, where: Bool[np.ndarray, "H W"]
) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
    """What pixels change together with their neighbours on the same object, and the rest.

    Args:
        change: of the pixels that are True in `where`, in the order of `picture[where]`.
        gbuffer: what the pixels show.
        where: pixels that have a change; the others have no part in their neighbours' mean.

    Returns:
        The low band and the high band; their sum is the change.
    """
    radius_px = max(1, round(BAND_SHARE * max(where.shape)))
    low = Nearby(gbuffer.object_id, where).mean(change, radius_px)
    return low, change - low


class _Mean:
    """A mean that grows."""

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self.total = total
        self.count = count

    def add(self, values: Float64[np.ndarray, "N"]) -> None:
        self.total += float(values.sum())
        self.count += len(values)

    def __add__(self, other: "_Mean") -> "_Mean":
        return _Mean(self.total + other.total, self.count + other.count)

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


def pairs(n_frames: int, stride: int | Literal["first"]) -> list[tuple[int, int]]:
    """The frames that are compared; none where the clip is too short."""
    if stride == "first":
        return [(0, j) for j in range(1, n_frames)]
    return [(j - stride, j) for j in range(stride, n_frames)] if stride >= 1 else []
