"""Surface stabiliser: takes the flicker out of finished frames, point by point along the surface.

Every pixel is averaged over time with the pixels that show the same surface point, wherever it went. Where
that is follows from geometry and not from the pictures, so nothing is smeared by a wrong match.

Example:
    >>> from genrender.shots.clip import ShotConfig, render_clip
    >>> clip = render_clip(scene, ShotConfig(n_frames=16, camera="orbit"))
    >>> steady = list(stabilised(frames, clip.tracker, strength=1.0))
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.nearby import Nearby
from genrender.surface.resample import sample_cubic
from genrender.surface.tracking import SurfaceTracker, inverse_depth_and_tolerance, sample_bilinear

Sampling = Literal["matched", "catmull-rom", "bilinear"]


@dataclass(frozen=True)
class StabiliserConfig:
    """How far in time and in colour frames are averaged; docs/stabiliser.md has the figures behind it.

    Attributes:
        radius: frames on either side that a frame is averaged with, from 1; all of them are in memory.
        sigma_frames: standard deviation of the weights over time, in frames.
        colour_tolerance: a colour that differs by this, RMS of RGB in [0, 1], is a true change and no
            flicker: it has no weight.
        slope_radius_px: how far away pixels of the same object share one speed of light's change.
        sampling: how a frame is read between its pixels. `matched` compares a bilinear sample with a pixel
            that was blurred alike: blur cancels out, and what is finer stays the frame's own. `catmull-rom`
            reads the 4x4 pixels around, and the inner 2x2 near edges. `bilinear` blurs, for comparison.
    """

    radius: int = 6
    sigma_frames: float = 3.0
    colour_tolerance: float = 0.3
    slope_radius_px: int = 8
    sampling: Sampling = "matched"

    def check(self) -> None:
        """Raises ConfigError for a setting out of range."""
        if self.radius < 1:
            raise ConfigError(f"the stabiliser's radius is {self.radius} frames, expected at least 1")
        for name in ("sigma_frames", "colour_tolerance"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"the stabiliser's {name} is {getattr(self, name):g}, expected a number above 0"
                )
        if self.slope_radius_px < 0:
            raise ConfigError(
                f"the stabiliser's slope_radius_px is {self.slope_radius_px}, expected at least 0"
            )


def stabilised(
    frames: Iterable[Float32[np.ndarray, "H W 3"]],
    tracker: SurfaceTracker,
    strength: float | int,
    config: StabiliserConfig = StabiliserConfig(),
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """Yields the frames of a clip with less flicker on the surfaces.

    Background stays as it is, to the bit, and so does a surface point that no other frame in reach shows.
    Only the frames in reach are held: `config.radius` frames are read ahead of the yielded one, never more.

    Args:
        frames: RGB in [0, 1], one per frame of the tracker, in order; each is copied when it is read.
        tracker: where surface points lie in each frame.
        strength: 0 yields the frames to the bit, 1 the averages, and in between a mixture.

    Raises:
        ConfigError: a setting is out of range; while frames are read: a frame's size is not that of its
            G-buffer, or there are fewer or more frames than G-buffers.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"the stabiliser's strength is {strength:g}, expected 0 to 1")
    config.check()
    return _stream(frames, tracker, float(strength), config)


@dataclass(frozen=True, eq=False)
class _Frame:
    picture: Float32[np.ndarray, "H W 3"]
    gbuffer: GBuffer

    @cached_property
    def connected(self) -> Bool[np.ndarray, "H W"]:
        """Pixels whose eight neighbours show the same surface: the same object without a jump in depth."""
        gbuffer = self.gbuffer
        inverse, tolerance = inverse_depth_and_tolerance(gbuffer)
        near, ids = np.pad(inverse, 1, mode="edge"), np.pad(gbuffer.object_id, 1, mode="edge")
        connected = gbuffer.visible.copy()
        for dy in range(3):
            for dx in range(3):
                there = slice(dy, dy + gbuffer.height), slice(dx, dx + gbuffer.width)
                connected &= (ids[there] == gbuffer.object_id) & (np.abs(near[there] - inverse) <= tolerance)
        return connected


def _stream(
    frames: Iterable[Float32[np.ndarray, "H W 3"]],
    tracker: SurfaceTracker,
    strength: float,
    config: StabiliserConfig,
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    n_frames = len(tracker.gbuffers)
    reach = config.radius if strength > 0 else 0
    source, n_read = iter(frames), 0
    window: dict[int, _Frame] = {}
    for j in range(n_frames):
        while n_read <= min(j + reach, n_frames - 1):
            picture = next(source, None)
            if picture is None:
                raise ConfigError(
                    f"the stabiliser got {n_read} frames, expected {n_frames}, one per G-buffer"
                )
            window[n_read] = _read(picture, tracker.gbuffers[n_read], n_read)
            n_read += 1
        window.pop(j - reach - 1, None)
        yield _mix(j, window, tracker, strength, config) if strength > 0 else window[j].picture
    if next(source, None) is not None:
        raise ConfigError(f"the stabiliser got more than {n_frames} frames, expected one per G-buffer")


def _read(picture: Float32[np.ndarray, "H W 3"], gbuffer: GBuffer, frame: int) -> _Frame:
    if picture.shape[:2] != gbuffer.depth.shape:
        raise ConfigError(
            f"frame {frame} is {picture.shape[1]}x{picture.shape[0]} pixels, but its G-buffer is "
            f"{gbuffer.width}x{gbuffer.height}: stabilise frames of the size they were made with"
        )
    # A copy: the caller may well reuse the memory for the next frame.
    return _Frame(np.array(picture), gbuffer)


def _mix(
    j: int, window: dict[int, _Frame], tracker: SurfaceTracker, strength: float, config: StabiliserConfig
) -> Float32[np.ndarray, "H W 3"]:
    result = window[j].picture.copy()
    points = _Points(tracker.gbuffers[j])
    if len(points.tri_id):
        seen = points.seen
        correction = _average_change(j, points, window, tracker, config)
        result[seen] = np.clip(result[seen] + strength * correction, 0, 1)
    return result


def _average_change(
    j: int,
    points: "_Points",
    window: dict[int, _Frame],
    tracker: SurfaceTracker,
    config: StabiliserConfig,
) -> Float64[np.ndarray, "N 3"]:
    """What to add to frame j's surface points: a local linear fit over time, evaluated at frame j.

    Notation: d frames from j, w weight, y colour's change from frame j. A plain weighted mean would pull a
    fade towards the window's inside wherever the window is one-sided: at the clip's ends, at occlusions. The
    fit's slope is light's doing and light changes alike nearby, so pixels around share one slope relative to
    their colour: a slope of each pixel's own would take back at the ends much of what averaging gains.
    """
    own = window[j].picture[points.seen].astype(np.float64)
    curvature = _Curvature(window[j], points.seen) if config.sampling == "matched" else None

    # 1. Moments over time: s_k = sum of w d^k, t_k = sum of w d^k y. Frame j itself has w = 1, d = 0, y = 0.
    s0, s1, s2 = np.ones(len(own)), np.zeros(len(own)), np.zeros(len(own))
    t0, t1 = np.zeros_like(own), np.zeros_like(own)
    for i, frame in window.items():
        if i == j:
            continue
        d = i - j
        xy, depth = tracker.locate(points.tri_id, points.bary, i)
        shown = tracker.shows(xy, depth, points.object_id, i)
        if not shown.any():
            continue
        change = np.zeros_like(own)
        if config.sampling == "catmull-rom":
            change[shown] = sample_cubic(frame.picture, xy[shown], frame.connected) - own[shown]
        else:
            change[shown] = sample_bilinear(frame.picture, xy[shown]) - own[shown]
        if curvature is not None:
            change[shown] -= curvature.blur(shown, xy[shown])
        weight = np.exp(-0.5 * (d / config.sigma_frames) ** 2) * _likeness(change, shown, points, config)
        s0 += weight
        s1 += weight * d
        s2 += weight * d * d
        t0 += weight[:, None] * change
        t1 += (weight * d)[:, None] * change

    # 2. Weighted least squares for the slope, pooled: slope = own * relative.
    determinant = (s0 * s2 - s1 * s1)[:, None]
    numerator = s0[:, None] * t1 - s1[:, None] * t0
    sums = points.near.sum(
        np.concatenate([own * numerator, own * own * determinant], axis=1), config.slope_radius_px
    )
    relative = sums[:, :3] / np.maximum(sums[:, 3:], 1e-6)

    # 3. The fit at d = 0.
    return (t0 - own * relative * s1[:, None]) / s0[:, None]


def _likeness(
    change: Float64[np.ndarray, "N 3"],
    shown: Bool[np.ndarray, "N"],
    points: "_Points",
    config: StabiliserConfig,
) -> Float64[np.ndarray, "N"]:
    """Weights from 1, the same colour, to 0, a change that is no flicker (Tukey's biweight); 0 if not shown.

    Unlike a Gaussian it ends: beyond a shadow's edge that passes by, nothing has any weight. The difference
    is a mean over 3x3 pixels, so that noise in single pixels decides nothing.
    """
    squares = np.stack([(change**2).mean(axis=1), shown], axis=1)
    sums = points.near.sum(squares, 1)
    square = sums[:, 0] / np.maximum(sums[:, 1], 1)
    return np.where(shown, np.maximum(1 - square / config.colour_tolerance**2, 0) ** 2, 0)


class _Points:
    """The surface points that a frame's pixels show, in the order of `seen`, and what is near them."""

    def __init__(self, gbuffer: GBuffer):
        self.seen = gbuffer.visible
        self.tri_id = gbuffer.tri_id[self.seen]
        self.bary = gbuffer.bary[self.seen]
        self.object_id = gbuffer.object_id[self.seen]
        self.near = Nearby(gbuffer.object_id, self.seen)


class _Curvature:
    """Blurs a frame's own pixels as a bilinear sample between pixels would have, but without moving them.

    Bilinear weights (1 - f, f) damp the waves along an axis of angular frequency w by sqrt(1 - 2 f (1 - f)
    (1 - cos w)), and shift them. The symmetric weights (a, 1 - 2a, a) damp them by 1 - 2a (1 - cos w) and do
    not. Both agree for waves of 4 pixels with a = (1 - sqrt(1 - 2 f (1 - f))) / 2, and nearly for all longer.
    """

    def __init__(self, frame: _Frame, seen: Bool[np.ndarray, "H W"]):
        # At the edge of a surface the pixel stays as it is: its neighbours show something else.
        inside = (frame.connected[seen])[:, None]
        across = _second_difference(frame.picture.astype(np.float64), axis=1)
        down = _second_difference(frame.picture.astype(np.float64), axis=0)
        self._across, self._down = across[seen] * inside, down[seen] * inside
        self._both = _second_difference(across, axis=0)[seen] * inside

    def blur(
        self, which: Bool[np.ndarray, "N"], xy: Float64[np.ndarray, "M 2"]
    ) -> Float64[np.ndarray, "M 3"]:
        """What blurring like a sample at `xy` adds to each of those pixels."""
        fraction = xy - 0.5 - np.floor(xy - 0.5)
        a = (1 - np.sqrt(1 - 2 * fraction * (1 - fraction))) / 2
        ax, ay = a[:, :1], a[:, 1:]
        return ax * self._across[which] + ay * self._down[which] + ax * ay * self._both[which]


def _second_difference(picture: Float64[np.ndarray, "H W 3"], axis: int) -> Float64[np.ndarray, "H W 3"]:
    padding = [(1, 1) if axis == other else (0, 0) for other in (0, 1, 2)]
    return np.diff(np.pad(picture, padding, mode="edge"), n=2, axis=axis)
