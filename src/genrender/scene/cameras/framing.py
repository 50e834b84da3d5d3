"""Framing: cameras placed so that a whole clip fills the picture."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int

from genrender.scene.camera import Camera
from genrender.scene.scene import Scene

Times = Sequence[float | int] | Float[np.ndarray, "F"]

FRAMING_YFOV_DEG = 40.0
SENSOR_HEIGHT_MM = 24.0  # of the 36 x 24 mm that focal lengths are commonly quoted for
MARGIN = 0.06  # of the picture's width or height, on either side
NARROWER = np.linspace(0.05, 1, 20)


@dataclass(frozen=True)
class Lens:
    """What a camera that is placed automatically looks through.

    Attributes:
        yfov_deg: vertical field of view in degrees. An orthographic camera stands where one with this field
            of view would: its depths, and so its depth pictures, are alike.
        is_orthographic: sight lines are parallel.
    """

    yfov_deg: float = FRAMING_YFOV_DEG
    is_orthographic: bool = False

    @property
    def tangent(self) -> float:
        """Half the picture's height at distance 1."""
        return float(np.tan(np.deg2rad(self.yfov_deg) / 2))

    def ymag(self, distance: float) -> float | None:
        """Half the height of the view of a camera at this distance; None for a perspective one."""
        return self.tangent * distance if self.is_orthographic else None


def yfov_of_focal_length(focal_mm: float) -> float:
    """Vertical field of view, in degrees, of a lens in front of a sensor 24 mm high."""
    return float(np.rad2deg(2 * np.arctan(SENSOR_HEIGHT_MM / 2 / focal_mm)))


@dataclass(frozen=True)
class Clip:
    """The moments of a scene that a camera must show.

    Attributes:
        animation: index, or None for the rest pose.
        times_s: the frames' times.
    """

    scene: Scene
    animation: int | None
    times_s: tuple[float, ...]

    @cached_property
    def used(self) -> Int[np.ndarray, "U"] | slice:
        """Which vertices belong to a triangle of the scene's own: no camera is placed to show a backdrop."""
        is_used = np.zeros(len(self.scene.rest_verts), bool)
        is_used[self.scene.tris[~self.scene.is_backdrop]] = True
        return slice(None) if is_used.all() else np.flatnonzero(is_used)

    def frames(self) -> Iterator[tuple[float, Float[np.ndarray, "V 3"]]]:
        """Times and the vertices in use, frame after frame: a clip never lies in memory."""
        verts = None
        for time_s in self.times_s:
            if verts is None or self.animation is not None:
                verts = self.scene.evaluate(time_s, self.animation)[self.used]
            yield time_s, verts

    def bounds(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Lower and upper corner of the box around all frames."""
        lower, upper = np.full(3, np.inf), np.full(3, -np.inf)
        for _, verts in self.frames():
            lower = np.minimum(lower, verts.min(axis=0))
            upper = np.maximum(upper, verts.max(axis=0))
            if self.animation is None:
                break
        return lower, upper


def direction(azimuth_deg: float, elevation_deg: float) -> Float64[np.ndarray, "3"]:
    """Unit vector from a subject to its viewer. Azimuth 0 is +Z, where glTF models face, and 90 is +X."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    return np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )


def fit_static(clip: Clip, back: Float64[np.ndarray, "3"], aspect: float, lens: Lens = Lens()) -> Camera:
    """The nearest camera that looks along -`back` and holds all frames of a clip, centred with a margin.

    A point is inside the picture if it lies on the right side of four planes through the eye. Their slopes
    are given, so the farthest point along each normal places the plane, and two opposite planes the eye
    between them: running maxima over the clip are all that is needed. Where the picture is roomier than the
    clip, the planes of a narrower picture, just filled, say where the middle is. Orthographic planes are
    parallel: how far apart they are tells the size of the view instead.

    Args:
        back: direction from the scene towards the camera.
        aspect: width / height of the picture.
    """
    rotation = Camera.look_at(np.asarray(back, np.float64), np.zeros(3)).world_from_camera[:3, :3]
    slopes = np.outer(_tangents(aspect, lens), NARROWER)
    farthest = np.full((2, 2, len(NARROWER)), -np.inf)  # axis; right or left, top or bottom; slope
    nearest_z = -np.inf
    for verts in _vertices(clip):
        local = verts @ rotation
        backwards = np.ascontiguousarray(local[:, 2])
        for axis in (0, 1):
            sideways = np.ascontiguousarray(local[:, axis])
            leaning = slopes[axis] * (not lens.is_orthographic)
            planes = [_farthest(backwards, sideways, leaning), _farthest(backwards, -sideways, leaning)]
            farthest[axis] = np.maximum(farthest[axis], planes)
        nearest_z = max(nearest_z, float(local[:, 2].max()))
    eye_z = farthest.sum(axis=1) / (2 * slopes)
    middle = (farthest[:, 0] - farthest[:, 1]) / 2
    z = float(eye_z[:, -1].max())
    if lens.is_orthographic:
        distance = max(z, _least_distance(clip))
        x, y = middle[:, -1]
        z = nearest_z + distance
    else:
        distance = z = max(z, nearest_z + _least_distance(clip))
        # The narrower the picture, the farther the eye: interpolation wants rising distances.
        x, y = (np.interp(z, eye_z[axis, ::-1], middle[axis, ::-1]) for axis in (0, 1))
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = rotation
    world_from_camera[:3, 3] = rotation @ np.array([x, y, z])
    return Camera(world_from_camera, lens.yfov_deg, lens.ymag(distance))


def _farthest(
    backwards: Float[np.ndarray, "V"], sideways: Float[np.ndarray, "V"], slopes: Float64[np.ndarray, "S"]
) -> Float[np.ndarray, "S"]:
    """The largest `backwards * slope + sideways` for each of the rising slopes.

    Over the slopes every point is a straight line. One that is below another at both ends is so in between:
    few points are left for all slopes.
    """
    first, last = backwards * slopes[0] + sideways, backwards * slopes[-1] + sideways
    best = np.argmax(first + last)
    rounding = 1e-12 * (np.abs(first).max() + np.abs(last).max() + np.abs(sideways).max())
    may_win = (first >= first[best] - rounding) | (last >= last[best] - rounding)
    return (backwards[may_win, None] * slopes + sideways[may_win, None]).max(axis=0)


@dataclass(frozen=True)
class View:
    """How a camera looks at a centre from whatever distance.

    Attributes:
        rotation: the camera's axes in the world, as columns.
        place: where it stands at distance 1, relative to the centre.
    """

    rotation: Float64[np.ndarray, "3 3"]
    place: Float64[np.ndarray, "3"]

    @staticmethod
    def towards_centre(back: Float64[np.ndarray, "3"]) -> "View":
        """The view of a camera that looks straight at the centre, from this direction."""
        return View(Camera.look_at(back, np.zeros(3)).world_from_camera[:3, :3], back)

    def camera(self, centre: Float64[np.ndarray, "3"], fit: "Fit", lens: Lens) -> Camera:
        """The camera at the distance of a fit."""
        world_from_camera = np.eye(4)
        world_from_camera[:3, :3] = self.rotation
        world_from_camera[:3, 3] = centre + fit.distance * self.place + fit.retreat * self.rotation[:, 2]
        return Camera(world_from_camera, lens.yfov_deg, lens.ymag(fit.distance))


@dataclass(frozen=True)
class Fit:
    """How far away a camera stands.

    Attributes:
        distance: from the centre; the size of an orthographic view as well.
        retreat: how far it steps back besides: an orthographic camera that sees no more of a deep scene may
            still have to stand in front of it.
    """

    distance: float
    retreat: float = 0.0


def fit_around(
    clip: Clip,
    centre: Float64[np.ndarray, "3"],
    view_at: Callable[[float], View],
    aspect: float,
    lens: Lens = Lens(),
) -> Fit:
    """The least distance from `centre` at which a camera with these views holds every frame.

    Args:
        view_at: the view at a time. The centre must lie in the picture.
    """
    tangents = np.array(_tangents(aspect, lens))
    distance = in_front = least_distance = _least_distance(clip)
    for time_s, verts in clip.frames():
        view = view_at(time_s)
        # Seen from distance d, a point lies at point - d * step in the camera's axes, and step[2] is near 1.
        point = (verts - centre) @ view.rotation
        step = view.place @ view.rotation
        depth_share, least_z = (0.0, 1.0) if lens.is_orthographic else (1.0, float(step[2]))
        for sense in (-1, 1):
            reach = sense * point[:, :2] + tangents * point[:, 2:] * depth_share
            needed = reach / (tangents * least_z + sense * step[:2])
            distance = max(distance, float(needed.max()))
        in_front = max(in_front, (float(point[:, 2].max()) + least_distance) / float(step[2]))
    if lens.is_orthographic:
        return Fit(distance, max(0.0, in_front - distance))
    return Fit(max(distance, in_front))


def _vertices(clip: Clip) -> Iterable[Float[np.ndarray, "V 3"]]:
    for _, verts in clip.frames():
        yield verts
        if clip.animation is None:
            return


def _tangents(aspect: float, lens: Lens) -> tuple[float, float]:
    """Half the picture's width and height at distance 1, less the margin."""
    tan_y = lens.tangent * (1 - 2 * MARGIN)
    return tan_y * aspect, tan_y


def _least_distance(clip: Clip) -> float:
    """Keeps the eye off a surface that it sees edge-on, and off a scene without any extent."""
    size = float(np.ptp(clip.scene.rest_verts[clip.used], axis=0).max())
    return 0.05 * size if size > 0 else 1.0


def as_clip(scene: Scene, animation: int | None, times_s: Times) -> Clip:
    """A clip of a scene; without any times, its first moment."""
    return Clip(scene, animation, tuple(float(t) for t in times_s) or (0.0,))
