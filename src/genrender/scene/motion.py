"""The motion of a scene, the same for all file formats, and vertices that stay at rest."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64, Int64

from genrender.scene.camera import Camera

# float32 squares and products of more overflow. Nothing is seen of such a scene anyway.
MAX_COORDINATE = 1e18


@dataclass(frozen=True)
class SceneCamera:
    """A camera of the file as it is while no animation moves it; `ymag` is set for an orthographic one.

    Attributes:
        node: where the format's `Motion` finds it.
        near: what is nearer than this is not seen, as planar depth in scene units.
        far: what is farther is not seen either.
        aspect: width / height of the picture that it was made for; None: the file does not tell.
    """

    name: str
    node: int
    yfov_deg: float
    ymag: float | None
    near: float = 0.0
    far: float = np.inf
    aspect: float | None = None


@runtime_checkable
class Motion(Protocol):
    """Places the vertices and cameras of a scene at any time of any of its animations."""

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices, far away as exact as at the origin; may be infinite or NaN.

        Args:
            time_s: as in `Scene.evaluate`; beyond the animation's ends the nearest pose holds.
            animation: index into the scene's animations; None is the rest pose.
        """
        ...

    def mesh_verts(self) -> Float[np.ndarray, "V 3"]:
        """Vertices in the spaces of their meshes, unmoved."""
        ...

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera of the scene; times as in `evaluate`."""
        ...


@dataclass(frozen=True, eq=False)
class WithStatic:
    """A motion with vertices at the end that never move.

    Attributes:
        verts: in world space.
    """

    moving: Motion
    verts: Float64[np.ndarray, "V 3"]

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.evaluate`."""
        return np.concatenate([self.moving.evaluate(time_s, animation), self.verts])

    def mesh_verts(self) -> Float[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        return np.concatenate([self.moving.mesh_verts(), self.verts])

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """As `Motion.camera`."""
        return self.moving.camera(camera, time_s, animation)


@dataclass(frozen=True, eq=False)
class WithoutNan:
    """A motion whose broken vertices lie at 0. No triangle uses them.

    Attributes:
        rows: the vertices that are no finite numbers.
    """

    moving: Motion
    rows: Int64[np.ndarray, "B"]

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.evaluate`."""
        return self._mended(self.moving.evaluate(time_s, animation))

    def mesh_verts(self) -> Float[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        return self._mended(self.moving.mesh_verts())

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """As `Motion.camera`."""
        return self.moving.camera(camera, time_s, animation)

    def _mended(self, verts: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        verts = verts.copy()
        verts[self.rows] = 0
        return verts


@dataclass(frozen=True, eq=False)
class Looped:
    """A motion whose animation begins again after its end.

    Attributes:
        start_s: time of its first key.
        period_s: after which it begins again; 0: never.
    """

    moving: Motion
    start_s: float
    period_s: float

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.evaluate`."""
        return self.moving.evaluate(self._within(time_s, animation), animation)

    def mesh_verts(self) -> Float[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        return self.moving.mesh_verts()

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """As `Motion.camera`."""
        return self.moving.camera(camera, self._within(time_s, animation), animation)

    def _within(self, time_s: float, animation: int | None) -> float:
        if animation is None or self.period_s <= 0:
            return time_s
        phase_s = (time_s - self.start_s) % self.period_s
        # A rounding error before the end is the beginning.
        return self.start_s + (0.0 if self.period_s - phase_s < 1e-6 else phase_s)


def is_placeable(verts: Float[np.ndarray, "V 3"]) -> bool:
    """Whether all vertices are where one can compute with them; NaN is not."""
    return not verts.size or bool(verts.min() >= -MAX_COORDINATE and verts.max() <= MAX_COORDINATE)


def rigid(matrix: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """The transform without scale and shear; a camera's view direction and its up plane are kept."""
    back, up = matrix[:3, 2], matrix[:3, 1]
    rigid = np.eye(4)
    rigid[:3, 3] = matrix[:3, 3]
    if np.linalg.norm(np.cross(up, back)) == 0:
        return rigid
    rigid[:3, 2] = back / np.linalg.norm(back)
    right = np.cross(up, rigid[:3, 2])
    rigid[:3, 0] = right / np.linalg.norm(right)
    rigid[:3, 1] = np.cross(rigid[:3, 2], rigid[:3, 0])
    return rigid
