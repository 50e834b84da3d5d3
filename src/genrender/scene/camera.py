"""Pinhole and orthographic cameras: where they stand, which ray each pixel sends, where a point lands."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from genrender.errors import ConfigError

# Two directions whose cosine is above this count as parallel: their cross product would be mostly rounding.
PARALLEL = 0.9999


@dataclass(frozen=True)
class Lens:
    """Which part of the space before it a picture shows, wherever the camera stands.

    Attributes:
        half_height: of what the picture shows: at depth 1, or in scene units if orthographic.
        shift: where the middle of the picture lies off the view axis, to the right and upwards, likewise.
        is_orthographic: rays are parallel.
    """

    half_height: float
    shift: tuple[float, float] = (0.0, 0.0)
    is_orthographic: bool = False

    def in_plane(
        self, height: int, width: int
    ) -> tuple[Float[np.ndarray, "width"], Float[np.ndarray, "height"]]:
        """Where the rays through pixel centres meet the plane at depth 1: to the right by column, upwards by
        row. In scene units, at any depth, if orthographic."""
        half_width = self.half_height * width / height
        x = ((np.arange(width) + 0.5) / width * 2 - 1) * half_width + self.shift[0]
        y = (1 - (np.arange(height) + 0.5) / height * 2) * self.half_height + self.shift[1]
        return x, y


@dataclass(frozen=True)
class Camera:
    """A camera at one moment. It looks along its own -Z, +Y is up, as in glTF.

    Attributes:
        world_from_camera: rigid 4x4 transform (column vectors).
        yfov_deg: vertical field of view in degrees, in (0, 180); ignored when `ymag` is set.
        ymag: half the height of an orthographic view in scene units; None means perspective.
        near: surfaces nearer than this are not seen, as planar depth in scene units.
        far: those farther away are not seen either; a backdrop is, however far.
        shift: where the middle of the picture lies off the view axis, to the right and upwards: at depth 1,
            or in scene units if orthographic.
        aspect: width / height of the picture that `yfov_deg` is meant for, in pictures of other shapes the
            longer side sees as much; None: the height always sees `yfov_deg`.
    """

    world_from_camera: Float[np.ndarray, "4 4"]
    yfov_deg: float = 45.0
    ymag: float | None = None
    near: float = 0.0
    far: float = np.inf
    shift: tuple[float, float] = (0.0, 0.0)
    aspect: float | None = None

    @staticmethod
    def look_at(
        eye: Float[np.ndarray, "3"],
        target: Float[np.ndarray, "3"],
        up: Float[np.ndarray, "3"] | None = None,
        yfov_deg: float = 45.0,
        ymag: float | None = None,
    ) -> "Camera":
        """The camera at `eye` that looks at `target`, both in world space. `up` defaults to +Y.

        Where it looks straight along `up`, +Z is up in the picture, and where that is `up`, +Y.

        Raises:
            ConfigError: `eye` and `target` are the same point, or `up` has no length.
        """
        eye = np.asarray(eye, np.float64)
        back = eye - np.asarray(target, np.float64)
        up = np.array([0.0, 1.0, 0.0]) if up is None else np.asarray(up, np.float64)
        distance, up_length = np.linalg.norm(back), np.linalg.norm(up)
        if not (np.isfinite(distance) and distance > 0):
            raise ConfigError(
                f"a camera at {eye.tolist()} cannot look at {np.asarray(target).tolist()}: "
                "expected two different points; move one of them"
            )
        if not (np.isfinite(up_length) and up_length > 0):
            raise ConfigError(f"up is {up.tolist()}, expected a direction, for example [0, 1, 0]")
        back = back / distance
        choices = (up / up_length, np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]))
        up = next(choice for choice in choices if abs(back @ choice) <= PARALLEL)
        right = np.cross(up, back)
        right /= np.linalg.norm(right)
        world_from_camera = np.eye(4)
        world_from_camera[:3, 0] = right
        world_from_camera[:3, 1] = np.cross(back, right)
        world_from_camera[:3, 2] = back
        world_from_camera[:3, 3] = eye
        return Camera(world_from_camera, yfov_deg, ymag)

    def lens(self, height: int, width: int) -> Lens:
        """What pictures of this shape show."""
        return Lens(self._half_height(height, width), self.shift, self.ymag is not None)

    def rays(self, height: int, width: int) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
        """World-space origins and directions of the rays through all pixel centres, row by row from the top.

        Directions are scaled so that a ray's parameter t is the planar depth along the view axis.
        """
        x, y = self.lens(height, width).in_plane(height, width)
        right, up, back = self.world_from_camera[:3, :3].T
        eye = self.world_from_camera[:3, 3]
        # Sums of broadcast rows: a matrix product over all pixels is several times slower.
        in_plane = (y[:, None, None] * up + x[None, :, None] * right).reshape(-1, 3)
        if self.ymag is None:
            return np.broadcast_to(eye, in_plane.shape), in_plane - back
        return eye + in_plane, np.broadcast_to(-back, in_plane.shape)

    def project(
        self, points: Float[np.ndarray, "*N 3"], height: int, width: int
    ) -> tuple[Float[np.ndarray, "*N 2"], Float[np.ndarray, "*N"]]:
        """Pixel coordinates (x right, y down, pixel centres at +0.5) and planar depth of world points."""
        rotation, eye = self.world_from_camera[:3, :3], self.world_from_camera[:3, 3]
        local = (points - eye) @ rotation
        depth = -local[..., 2]
        scale = depth if self.ymag is None else 1.0
        half_height = self._half_height(height, width) * scale
        x = ((local[..., 0] - self.shift[0] * scale) / (half_height * width / height) + 1) / 2 * width
        y = (1 - (local[..., 1] - self.shift[1] * scale) / half_height) / 2 * height
        return np.stack([x, y], axis=-1), depth

    def _half_height(self, height: int, width: int) -> float:
        """Of what the picture shows: at depth 1, or in scene units if orthographic."""
        if self.ymag is not None:
            return self.ymag
        half_height = float(np.tan(np.deg2rad(self.yfov_deg) / 2))
        if self.aspect is None:
            return half_height
        return half_height * max(self.aspect, 1) / max(width / height, 1)
