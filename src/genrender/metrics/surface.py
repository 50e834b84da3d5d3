"""Surface error: does a point of a surface keep its colour from frame to frame?

The correspondence is exact, from geometry; nothing is estimated from the pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int32

from genrender.errors import ConfigError
from genrender.gbuffer.control import shows_own_object
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.camera import Camera
from genrender.shots.clip import Clip
from genrender.storage.lazy_frames import Pictures
from genrender.surface.tracking import (
    check_triangles,
    inverse_depth_and_tolerance,
    locate_points,
    sample_bilinear,
    shows_points,
)

# A pixel this close to the background may carry its colour: pictures are decoded from 8x coarser latents.
EROSION_PX = 2
N_QUARTERS = 4


@dataclass(frozen=True)
class SurfaceFlow:
    """Where another frame shows what each pixel of a frame shows.

    Attributes:
        xy: pixel coordinates in the other frame, x right, y down, pixel centres at +0.5; 0 where not visible.
        visible: True where the other frame shows the point, so that all four pixels around `xy` belong to it.
    """

    xy: Float64[np.ndarray, "H W 2"]
    visible: Bool[np.ndarray, "H W"]


@dataclass(frozen=True)
class SurfaceErrors:
    """Mean absolute RGB differences between frames of a clip, in [0, 1]; None: nothing to compare.

    Attributes:
        surface: of all pixels that show the same surface point.
        foreground: of those on the scene's own objects.
        background: of those on a backdrop, and of pixels that show nothing in both frames, which are compared
            where they are: without a backdrop the background stays put on the screen.
        quarters: `surface`, of pairs whose later frame lies in each quarter of the clip.
    """

    surface: float | None
    foreground: float | None
    background: float | None
    quarters: tuple[float | None, ...] = (None,) * N_QUARTERS


def surface_error(
    frames: Pictures,
    gbuffers: Sequence[GBuffer],
    tris: Int32[np.ndarray, "T 3"],
    verts: Sequence[Float[np.ndarray, "V 3"]],
    cameras: Sequence[Camera],
    stride: int | Literal["first"] = 1,
) -> float:
    """Mean absolute RGB difference of pixels that show the same surface point in frames `stride` apart.

    Each pixel of frame j whose surface point frame j - stride shows too is compared with the colour there,
    sampled bilinearly. Pixels near the background are left out in both frames.

    Args:
        frames: RGB in [0, 1].
        gbuffers: what each frame shows; with triangles, so not read from image files.
        tris: the scene's triangles.
        verts: world-space vertices at each frame's time.
        cameras: each frame's camera.
        stride: how many frames lie between the two of a pair, from 1; `first` compares all with frame 0.

    Returns:
        The mean over the pixels of all pairs and over the three channels, in [0, 1].

    Raises:
        ConfigError: the arguments differ in length, no pair has that stride, a G-buffer has no triangles, or
            no surface point is visible in both frames of any pair.
    """
    if not _pairs(len(frames), stride):
        n_frames = len(frames)
        raise ConfigError(f"stride is {stride}, expected 1 to {n_frames - 1} for {n_frames} frames")
    error = surface_errors(frames, gbuffers, tris, verts, cameras, stride).surface
    if error is None:
        raise ConfigError(
            f"no surface point is visible in two frames that lie {stride} apart, so there is nothing to "
            "compare; use a smaller stride or larger pictures"
        )
    return error


def surface_errors(
    frames: Pictures,
    gbuffers: Sequence[GBuffer],
    tris: Int32[np.ndarray, "T 3"],
    verts: Sequence[Float[np.ndarray, "V 3"]],
    cameras: Sequence[Camera],
    stride: int | Literal["first"] = 1,
) -> SurfaceErrors:
    """`surface_error` with foreground and background apart; None where there is nothing to compare.

    Raises:
        ConfigError: the arguments differ in length, or a G-buffer has no triangles.
    """
    n_frames = len(frames)
    if not n_frames == len(gbuffers) == len(verts) == len(cameras):
        raise ConfigError(
            f"surface error needs one G-buffer, vertex array and camera per frame; got {n_frames} frames, "
            f"{len(gbuffers)} G-buffers, {len(verts)} vertex arrays, {len(cameras)} cameras"
        )
    foreground, backdrop, nothing = _Mean(), _Mean(), _Mean()
    quarters = [_Mean() for _ in range(N_QUARTERS)]
    for i, j in _pairs(n_frames, stride):
        before, after = frames[i], frames[j]
        flow = correspond(gbuffers[j], tris, verts[i], cameras[i], gbuffers[i])
        difference = np.abs(color_change(before, after, flow)).mean(axis=1)
        quarters[j * N_QUARTERS // n_frames].add(difference)
        is_own = shows_own_object(gbuffers[j])[flow.visible]
        foreground.add(difference[is_own])
        backdrop.add(difference[~is_own])
        empty = erode(~gbuffers[i].visible & ~gbuffers[j].visible, EROSION_PX)
        nothing.add(np.abs(after[empty].astype(np.float64) - before[empty]).mean(axis=1))
    return SurfaceErrors(
        (foreground + backdrop).value,
        foreground.value,
        (backdrop + nothing).value,
        tuple(quarter.value for quarter in quarters),
    )


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


def _pairs(n_frames: int, stride: int | Literal["first"]) -> list[tuple[int, int]]:
    """The frames that are compared; none where the clip is too short."""
    if stride == "first":
        return [(0, j) for j in range(1, n_frames)]
    return [(j - stride, j) for j in range(stride, n_frames)] if stride >= 1 else []


def color_change(
    before: Float[np.ndarray, "H W 3"], after: Float[np.ndarray, "H W 3"], flow: SurfaceFlow
) -> Float64[np.ndarray, "N 3"]:
    """How each surface point that both frames show changed its colour; `flow` leads back from `after`."""
    return after[flow.visible].astype(np.float64) - sample_bilinear(before, flow.xy[flow.visible])


def correspond(
    gbuffer_a: GBuffer,
    tris: Int32[np.ndarray, "T 3"],
    verts_b: Float[np.ndarray, "V 3"],
    camera_b: Camera,
    gbuffer_b: GBuffer,
) -> SurfaceFlow:
    """Where frame b shows the surface points that frame a shows.

    A point counts as visible in b if all four pixels around its projection show the same object at the
    point's depth, up to what the surface's slope explains, and if neither end lies within `EROSION_PX` of
    background.

    Args:
        gbuffer_a: the frame whose pixels are looked for.
        tris: the scene's triangles.
        verts_b: world-space vertices at frame b's time.
        camera_b: frame b's camera.
        gbuffer_b: what frame b shows.

    Raises:
        ConfigError: `gbuffer_a` was read from an image file and knows no triangles.
    """
    check_triangles(gbuffer_a)
    height, width = gbuffer_b.depth.shape
    eligible = erode(gbuffer_a.visible, EROSION_PX)

    corners = verts_b[tris[gbuffer_a.tri_id[eligible]]].astype(np.float64)
    position, depth = locate_points(corners, gbuffer_a.bary[eligible], camera_b, height, width)
    shown = shows_points(
        gbuffer_b,
        inverse_depth_and_tolerance(gbuffer_b),
        erode(gbuffer_b.visible, EROSION_PX),
        position,
        depth,
        gbuffer_a.object_id[eligible],
    )

    xy = np.zeros((*gbuffer_a.depth.shape, 2))
    visible = np.zeros(gbuffer_a.depth.shape, bool)
    rows, columns = (index[shown] for index in np.nonzero(eligible))
    xy[rows, columns] = position[shown]
    visible[rows, columns] = True
    return SurfaceFlow(xy, visible)


def follow(clip: Clip, frame: int, other: int) -> SurfaceFlow:
    """Where frame `other` of a clip shows the surface points that `frame` shows: see `correspond`."""
    gbuffers = clip.gbuffers
    return correspond(gbuffers[frame], clip.tris, clip.verts[other], clip.cameras[other], gbuffers[other])


def erode(mask: Bool[np.ndarray, "H W"], radius_px: int) -> Bool[np.ndarray, "H W"]:
    """What is left of a mask when everything within `radius_px` (in a square) of its outside is taken away.

    What lies beyond the picture counts as inside: a surface that leaves the picture has no edge there.
    """
    for axis in (0, 1):
        padding = [(radius_px, radius_px) if axis == other else (0, 0) for other in (0, 1)]
        padded = np.pad(mask, padding, constant_values=True)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius_px + 1, axis=axis)
        mask = np.all(windows, axis=-1)
    return mask
