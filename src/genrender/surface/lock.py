"""Surface lock: every surface point takes its detail from the finished frame that sees it best.

A mean over frames steadies a clip and blurs it. Here some frames that cover the surface are views; at each
point the one that sees it largest wins, a choice that depends on the point alone (borders between winners are
softened by a pixel of each frame), so that all frames show the same there. What differs from the views slowly
across an object is light and shade, and stays the frame's own.

Example:
    >>> lock = SurfaceLock(GeometrySightings(clip.tracker), {view: frames[view] for view in views})
    >>> steady = list(locked_frames(frames, lock))
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.flow import erode
from genrender.surface.light import LightConfig, light_in
from genrender.surface.nearby import Nearby, box_sum
from genrender.surface.resample import sample_cubic
from genrender.surface.sightings import Sightings
from genrender.surface.steady import FrameLight, steady_change
from genrender.surface.tracking import sample_bilinear

# Views lie in memory, and every frame looks at all of them.
MAX_VIEWS = 8
# How much inverse depth may change from pixel to pixel, relative to itself, whatever the slope around: at a
# crease of the surface it bends.
_CREASE_TOLERANCE = 4e-3
# Views that count for less at a point, beside the one that counts most, are not sampled.
_LEAST_SHARE = 0.01
# The view that shows most surface is preferred to the next by so much, and so on: where views see a point
# equally well one of them wins, instead of a mean of all, and there are fewer borders.
_PREFERENCE = 0.85
# Pixels on either side over which winners are mixed at their borders.
_SOFT_PX = 1


@dataclass(frozen=True)
class LockConfig:
    """How views are weighed and what is light; docs/lock.md has the figures behind it.

    Attributes:
        power: views weigh as their size of a point to this power: high lets the largest win.
        edge: where a surface ends or is hidden, a frame keeps its own pixels over this share of the picture's
            longer side, and views lose their weight over twice as much: outlines are theirs alone.
        light: what counts as light.
    """

    power: float = 24.0
    edge: float = 1 / 85
    light: LightConfig = field(default_factory=LightConfig)

    def edge_px(self, gbuffer: GBuffer) -> int:
        """The edge in a frame's pixels."""
        return max(round(self.edge * max(gbuffer.height, gbuffer.width)), 2)


@dataclass(frozen=True, eq=False)
class _View:
    """A view: its picture, where its surfaces go on, and from 0 to 1 how far away their edges are."""

    picture: Float32[np.ndarray, "H W 3"]
    connected: Bool[np.ndarray, "H W"]
    inside: Float32[np.ndarray, "H W"]


class SurfaceLock:
    """The views of a clip, and frames locked to them.

    Args:
        sightings: where the views see a frame's surface points.
        views: finished frames by their number, RGB in [0, 1]. They are all that is kept in memory.
        config: see there.

    Raises:
        ConfigError: no views, or a picture's size is not that of its G-buffer.
    """

    def __init__(
        self,
        sightings: Sightings,
        views: Mapping[int, Float32[np.ndarray, "H W 3"]],
        config: LockConfig = LockConfig(),
    ):
        if not views:
            raise ConfigError("the lock got no views, expected at least one finished frame")
        self.sightings, self.config = sightings, config
        self._views: dict[int, _View] = {}
        by_surface = sorted(views, key=lambda frame: -int(sightings.gbuffers[frame].visible.sum()))
        for frame in by_surface:
            picture, gbuffer = views[frame], sightings.gbuffers[frame]
            _check_size(picture, gbuffer, frame)
            connected = connected_pixels(gbuffer)
            inside = distance_inside(connected, 2 * config.edge_px(gbuffer))
            self._views[frame] = _View(np.array(picture), connected, inside)
        # Views that are lit differently would meet at seams: each loses what tells its light from the mean.
        relit = {}
        for frame, view in self._views.items():
            mean, known = self.baked(frame, power=1.0)
            light = self.light_of(frame, view.picture - mean, known)
            relit[frame] = replace(view, picture=(view.picture - light).astype(np.float32))
        self._views = relit

    def baked(
        self, frame: int, power: float | None = None
    ) -> tuple[Float64[np.ndarray, "H W 3"], Float64[np.ndarray, "H W"]]:
        """What the views say about a frame's pixels.

        Args:
            frame: its number.
            power: see `LockConfig`; None: the configured one.

        Returns:
            Colours, and how well they are known, from 0, no view shows the point, to 1.
        """
        gbuffer = self.sightings.gbuffers[frame]
        pixels = np.flatnonzero(gbuffer.visible)
        inside = np.zeros((len(self._views), len(pixels)))
        quality, places = np.zeros_like(inside), np.zeros((*inside.shape, 2))
        for row, (number, view) in enumerate(self._views.items()):
            places[row], shown = self.sightings.find(frame, pixels, number)
            inside[row] = sample_bilinear(view.inside[..., None], places[row])[:, 0] * shown
            # Near an edge a picture shows outlines and a bit of what lies behind: another view is better.
            quality[row] = _PREFERENCE**row * self.sightings.size(frame, pixels, number) * inside[row] ** 0.5
        best = np.maximum(quality.max(axis=0), 1e-30)
        weights = (quality / best) ** (self.config.power if power is None else power)
        weights = _softened(weights, gbuffer, pixels) * (inside > 0)
        weights[weights < _LEAST_SHARE * weights.max(axis=0)] = 0
        total, share = np.zeros((len(pixels), 3)), weights.sum(axis=0)
        for weight, xy, view in zip(weights, places, self._views.values(), strict=True):
            used = weight > 0
            samples = sample_cubic(view.picture, xy[used], view.connected)
            total[used] += weight[used, None] * samples
        # One pixel away from an edge a view knows nothing of a point, two pixels away it may be all there is.
        edge_px = self.config.edge_px(gbuffer)
        colours, known = np.zeros((*gbuffer.depth.shape, 3)), np.zeros(gbuffer.depth.shape)
        colours.reshape(-1, 3)[pixels] = total / np.maximum(share, 1e-30)[:, None]
        known.ravel()[pixels] = np.where(share > 0, np.clip(2 * edge_px * inside.max(axis=0) - 1, 0, 1), 0)
        return _filled(colours, known, distance_inside(connected_pixels(gbuffer), edge_px), edge_px)

    def light_of(
        self,
        frame: int,
        difference: Float64[np.ndarray, "H W 3"],
        known: Float64[np.ndarray, "H W"],
    ) -> Float64[np.ndarray, "H W 3"]:
        """What of a frame's difference from the views is light; 0 where nothing is known."""
        config, gbuffer = self.config.light, self.sightings.gbuffers[frame]
        chosen = known > 0
        near, light = Nearby(gbuffer.object_id, chosen), np.zeros_like(difference)
        light[chosen] = light_in(
            difference[chosen], known[chosen], near, config.radius_px(gbuffer), config.edge
        )
        return light


@dataclass(frozen=True, eq=False)
class _Locked:
    """A frame in the window: as it came, what locking it alone changes, and its light."""

    picture: Float32[np.ndarray, "H W 3"]
    change: Float32[np.ndarray, "H W 3"]
    known: Float32[np.ndarray, "H W"]
    light: FrameLight


def locked_frames(
    frames: Iterable[Float32[np.ndarray, "H W 3"]],
    lock: SurfaceLock,
    strength: float = 1.0,
    left_alone: Collection[int] = (),
    wanted: range | None = None,
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """Yields the frames of a clip, locked, with light that is steady over time.

    Background stays as it is, to the bit. Only the frames in the light's reach are held.

    Args:
        frames: RGB in [0, 1], one per G-buffer, or as many as `needed_frames` says, in order; each is copied
            when it is read.
        lock: see there.
        strength: 0 yields the frames to the bit, 1 the locked ones, and in between mixtures.
        left_alone: frames that are none, as those that a safety checker blackened; looked at after each frame
            was read.
        wanted: consecutive frames that are yielded; None: all.

    Raises:
        ConfigError: strength is out of range; while frames are read: a frame's size is not that of its
            G-buffer, or there are fewer or more frames than needed.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"the lock's strength is {strength:g}, expected 0 to 1")
    wanted = range(len(lock.sightings.gbuffers)) if wanted is None else wanted
    return _stream(frames, lock, float(strength), left_alone, wanted)


def needed_frames(
    wanted: range, n_frames: int, strength: float = 1.0, config: LockConfig = LockConfig()
) -> range:
    """The frames that `locked_frames` looks at for some: those whose light steadies theirs are among them.

    Args:
        wanted: consecutive frames.
        n_frames: of the clip.
        strength: as there.
        config: of the lock.
    """
    reach = config.light.frames if strength > 0 else 0
    return range(max(wanted.start - reach, 0), min(wanted.stop + reach, n_frames))


def _stream(
    frames: Iterable[Float32[np.ndarray, "H W 3"]],
    lock: SurfaceLock,
    strength: float,
    left_alone: Collection[int],
    wanted: range,
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    needed = needed_frames(wanted, len(lock.sightings.gbuffers), strength, lock.config)
    reach = lock.config.light.frames if strength > 0 else 0
    source, coming = iter(frames), needed.start
    window: dict[int, _Locked] = {}
    for j in wanted:
        while coming < min(j + reach + 1, needed.stop):
            picture = next(source, None)
            if picture is None:
                raise ConfigError(
                    f"the lock got {coming - needed.start} frames, expected {len(needed)}, one per G-buffer"
                )
            _check_size(picture, lock.sightings.gbuffers[coming], coming)
            window[coming] = _lock_alone(lock, coming, np.array(picture), strength, left_alone)
            coming += 1
        window.pop(j - reach - 1, None)
        own = window[j]
        if not own.known.any():
            yield own.picture
            continue
        change = own.change
        if reach:
            lights = {frame: locked.light for frame, locked in window.items()}
            steadier = steady_change(j, lights, lock.sightings, lock.config.light)
            change = change + own.known[..., None] * steadier
        yield np.clip(own.picture + strength * change, 0, 1).astype(np.float32)
    if next(source, None) is not None:
        raise ConfigError(f"the lock got more than {len(needed)} frames, expected one per G-buffer")


def _lock_alone(
    lock: SurfaceLock,
    frame: int,
    picture: Float32[np.ndarray, "H W 3"],
    strength: float,
    left_alone: Collection[int],
) -> _Locked:
    nothing = np.zeros(picture.shape, np.float32)
    if strength == 0 or frame in left_alone:
        known = np.zeros(picture.shape[:2], np.float32)
        return _Locked(picture, nothing, known, FrameLight(nothing, nothing, known > 0))
    colours, known = lock.baked(frame)
    difference = picture - colours
    light = lock.light_of(frame, difference, known)
    change = known[..., None] * (light - difference)
    of_frame = FrameLight(light.astype(np.float32), (colours + light).astype(np.float32), known > 0)
    return _Locked(picture, change.astype(np.float32), known.astype(np.float32), of_frame)


def _check_size(picture: Float[np.ndarray, "H W 3"], gbuffer: GBuffer, frame: int) -> None:
    """Raises ConfigError for a picture that is not as large as its G-buffer."""
    if picture.shape[:2] != gbuffer.depth.shape:
        raise ConfigError(
            f"frame {frame} is {picture.shape[1]}x{picture.shape[0]} pixels, but its G-buffer is "
            f"{gbuffer.width}x{gbuffer.height}: lock frames of the size they were made with"
        )


def _softened(
    weights: Float64[np.ndarray, "K N"], gbuffer: GBuffer, pixels: Int64[np.ndarray, "N"]
) -> Float64[np.ndarray, "K N"]:
    """Weights of views, averaged over the pixels around: borders between winners are no dotted lines."""
    maps = np.zeros((*gbuffer.depth.shape, len(weights)))
    maps.reshape(-1, len(weights))[pixels] = (weights / np.maximum(weights.sum(axis=0), 1e-30)).T
    return box_sum(maps, _SOFT_PX).reshape(-1, len(weights))[pixels].T.copy()


def _filled(
    colours: Float64[np.ndarray, "H W 3"],
    known: Float64[np.ndarray, "H W"],
    inside: Float32[np.ndarray, "H W"],
    radius_px: int,
) -> tuple[Float64[np.ndarray, "H W 3"], Float64[np.ndarray, "H W"]]:
    """Thin gaps, seen by views at their edges only, closed by what is known around them.

    A frame's own pixels there would flicker in the midst of what does not. Towards the frame's own edges,
    where its pixels mix surfaces, less and less is known.
    """
    sums = box_sum(np.concatenate([colours * known[..., None], known[..., None]], axis=2), radius_px)
    around = sums[..., 3] / (2 * radius_px + 1) ** 2
    mean = sums[..., :3] / np.maximum(sums[..., 3:], 1e-9)
    filled = known[..., None] * colours + (1 - known[..., None]) * mean
    return filled, inside * np.maximum(known, np.clip(2 * around, 0, 1))


def connected_pixels(gbuffer: GBuffer) -> Bool[np.ndarray, "H W"]:
    """Pixels whose four neighbours show the same surface: the same object without a jump in depth.

    A crease is no edge: from one pixel to the next, inverse depth may go on as it does on either side.
    """
    inverse = np.where(gbuffer.visible, 1 / gbuffer.depth.astype(np.float64), 0)
    connected = gbuffer.visible.copy()
    for axis in (0, 1):
        along, ids = (each.swapaxes(0, axis) for each in (inverse, gbuffer.object_id))
        step, same = np.diff(along, axis=0), ids[1:] == ids[:-1]
        steps = np.pad(np.where(same, np.abs(step), 0), ((1, 1), (0, 0)))
        explained = 1.5 * np.maximum(steps[:-2], steps[2:])
        explained += _CREASE_TOLERANCE * np.maximum(along[1:], along[:-1])
        broken = np.pad(~same | (np.abs(step) > explained), ((1, 1), (0, 0)))
        connected &= ~(broken[1:] | broken[:-1]).swapaxes(0, axis)
    return connected


def distance_inside(connected: Bool[np.ndarray, "H W"], edge_px: int) -> Float32[np.ndarray, "H W"]:
    """From 0 at an edge to 1 where the next one is `edge_px` pixels away."""
    inside = np.zeros(connected.shape, np.float32)
    for _ in range(edge_px):
        inside += connected
        connected = erode(connected, 1)
    return inside / edge_px
