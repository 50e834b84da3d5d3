"""Where a surface point lies in another frame, and whether that frame shows it: exact, from geometry.

Nothing is estimated from pictures. Metrics compare frames with this, and the `reproject` engine carries
features with it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64, Integer, Num

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.camera import Camera
from genrender.storage.bounded_cache import Recent

# Positions are rounded to this, far below what matters and above the rounding errors of float32 weights: a
# pixel that did not move is then compared with itself and not with a mixture of its neighbours.
SUBPIXEL = 1 / 256

# How much the inverse depth of one and the same surface point may differ, relative to itself.
DEPTH_TOLERANCE = 1e-3
# The same for pixels whose centres lie up to a pixel away.
LOOSE_DEPTH_TOLERANCE = 4e-3

# A clip's vertices are evaluated when they are looked at; a step's keyframes are looked at again and again.
_N_CACHED_FRAMES = 32
# Two float64 maps of every frame are kept, of as many as this holds.
_CACHED_MAPS_BYTES = 2**28


class SurfaceTracker:
    """Follows surface points through a clip.

    Args:
        gbuffers: what each frame shows, with triangles, so not read from image files.
        tris: the scene's triangles.
        verts: world-space vertices at each frame's time; a lazy sequence will do.
        cameras: each frame's camera.

    Raises:
        ConfigError: the sequences differ in length, or the first G-buffer knows no triangles.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        tris: Int32[np.ndarray, "T 3"],
        verts: Sequence[Float[np.ndarray, "V 3"]],
        cameras: Sequence[Camera],
    ):
        if not len(gbuffers) == len(verts) == len(cameras):
            raise ConfigError(
                f"got {len(gbuffers)} G-buffers, {len(verts)} vertex arrays and {len(cameras)} cameras, "
                "expected one of each per frame"
            )
        check_triangles(gbuffers[0])
        self.gbuffers = gbuffers
        self.tris = tris
        self._cameras = cameras
        self._verts = verts
        self._kept_verts = Recent[np.ndarray](_N_CACHED_FRAMES)
        n_maps = _CACHED_MAPS_BYTES // (16 * gbuffers[0].height * gbuffers[0].width)
        self._kept_tolerances = Recent[tuple[np.ndarray, np.ndarray]](min(max(n_maps, 1), _N_CACHED_FRAMES))

    def locate(
        self, tri_id: Integer[np.ndarray, "N"], bary: Float[np.ndarray, "N 2"], frame: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, "N"]]:
        """Where a frame's camera sees surface points, whatever hides them: `project` of `points`, but fast.

        Vertices are kept from call to call, as float32 around the camera.
        """
        verts, camera = self._seen_by_camera(frame)
        return self._project(between_corners(verts[self.tris[tri_id]], bary), camera, frame)

    def points(
        self, tri_id: Integer[np.ndarray, "N"], bary: Float[np.ndarray, "N 2"], frame: int
    ) -> Float64[np.ndarray, "N 3"]:
        """Where surface points lie in the world at a frame's time, whether it shows them or not.

        Args:
            tri_id: each point's triangle.
            bary: weights of its second and third corner.
            frame: whose time.
        """
        return between_corners(self._verts[frame][self.tris[tri_id]].astype(np.float64), bary)

    def project(
        self, points: Float64[np.ndarray, "N 3"], frame: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, "N"]]:
        """Where a frame's camera sees points of the world, whatever hides them.

        Returns:
            Pixel coordinates, x right, y down, pixel centres at +0.5, rounded to `SUBPIXEL`; and planar
            depth. A point that the picture cannot show, behind the camera or outside, has depth -1.
        """
        return self._project(points, self._cameras[frame], frame)

    def _project(
        self, points: Float64[np.ndarray, "N 3"], camera: Camera, frame: int
    ) -> tuple[Float64[np.ndarray, "N 2"], Float64[np.ndarray, "N"]]:
        height, width = self.gbuffers[frame].height, self.gbuffers[frame].width
        with np.errstate(divide="ignore", invalid="ignore"):  # points in the camera's own plane
            xy, depth = camera.project(points, height, width)
            xy = np.round(xy / SUBPIXEL) * SUBPIXEL
            inside = (depth > 0) & np.all((xy >= 0.5) & (xy <= (width - 0.5, height - 0.5)), axis=1)
        return np.where(inside[:, None], xy, 0.5), np.where(inside, depth, -1.0)

    def shows(
        self,
        xy: Float64[np.ndarray, "N 2"],
        depth: Float64[np.ndarray, "N"],
        object_id: Int32[np.ndarray, "N"],
        frame: int,
        eligible: Bool[np.ndarray, "H W"] | None = None,
    ) -> Bool[np.ndarray, "N"]:
        """Whether a frame shows surface points: all four pixels that a bilinear sample reads belong to them.

        A pixel belongs to a point if it shows the same object at the point's depth, up to what the surface's
        slope explains.

        Args:
            xy: where the points lie, see `project`.
            depth: their planar depth; negative where they cannot be shown.
            object_id: what they are part of.
            frame: which frame.
            eligible: pixels that may count; None: all that show a surface.
        """
        gbuffer = self.gbuffers[frame]
        inverse, tolerance = self._kept_tolerances.look_up(self._find_tolerances, frame)
        eligible = gbuffer.visible if eligible is None else eligible
        shown = depth > 0
        inverse_depth = 1 / np.where(shown, depth, 1.0)
        for row, column, weight in bilinear_taps(xy, gbuffer.height, gbuffer.width):
            belongs = (
                eligible[row, column]
                & (gbuffer.object_id[row, column] == object_id)
                & (np.abs(inverse[row, column] - inverse_depth) <= tolerance[row, column])
            )
            shown &= belongs | (weight == 0)
        return shown

    def may_show(
        self,
        xy: Float64[np.ndarray, "N 2"],
        depth: Float64[np.ndarray, "N"],
        object_id: Int32[np.ndarray, "N"],
        frame: int,
    ) -> Bool[np.ndarray, "N"]:
        """Whether any of the four pixels around shows the point: looser than `shows`, for who weighs edges
        himself. Where a surface bends, one pixel's depth tells little about the next.

        Args:
            xy: where the points lie, see `project`.
            depth: their planar depth; negative where they cannot be shown.
            object_id: what they are part of.
            frame: which frame.
        """
        gbuffer = self.gbuffers[frame]
        inverse, tolerance = self._kept_tolerances.look_up(self._find_tolerances, frame)
        inverse_depth = 1 / np.where(depth > 0, depth, 1.0)
        shown = np.zeros(len(xy), bool)
        for row, column, _ in bilinear_taps(xy, gbuffer.height, gbuffer.width):
            there = inverse[row, column]
            loose = np.maximum(2 * tolerance[row, column], LOOSE_DEPTH_TOLERANCE * there)
            same = gbuffer.object_id[row, column] == object_id
            shown |= same & (np.abs(there - inverse_depth) <= loose)
        return shown & (depth > 0)

    def _seen_by_camera(self, frame: int) -> tuple[Float32[np.ndarray, "V 3"], Camera]:
        """A frame's vertices in the world's axes around its camera, and that camera there: in these small
        numbers float32 is enough, as it is for the rays that made the G-buffer."""
        camera = self._cameras[frame]
        moved = camera.world_from_camera.copy()
        moved[:3, 3] = 0
        verts = self._kept_verts.look_up(self._around_camera, frame)
        return verts, replace(camera, world_from_camera=moved)

    def _around_camera(self, frame: int) -> Float32[np.ndarray, "V 3"]:
        return np.asarray(self._verts[frame] - self._cameras[frame].world_from_camera[:3, 3], np.float32)

    def _find_tolerances(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        return inverse_depth_and_tolerance(self.gbuffers[frame])

    def pixel_area(self, tri_id: Integer[np.ndarray, "N"], frame: int) -> Float64[np.ndarray, "N"]:
        """How many pixels of a frame the points' whole triangles cover, were nothing hidden or cut off.

        Between frames it tells where a surface is seen largest: nearest and most from the front.
        """
        unique, index = np.unique(tri_id, return_inverse=True)
        verts, camera = self._seen_by_camera(frame)
        corners = verts[self.tris[unique]].astype(np.float64)
        gbuffer = self.gbuffers[frame]
        xy, depth = camera.project(corners, gbuffer.height, gbuffer.width)
        first, second = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
        area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
        return np.where((depth > 0).all(1), area, 0)[index]

    def seen_at_verts(self, frame: int) -> Float64[np.ndarray, "V 2"]:
        """What tells how large a frame sees the surface around each vertex, see `pixels_per_area`.

        The first is how much the surface faces the camera: how far off the camera lies from the plane that
        touches it there, for parallel rays the cosine with them, on either side. It is a mean over the
        triangles that meet there, so that it has no steps where triangles meet, and vertices that lie at one
        place, as where a surface is cut for its texture, share it. The second is planar depth. Both stay what
        they are behind the camera, where a floor's corners may lie.
        """
        verts, camera = self._seen_by_camera(frame)
        back = camera.world_from_camera[:3, 2]
        first, second, third = (verts[self.tris[:, k]].astype(np.float64) for k in range(3))
        normal = np.cross(second - first, third - first)
        off = (normal * (first if camera.ymag is None else back)).sum(axis=1)
        place = self._places[self.tris].ravel()
        total, whole = (
            np.bincount(place, np.repeat(each, 3), len(verts))
            for each in (np.abs(off), np.linalg.norm(normal, axis=1))
        )
        facing = (total / np.maximum(whole, 1e-30))[self._places]
        return np.stack([facing, -(verts * back).sum(axis=1)], axis=1)

    def pixels_per_area(self, seen: Float64[np.ndarray, "N 2"], frame: int) -> Float64[np.ndarray, "N"]:
        """How many pixels of a frame an area of the world fills, at points between vertices.

        Args:
            seen: `seen_at_verts`, interpolated; where depth is not above 0, there are no pixels.
            frame: the one that sees them.
        """
        gbuffer, camera = self.gbuffers[frame], self._cameras[frame]
        lens = camera.lens(gbuffer.height, gbuffer.width)
        facing, depth = seen.T
        scale = (gbuffer.height / (2 * lens.half_height)) ** 2
        if lens.is_orthographic:
            return np.where(depth > 0, scale * facing, 0)
        return np.where(depth > 0, scale * facing / np.where(depth > 0, depth, 1) ** 3, 0)

    @cached_property
    def _places(self) -> Int64[np.ndarray, "V"]:
        """Of every vertex the first that lies at its place, in the clip's first, middle and last frame: what
        is hidden by making it small lies at one place as a whole while it is."""
        frames = sorted({0, len(self._verts) // 2, len(self._verts) - 1})
        places = np.concatenate([self._verts[frame] for frame in frames], axis=1)
        _, first, index = np.unique(places, axis=0, return_index=True, return_inverse=True)
        return first[index.ravel()]


def check_triangles(gbuffer: GBuffer) -> None:
    """Raises ConfigError for a G-buffer that was read from an image file and knows no triangles."""
    if not gbuffer.has_triangles:
        raise ConfigError(
            "these G-buffers know no triangles because they were read from image files; "
            "expected some that were rendered from the scene"
        )


def between_corners(
    corners: Float[np.ndarray, "N 3 C"], bary: Float[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N C"]:
    """What lies between triangles' corners; `bary`: weights of the second and third corner."""
    second, third = (bary[:, k, None].astype(np.float64) for k in (0, 1))
    return (1 - second - third) * corners[:, 0] + second * corners[:, 1] + third * corners[:, 2]


def sample_bilinear(
    picture: Num[np.ndarray, "H W C"], xy: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N C"]:
    """The picture's values between pixel centres, which lie at +0.5; edge pixels go on beyond the picture."""
    height, width = picture.shape[:2]
    return sum(
        (weight[:, None] * picture[row, column] for row, column, weight in bilinear_taps(xy, height, width)),
        start=np.zeros((len(xy), picture.shape[2])),
    )


def bilinear_taps(
    xy: Float64[np.ndarray, "N 2"], height: int, width: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Row, column and weight of the four pixels around each position."""
    corner = np.floor(xy - 0.5)
    across, down = (xy - 0.5 - corner).T
    left, top = corner.astype(np.int64).T
    return [
        (np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1), weight_y * weight_x)
        for dy, weight_y in ((0, 1 - down), (1, down))
        for dx, weight_x in ((0, 1 - across), (1, across))
    ]


def inverse_depth_and_tolerance(
    gbuffer: GBuffer,
) -> tuple[Float64[np.ndarray, "H W"], Float64[np.ndarray, "H W"]]:
    """Inverse depth, and how much a point of the same surface up to one pixel away may differ from it.

    Inverse depth is linear across the picture of a plane, so the slope alone tells. Of the two slopes on
    either side the smaller one counts: at the edge of an occluder the other one is a jump and no slope.
    """
    inverse = np.where(gbuffer.visible, 1 / gbuffer.depth.astype(np.float64), 0)
    slope = np.zeros_like(inverse)
    for axis in (0, 1):
        step = np.abs(np.diff(inverse, axis=axis))
        edge = np.full_like(inverse.take([0], axis=axis), np.inf)
        smaller = np.minimum(np.concatenate([edge, step], axis=axis), np.concatenate([step, edge], axis=axis))
        slope += np.where(np.isfinite(smaller), smaller, 0)  # a picture one pixel wide has no slope
    return inverse, DEPTH_TOLERANCE * inverse + 1.5 * slope
