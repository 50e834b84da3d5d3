"""USD scenes at any time: transforms, points, skinning, blend shapes, visibility and cameras."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from pxr import Gf, Usd, UsdGeom, Vt

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.motion import SceneCamera, rigid
from genrender.scene.usd_find import PointInstance, Skinning, UsdPart, read_points

# Seconds times a rate miss the time code that was meant by a rounding error, and held values would be late.
CODE_DIGITS = 6


@dataclass(frozen=True, eq=False)
class UsdMotion:
    """The `Motion` of a USD stage; its one animation runs from the first to the last time code.

    Attributes:
        stage: kept open; prims are gone without it.
        parts: in the order of the scene's vertices.
        cameras: `SceneCamera.node` counts these.
        start: first time code, which is also the rest pose.
        end: last time code.
        codes_per_second: time codes per second.
        world_from_stage: to metres with +Y up.
    """

    path: Path
    stage: Usd.Stage
    parts: tuple[UsdPart, ...]
    cameras: tuple[UsdGeom.Camera, ...]
    start: float
    end: float
    codes_per_second: float
    world_from_stage: Float64[np.ndarray, "4 4"]

    def evaluate(self, time_s: float, animation: int | None) -> Float32[np.ndarray, "V 3"]:
        """World-space vertices; those of a hidden mesh lie all at its first one, where no ray meets them.

        Raises:
            SceneError: a mesh or a point instancer has another number of points than at the start.
        """
        moment = _Moment(self.path, self._code(time_s, animation))
        verts = np.empty((sum(part.n_verts for part in self.parts), 3), np.float32)
        start = 0
        for part in self.parts:
            end = start + part.n_verts
            points, stage_from_points = moment.place(part)
            transform = self.world_from_stage @ stage_from_points
            with np.errstate(over="ignore", invalid="ignore"):
                # float64 until the last step: a large translation must not eat the digits of a small mesh.
                verts[start:end] = points @ transform[:3, :3].T + transform[:3, 3]
            if not moment.is_visible(part):
                verts[start:end] = verts[start]
            start = end
        return verts

    def mesh_verts(self) -> Float32[np.ndarray, "V 3"]:
        """Points as they are before skeletons and transforms."""
        moment = _Moment(self.path, self.start)
        return np.concatenate([np.asarray(moment.points(part), np.float32) for part in self.parts])

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera with its lens as it is at that time; its aperture's height decides the field of view."""
        seen = self.cameras[camera.node].GetCamera(self._code(time_s, animation))
        pose = rigid(self.world_from_stage @ _columns(seen.transform))
        yfov_deg = float(seen.GetFieldOfView(Gf.Camera.FOVVertical))
        if seen.projection == Gf.Camera.Perspective:
            return Camera(pose, yfov_deg)
        scale = np.linalg.norm(self.world_from_stage[:3, 0])
        return Camera(pose, 45.0, float(seen.verticalAperture * Gf.Camera.APERTURE_UNIT / 2 * scale))

    def _code(self, time_s: float, animation: int | None) -> float:
        if animation is None:
            return self.start
        code = round(self.start + time_s * self.codes_per_second, CODE_DIGITS)
        return min(max(code, self.start), self.end)


@dataclass
class _Moment:
    """A stage at one time code, with what several of its meshes share."""

    path: Path
    code: float
    skeletons: dict[str, Vt.Matrix4dArray] = field(default_factory=dict)
    instances: dict[str, tuple[list[Gf.Matrix4d], list[bool]]] = field(default_factory=dict)

    def __post_init__(self):
        self.transforms = UsdGeom.XformCache(self.code)

    def points(self, part: UsdPart) -> Vt.Vec3fArray:
        points = read_points(self.path, part.mesh, self.code)
        if points is None or len(points) != part.n_verts:
            raise SceneError(
                f"{self.path.name}: mesh {part.mesh.GetPrim().GetName()!r} has {len(points or [])} points at "
                f"time code {self.code:g}, but {part.n_verts} at the start; bake it with one topology"
            )
        return points

    def place(self, part: UsdPart) -> tuple[Float32[np.ndarray, "V 3"], Float64[np.ndarray, "4 4"]]:
        """Deformed points and what takes them into the stage's space."""
        points, prim = self.points(part), part.mesh.GetPrim()
        if part.skinning is not None:
            points = Vt.Vec3fArray(points)  # UsdSkel works in place
            if self._deform(part.skinning, points):
                prim = part.skinning.skeleton.GetPrim()
        stage_from_points = _columns(self.transforms.GetLocalToWorldTransform(prim))
        if part.instance is not None:
            stage_from_points = self._stage_from_prototype(part.instance) @ stage_from_points
        return np.asarray(points, np.float32), stage_from_points

    def is_visible(self, part: UsdPart) -> bool:
        if part.instance is not None and not self._instances(part.instance)[1][part.instance.index]:
            return False
        image = UsdGeom.Imageable(part.mesh)
        return not part.can_hide or image.ComputeVisibility(self.code) != UsdGeom.Tokens.invisible

    def _deform(self, skinning: Skinning, points: Vt.Vec3fArray) -> bool:
        """Moves the points; tells whether they are in the skeleton's space afterwards."""
        animation = skinning.skeleton.GetAnimQuery()
        if skinning.blend_shapes is not None and animation:
            weights = animation.ComputeBlendShapeWeights(self.code)
            mapper = skinning.mesh.GetBlendShapeMapper()
            if mapper and weights is not None:
                weights = mapper.Remap(weights)
            if weights:
                shapes = skinning.blend_shapes
                shapes.ComputeDeformedPoints(
                    *shapes.ComputeSubShapeWeights(weights),
                    shapes.ComputeBlendShapePointIndices(),
                    shapes.ComputeSubShapePointOffsets(),
                    points,
                )
        if not skinning.mesh.HasJointInfluences():
            return False
        key = str(skinning.skeleton.GetPrim().GetPath())
        if key not in self.skeletons:
            self.skeletons[key] = skinning.skeleton.ComputeSkinningTransforms(self.code)
        transforms = self.skeletons[key]
        return bool(transforms) and skinning.mesh.ComputeSkinnedPoints(transforms, points, self.code)

    def _stage_from_prototype(self, instance: PointInstance) -> Float64[np.ndarray, "4 4"]:
        instancer = self.transforms.GetLocalToWorldTransform(instance.instancer.GetPrim())
        prototype = self.transforms.GetLocalToWorldTransform(instance.prototype)
        placed = self._instances(instance)[0][instance.index]
        return _columns(instancer) @ _columns(placed) @ np.linalg.inv(_columns(prototype))

    def _instances(self, instance: PointInstance) -> tuple[list[Gf.Matrix4d], list[bool]]:
        """Transforms of all instances, their prototype's own included, and which are shown."""
        instancer = instance.instancer
        key = str(instancer.GetPath())
        if key not in self.instances:
            placed = instancer.ComputeInstanceTransformsAtTime(
                self.code,
                self.code,
                UsdGeom.PointInstancer.IncludeProtoXform,
                UsdGeom.PointInstancer.IgnoreMask,
            )
            shown = list(instancer.ComputeMaskAtTime(self.code)) or [True] * len(placed or [])
            self.instances[key] = (list(placed or []), shown)
        if len(self.instances[key][0]) <= instance.index:
            raise SceneError(
                f"{self.path.name}: {key} has {len(self.instances[key][0])} instances at time code "
                f"{self.code:g}, more at the start; make them meshes of their own, hidden when not needed"
            )
        return self.instances[key]


def _columns(matrix: Gf.Matrix4d) -> Float64[np.ndarray, "4 4"]:
    """A matrix that acts on column vectors; Gf's act on rows."""
    return np.array(matrix, np.float64).T
