"""Surface lock: every surface point takes its detail from the finished frame that sees it best.

A mean over frames steadies a clip and blurs it. Here some frames that cover the surface are views; at each
point the one that sees it largest wins, a choice that depends on the point alone, so that all frames show the
same there. What differs from the views slowly across an object is light and shade, and stays the frame's own.

Example:
    >>> lock = SurfaceLock(GeometrySightings(clip.tracker), {view: frames[view] for view in views})
    >>> steady = [lock.locked(index, frame, strength=1.0) for index, frame in enumerate(frames)]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.light import LightConfig, Regions
from genrender.surface.nearby import box_sum
from genrender.surface.resample import sample_catmull_rom
from genrender.surface.sightings import Sightings
from genrender.surface.tracking import sample_bilinear

# How much inverse depth may change from pixel to pixel, relative to itself, whatever the slope around: at a
# crease of the surface it bends.
_CREASE_TOLERANCE = 4e-3


@dataclass(frozen=True)
class LockConfig:
    """How views are weighed and what is light; docs/lock.md has the figures behind it.

    Attributes:
        power: views weigh as their size of a point to this power: high lets the largest win.
        edge_px: a view's weight falls over so many pixels towards where its surface ends or is hidden.
        light: what counts as light.
    """

    power: float = 8.0
    edge_px: int = 4
    light: LightConfig = field(default_factory=LightConfig)


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
        self._sightings, self._config = sightings, config
        self._views: dict[int, _View] = {}
        for frame, picture in views.items():
            gbuffer = sightings.gbuffers[frame]
            check_size(picture, gbuffer, frame)
            connected = connected_pixels(gbuffer)
            inside = distance_inside(connected, config.edge_px)
            self._views[frame] = _View(np.array(picture), connected, inside)
        # Views that are lit differently would meet at seams: each loses what tells its light from the mean.
        relit = {}
        for frame, view in self._views.items():
            mean, known = self.baked(frame, power=1.0)
            light = self.light_of(frame, view.picture - mean, known)
            relit[frame] = replace(view, picture=(view.picture - light).astype(np.float32))
        self._views = relit

    def locked(
        self, frame: int, picture: Float32[np.ndarray, "H W 3"], strength: float = 1.0
    ) -> Float32[np.ndarray, "H W 3"]:
        """A frame whose surfaces show the views' detail under the frame's own light.

        Args:
            frame: its number.
            picture: RGB in [0, 1].
            strength: 0 gives the frame back to the bit, 1 the locked one, and in between a mixture.
        """
        check_size(picture, self._sightings.gbuffers[frame], frame)
        if strength == 0:
            return picture
        colours, known = self.baked(frame)
        difference = picture.astype(np.float64) - colours
        change = known[..., None] * (self.light_of(frame, difference, known) - difference)
        return np.clip(picture + strength * change, 0, 1).astype(np.float32)

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
        gbuffer = self._sightings.gbuffers[frame]
        power = self._config.power if power is None else power
        pixels = np.flatnonzero(gbuffer.visible)
        sizes = np.stack([self._sightings.size(frame, pixels, view) for view in self._views])
        largest = np.maximum(sizes.max(axis=0), 1e-30)
        total, share, known = np.zeros((len(pixels), 3)), np.zeros(len(pixels)), np.zeros(len(pixels))
        for size, (number, view) in zip(sizes, self._views.items(), strict=True):
            xy, shown = self._sightings.find(frame, pixels, number)
            of_view = np.flatnonzero(shown)
            xy = xy[of_view]
            inside = sample_bilinear(view.inside[..., None], xy)[:, 0]
            # Near an edge a picture shows outlines and a bit of what lies behind: another view is better.
            weight = (size[of_view] / largest[of_view]) ** power * inside**4
            total[of_view] += weight[:, None] * sample_catmull_rom(view.picture, xy, view.connected)
            share[of_view] += weight
            known[of_view] = np.maximum(known[of_view], inside)
        known = np.where(share > 0, np.clip(self._config.edge_px * known - 1, 0, 1), 0)
        colours, how_known = np.zeros((*gbuffer.depth.shape, 3)), np.zeros(gbuffer.depth.shape)
        colours.reshape(-1, 3)[pixels] = total / np.maximum(share, 1e-30)[:, None]
        how_known.ravel()[pixels] = known
        return _filled(colours, how_known, connected_pixels(gbuffer), self._config.edge_px)

    def light_of(
        self,
        frame: int,
        difference: Float64[np.ndarray, "H W 3"],
        known: Float64[np.ndarray, "H W"],
    ) -> Float64[np.ndarray, "H W 3"]:
        """What of a frame's difference from the views is light; 0 where nothing is known."""
        light, gbuffer = self._config.light, self._sightings.gbuffers[frame]
        radius_px = round(light.radius * max(gbuffer.height, gbuffer.width))
        return Regions(gbuffer.object_id, known).smooth(difference, radius_px, light.edge)


def check_size(picture: Float[np.ndarray, "H W 3"], gbuffer: GBuffer, frame: int) -> None:
    """Raises ConfigError for a picture that is not as large as its G-buffer."""
    if picture.shape[:2] != gbuffer.depth.shape:
        raise ConfigError(
            f"frame {frame} is {picture.shape[1]}x{picture.shape[0]} pixels, but its G-buffer is "
            f"{gbuffer.width}x{gbuffer.height}: lock frames of the size they were made with"
        )


def _filled(
    colours: Float64[np.ndarray, "H W 3"],
    known: Float64[np.ndarray, "H W"],
    connected: Bool[np.ndarray, "H W"],
    radius_px: int,
) -> tuple[Float64[np.ndarray, "H W 3"], Float64[np.ndarray, "H W"]]:
    """Thin gaps, seen by views at their edges only, closed by what is known around them.

    A frame's own pixels there would flicker in the midst of what does not. At the frame's own edges, where
    its pixels mix surfaces, nothing is known.
    """
    sums = box_sum(np.concatenate([colours * known[..., None], known[..., None]], axis=2), radius_px // 2)
    around = sums[..., 3] / (2 * (radius_px // 2) + 1) ** 2
    mean = sums[..., :3] / np.maximum(sums[..., 3:], 1e-9)
    filled = known[..., None] * colours + (1 - known[..., None]) * mean
    return filled, connected * np.maximum(known, np.clip(2 * around, 0, 1))


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
        for axis in (0, 1):
            padding = [(1, 1) if axis == other else (0, 0) for other in (0, 1)]
            padded = np.pad(connected, padding, constant_values=True)
            n = connected.shape[axis]
            before, after = (padded.take(range(start, start + n), axis) for start in (0, 2))
            connected = before & connected & after
    return inside / edge_px
