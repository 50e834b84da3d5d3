"""USD scenes at any time: transforms, points, skinning, blend shapes, visibility and cameras."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64
from pxr import Gf, Sdf, Usd, UsdGeom, Vt

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.formats.left_out import PartError
from genrender.scene.formats.usd.find import Skinning, UsdPart, is_hidden, read_points
from genrender.scene.formats.usd.instances import Key, PointInstance, instance_keys, instance_transforms
from genrender.scene.formats.usd.open import usd_calls
from genrender.scene.motion import SceneCamera, rigid

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

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices; those of a hidden mesh lie all at its first one, where no ray meets them.

        Raises:
            SceneError: a mesh has another number of points than at the start.
        """
        with usd_calls(self.path):
            return self._evaluate(_Moment(self.path, self._code(time_s, animation)))

    def _evaluate(self, moment: "_Moment") -> Float64[np.ndarray, "V 3"]:
        verts = np.empty((sum(part.n_verts for part in self.parts), 3))
        start = 0
        for part in self.parts:
            end = start + part.n_verts
            points, stage_from_points = moment.place(part)
            transform = self.world_from_stage @ stage_from_points
            with np.errstate(over="ignore", invalid="ignore"):
                # float64: a large translation must not eat the digits of a small mesh.
                verts[start:end] = points @ transform[:3, :3].T + transform[:3, 3]
            if not moment.is_visible(part):
                verts[start:end] = verts[start]
            start = end
        return verts

    def mesh_verts(self) -> Float32[np.ndarray, "V 3"]:
        """Points as they are before skeletons and transforms."""
        moment = _Moment(self.path, self.start)
        with usd_calls(self.path):
            return np.concatenate([np.asarray(moment.points(part), np.float32) for part in self.parts])

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera with its lens as it is at that time; its aperture's height decides the field of view."""
        with usd_calls(self.path):
            prim = self.cameras[camera.node]
            seen = prim.GetCamera(self._code(time_s, animation))
            has_planes = prim.GetClippingRangeAttr().HasAuthoredValue()
        pose = rigid(self.world_from_stage @ _columns(seen.transform))
        metres = float(np.linalg.norm(self.world_from_stage[:3, 0]))
        near, far = seen.clippingRange.min * metres, seen.clippingRange.max * metres
        planes = (float(near), float(far)) if has_planes and 0 <= near < far else (0.0, np.inf)
        offset = np.array([seen.horizontalApertureOffset, seen.verticalApertureOffset], np.float64)
        if seen.projection == Gf.Camera.Perspective:
            # Apertures are in the same unit as the focal length: tenths of the stage's.
            x, y = offset / seen.focalLength if seen.focalLength > 0 else (0.0, 0.0)
            yfov_deg = float(seen.GetFieldOfView(Gf.Camera.FOVVertical))
            return Camera(pose, yfov_deg, None, *planes, shift=(float(x), float(y)))
        unit = Gf.Camera.APERTURE_UNIT * metres
        x, y = offset * unit
        return Camera(
            pose, 45.0, float(seen.verticalAperture * unit / 2), *planes, shift=(float(x), float(y))
        )

    def aspect(self, node: int) -> float | None:
        """Width / height of a camera's aperture at the start, None where that is no shape."""
        with usd_calls(self.path):
            seen = self.cameras[node].GetCamera(self.start)
        width, height = float(seen.horizontalAperture), float(seen.verticalAperture)
        aspect = width / height if height > 0 else 0.0
        return aspect if np.isfinite(aspect) and aspect > 0 else None

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
    # By the skeletons' queries: instances of one skeleton may have animations of their own.
    skeletons: dict[int, Vt.Matrix4dArray] = field(default_factory=dict)
    instances: dict[Sdf.Path, dict[Key, tuple[Gf.Matrix4d, bool]]] = field(default_factory=dict)
    # What point instances have in common: a prototype is deformed once.
    deformed: dict[Sdf.Path, tuple[Any, Usd.Prim]] = field(default_factory=dict)

    def __post_init__(self):
        self.transforms = UsdGeom.XformCache(self.code)

    def points(self, part: UsdPart) -> Any:
        """The points of a mesh before skeletons and transforms."""
        try:
            points = read_points(part.prim, self.code)
        except PartError as error:
            raise SceneError(f"{self.path.name}: {part.name!r} {error}") from None
        if points is None or len(points) != part.n_verts:
            n_points = 0 if points is None else len(points)
            raise SceneError(
                f"{self.path.name}: mesh {part.name!r} has {n_points} points at time code {self.code:g}, but "
                f"{part.n_verts} at the start; bake it with one topology"
            )
        return points

    def place(self, part: UsdPart) -> tuple[Float[np.ndarray, "V 3"], Float64[np.ndarray, "4 4"]]:
        """Deformed points and what takes them into the stage's space."""
        path = part.prim.GetPath()
        points, prim = self.deformed[path] if path in self.deformed else self._deformed(part)
        if part.instances:
            self.deformed[path] = points, prim
        stage_from_points = np.eye(4)
        for instance in part.instances:
            stage_from_points = self._of_instance(instance, prim) @ stage_from_points
            prim = instance.instancer.GetPrim()
        stage_from_points = _columns(self.transforms.GetLocalToWorldTransform(prim)) @ stage_from_points
        return points, stage_from_points

    def is_visible(self, part: UsdPart) -> bool:
        """Whether all instances that show the part are there, and nothing hides it."""
        is_there = all(
            self._instances(instance).get(instance.key, (None, False))[1] for instance in part.instances
        )
        return is_there and not (part.can_hide and is_hidden(part, self.code))

    def _deformed(self, part: UsdPart) -> tuple[Any, Usd.Prim]:
        """Points after skeletons and blend shapes, and the prim in whose space they are."""
        points, prim = self.points(part), part.prim
        if part.skinning is not None:
            points = Vt.Vec3fArray(points)  # UsdSkel works in place
            if self._deform(part.skinning, points):
                prim = part.skinning.place
        return np.asarray(points), prim

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
        key = id(skinning.skeleton)
        if key not in self.skeletons:
            self.skeletons[key] = skinning.skeleton.ComputeSkinningTransforms(self.code)
        transforms = self.skeletons[key]
        return bool(transforms) and skinning.mesh.ComputeSkinnedPoints(transforms, points, self.code)

    def _of_instance(self, instance: PointInstance, prim: Usd.Prim) -> Float64[np.ndarray, "4 4"]:
        """From the space of a prim of the prototype to that of the instancer."""
        root = instance.prototype
        if prim.GetPath().HasPrefix(root.GetPath()):
            in_prototype = _columns(self.transforms.ComputeRelativeTransform(prim, root)[0])
        else:  # a skeleton may be kept elsewhere
            stage_from_root = _columns(self.transforms.GetLocalToWorldTransform(root))
            stage_from_prim = _columns(self.transforms.GetLocalToWorldTransform(prim))
            in_prototype = np.linalg.pinv(stage_from_root) @ stage_from_prim
        placed, _ = self._instances(instance).get(instance.key, (instance.home, False))
        return _columns(placed) @ in_prototype

    def _instances(self, instance: PointInstance) -> dict[Key, tuple[Gf.Matrix4d, bool]]:
        """Transforms of the instances that are there, and which of them are shown."""
        instancer = instance.instancer
        path = instancer.GetPath()
        if path not in self.instances:
            keys, placed = instance_keys(instancer, self.code), instance_transforms(instancer, self.code)
            shown = list(instancer.ComputeMaskAtTime(self.code)) or [True] * len(keys)
            # Where the lists differ in length nothing says which belongs to which.
            is_whole = len(keys) == len(placed) == len(shown)
            rows = zip(keys, zip(placed, shown, strict=True), strict=True) if is_whole else ()
            self.instances[path] = dict(rows)
        return self.instances[path]


def _columns(matrix: Gf.Matrix4d) -> Float64[np.ndarray, "4 4"]:
    """A matrix that acts on column vectors; Gf's act on rows."""
    return np.array(matrix, np.float64).T
