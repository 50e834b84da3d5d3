"""Alembic archives (.abc): baked points, transforms and cameras become a `Scene`. Needs alembic3d."""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (alembic3d fills its modules while they are imported: a type checker sees them empty)

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alembic3d import Abc, AbcGeom
from jaxtyping import Float32, Float64, Int64

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.formats.assemble import ObjectMesh, assemble
from genrender.scene.formats.left_out import CHANGES_FACES, LeftOut, PartError
from genrender.scene.formats.polygons import triangulate
from genrender.scene.moments import DEFAULT_ASPECT, DEFAULT_FPS, tidy_rate
from genrender.scene.motion import SceneCamera, rigid
from genrender.scene.names import UniqueNames
from genrender.scene.scene import Animation, Scene
from genrender.storage.quiet import silent_library
from genrender.storage.untrusted import library_errors

MESHES = (AbcGeom.IPolyMesh, AbcGeom.ISubD)
# What else may be seen; its own words for what a user knows by these.
NO_MESHES = {"Curve": "curves", "Points": "points", "NuPatch": "NURBS patch"}


@dataclass(frozen=True, eq=False)
class AlembicNode:
    """A mesh or a camera, and the transforms above it, the outermost first.

    Attributes:
        source: path of what it is an instance of, else its own.
    """

    entity: Any
    above: tuple[Any, ...]
    source: str

    @property
    def schema(self) -> Any:
        return self.entity.getSchema()

    def world(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Where it stands; between samples, straight lines of the matrix."""
        world = np.eye(4)
        for node in self.above:
            schema = node.getSchema()
            local = _between(schema, time_s, lambda sample: np.array(sample.getMatrix()).reshape(4, 4).T)
            inherits = _sample(schema, time_s).getInheritsXforms()
            world = world @ local if inherits else local
        return world


@dataclass(frozen=True, eq=False)
class AlembicMotion:
    """The `Motion` of an archive; its one animation runs from the first to the last sample.

    Attributes:
        archive: kept open; nodes are gone without it.
        meshes: in the order of the scene's vertices.
        n_verts: of each mesh.
        cameras: `SceneCamera.node` counts these.
        start_s: time of the first sample, which is also the rest pose.
        end_s: time of the last one.
    """

    path: Path
    archive: Any
    meshes: tuple[AlembicNode, ...]
    n_verts: tuple[int, ...]
    cameras: tuple[AlembicNode, ...]
    start_s: float
    end_s: float

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices; those of a hidden mesh lie all at its first one, where no ray meets them.

        Raises:
            SceneError: a mesh has another number of points than at the start, or cannot be read.
        """
        with _alembic_calls(self.path):
            return self._evaluate(self._time(time_s, animation))

    def _evaluate(self, now_s: float) -> Float64[np.ndarray, "V 3"]:
        verts = np.empty((sum(self.n_verts), 3))
        start = 0
        for node, n in zip(self.meshes, self.n_verts, strict=True):
            end = start + n
            transform, points = node.world(now_s), _points(node, now_s)
            if len(points) != n:
                raise SceneError(
                    f"{self.path.name}: mesh {_name(node)!r} has {len(points)} points at {now_s:g} s, but "
                    f"{n} at the start; bake it with one topology"
                )
            with np.errstate(over="ignore", invalid="ignore"):
                verts[start:end] = points @ transform[:3, :3].T + transform[:3, 3]
            if AbcGeom.IsAncestorInvisible(node.entity, Abc.ISampleSelector(now_s)):
                verts[start:end] = verts[start]
            start = end
        return verts

    def mesh_verts(self) -> Float64[np.ndarray, "V 3"]:
        """As `Motion.mesh_verts`."""
        with _alembic_calls(self.path):
            return np.concatenate([_points(node, self.start_s) for node in self.meshes])

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera with its lens as it is at that time.

        The longer side of its aperture is the longer side of the picture: exporters write the aperture of
        their settings, which is seldom of the picture's shape.
        """
        node, now_s = self.cameras[camera.node], self._time(time_s, animation)
        with _alembic_calls(self.path):
            width, height, focal, right, up, near, far = _between(node.schema, now_s, _lens)
            pose = rigid(node.world(now_s))
        half_width = max(width, height) / 2
        yfov_deg = float(np.rad2deg(2 * np.arctan2(half_width / DEFAULT_ASPECT, focal)))
        shift = (float(right / focal), float(up / focal)) if focal > 0 else (0.0, 0.0)
        if not 0 <= near < far:
            near, far = 0.0, np.inf
        return Camera(pose, yfov_deg, None, float(near), float(far), shift, DEFAULT_ASPECT)

    def _time(self, time_s: float, animation: int | None) -> float:
        if animation is None:
            return self.start_s
        return min(max(self.start_s + time_s, self.start_s), self.end_s)


def load_alembic(path: Path) -> Scene:
    """Reads all meshes and cameras of an archive, with the axes and units that it has.

    What cannot be shown is left out, and the scene's warnings tell it.

    Raises:
        SceneError: the archive cannot be opened, or shows nothing.
    """
    with _alembic_calls(path):
        return _load(path)


@contextmanager
def _alembic_calls(path: Path) -> Iterator[None]:
    """What the library does with a file: its own lines stay off the screen, its errors become ours.

    Raises:
        SceneError: the library, or its Python binding, does not understand what the file holds.
    """
    # Everything that the binding says is a RuntimeError, but for names that are no Unicode.
    kinds = (RuntimeError, UnicodeDecodeError)
    with silent_library(), library_errors(path.name, SceneError, "export it as Alembic again", kinds):
        yield


def _load(path: Path) -> Scene:
    left_out = LeftOut()
    archive = Abc.IArchive(str(path))
    nodes = list(_nodes(archive.getTop(), (), "", left_out))
    shown = _shown([node for node in nodes if isinstance(node.entity, MESHES)], left_out)
    if not shown:
        found = "none" if left_out.first is None else f"only what cannot be shown: {left_out.first}"
        raise SceneError(f"{path.name}: expected meshes, found {found}; convert what it holds to polygons")
    meshes, objects = zip(*shown, strict=True)
    cameras = tuple(node for node in nodes if isinstance(node.entity, AbcGeom.ICamera))
    start_s, end_s, step_s = _span(nodes)
    n_verts = tuple(thing.n_verts for thing in objects)
    motion = AlembicMotion(path, archive, meshes, n_verts, cameras, start_s, end_s)
    animations = ()
    if end_s > start_s:
        rate = _frame_rate(archive, step_s)
        animations = (Animation("Timeline", end_s - start_s, fps=rate, file_s=start_s),)
    unique = UniqueNames()
    listed = []
    for number, node in enumerate(cameras):
        entry = SceneCamera(unique(_name(node)), number, 45.0, None)
        seen = motion.camera(entry, 0.0, None)
        if 0 < seen.yfov_deg < 180:
            listed.append(SceneCamera(entry.name, number, seen.yfov_deg, None, seen.near, seen.far))
        else:
            left_out.add(f"camera {entry.name!r}", "has no focal length or no aperture; give it both")
    return assemble(path, objects, motion, animations, tuple(listed), left_out.warnings())


def _shown(meshes: list[AlembicNode], left_out: LeftOut) -> list[tuple[AlembicNode, ObjectMesh]]:
    """The meshes that have sound faces, with these."""
    numbers: dict[str, int] = {}
    shown = []
    for node in meshes:
        try:
            shown.append((node, _read_object(numbers.setdefault(node.source, len(numbers)), node)))
        except PartError as error:
            left_out.add(f"mesh {_name(node)!r}", error)
    return shown


def _frame_rate(archive: Any, step_s: float) -> float:
    """What Blender (FramesPerTimeUnit) or Maya (DCC_FPS) tells, else the rate of the samples."""
    told = archive.getTop().getMetaData()
    for key in ("FramesPerTimeUnit", "DCC_FPS"):
        try:
            fps = float(told.get(key))
        except ValueError:
            continue
        if math.isfinite(fps) and fps > 0:
            return tidy_rate(fps)
    return tidy_rate(1 / step_s) if step_s > 0 else DEFAULT_FPS


def _nodes(parent: Any, above: tuple[Any, ...], source: str, left_out: LeftOut) -> Iterator[AlembicNode]:
    """What stands below a node; instances are read as what they show, which the library takes care of."""
    for child in parent.children:
        kinds = (*MESHES, AbcGeom.ICamera, AbcGeom.IXform)
        kind = next((kind for kind in kinds if kind.matches(child.getHeader())), None)
        entity = None if kind is None else kind(parent, child.getName())
        path = child.instanceSourcePath() if child.isInstanceRoot() else f"{source}/{child.getName()}"
        if entity is not None and kind is not AbcGeom.IXform:
            yield AlembicNode(entity, above, path)
        schema = str(child.getHeader().getMetaData().get("schema"))
        if (found := re.fullmatch(r"AbcGeom_(\w+)_v\d+", schema)) and found[1] in NO_MESHES:
            left_out.add(f"{NO_MESHES[found[1]]} {child.getFullName()!r}", "is no mesh; convert it to one")
        yield from _nodes(child, (*above, entity) if kind is AbcGeom.IXform else above, path, left_out)


def _name(node: AlembicNode) -> str:
    """That of the transform that carries it: exporters call the shape itself "Shape", or add that."""
    return node.above[-1].getName() if node.above else node.entity.getName()


def _span(nodes: list[AlembicNode]) -> tuple[float, float, float]:
    """First and last time of any animated sample, and the shortest time between two."""
    sampled = [entity.getSchema() for node in nodes for entity in (node.entity, *node.above)]
    times = [
        [schema.getTimeSampling().getSampleTime(index) for index in (0, 1, schema.getNumSamples() - 1)]
        for schema in sampled
        if schema.getNumSamples() > 1
    ]
    if not times:
        return 0.0, 0.0, 0.0
    first, second, last = np.array(times).T
    return float(first.min()), float(last.max()), float((second - first).min())


def _read_object(number: int, node: AlembicNode) -> ObjectMesh:
    schema = node.schema
    if not schema.getNumSamples():
        raise PartError("has no samples; export it again")
    if str(schema.getTopologyVariance()).endswith("kHeterogenousTopology"):
        raise PartError(CHANGES_FACES)
    sample = _sample(schema, schema.getTimeSampling().getSampleTime(0))
    counts, indices = _array(sample.getFaceCounts(), np.int64), _array(sample.getFaceIndices(), np.int64)
    if (counts < 0).any() or counts.sum() != len(indices):
        raise PartError(
            f"has faces with {counts.sum()} corners in all, but lists {len(indices)}; export it again"
        )
    n_verts = len(sample.getPositions())
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_verts:
        raise PartError(
            f"has a face with vertex {indices.max()}, but only {n_verts} vertices; export it again"
        )
    points = _array(sample.getPositions(), np.float64).reshape(-1, 3)
    corners, _ = triangulate(points, indices, counts, is_clockwise=True)  # Alembic's faces are
    return ObjectMesh(_name(node), n_verts, indices[corners], _uvs(schema, indices, corners), number)


def _uvs(
    schema: Any, indices: Int64[np.ndarray, "C"], corners: Int64[np.ndarray, "T 3"]
) -> Float32[np.ndarray, "T 3 2"] | None:
    param = schema.getUVsParam()
    if not param.valid() or not param.getNumSamples():
        return None
    values = _array(param.getExpandedValue().getVals(), np.float32).reshape(-1, 2)
    is_per_corner = param.getScope() == AbcGeom.GeometryScope.kFacevaryingScope
    rows = corners if is_per_corner else indices[corners]
    if rows.size and not 0 <= rows.min() <= rows.max() < len(values):
        return None
    uvs = values[rows]
    uvs[..., 1] = 1 - uvs[..., 1]
    return uvs


def _lens(sample: Any) -> Float64[np.ndarray, "7"]:
    """Width and height of the aperture, focal length, shift right and up, all in millimetres; the planes."""
    apertures = np.array([sample.getHorizontalAperture(), sample.getVerticalAperture()]) * 10
    shift = np.array([sample.getHorizontalFilmOffset(), sample.getVerticalFilmOffset()]) * 10
    planes = (sample.getNearClippingPlane(), sample.getFarClippingPlane())
    return np.array([*apertures, sample.getFocalLength(), *shift, *planes])


def _points(node: AlembicNode, time_s: float) -> Float64[np.ndarray, "V 3"]:
    def read(sample: Any) -> np.ndarray:
        return _array(sample.getPositions(), np.float64).reshape(-1, 3)

    return _between(node.schema, time_s, read)


def _between(schema: Any, time_s: float, read: Callable[[Any], np.ndarray]) -> np.ndarray:
    """What is read from the samples before and after a time, mixed by how near they are.

    Where they differ in length, the one before holds.
    """
    n, sampling = schema.getNumSamples(), schema.getTimeSampling()
    first_s = sampling.getSampleTime(sampling.getFloorIndex(time_s, n))
    last_s = sampling.getSampleTime(sampling.getCeilIndex(time_s, n))
    value = read(_sample(schema, first_s))
    # Times come in whole frames, but for a rounding error.
    share = round((time_s - first_s) / (last_s - first_s), 6) if last_s > first_s else 0
    after = value if share == 0 else read(_sample(schema, last_s))
    return value + share * (after - value) if after.shape == value.shape else value


def _sample(schema: Any, time_s: float) -> Any:
    # Of the bindings' selectors only those by time work: a whole number is taken for a time as well.
    return schema.getValue(Abc.ISampleSelector(float(time_s)))


def _array(values: Any, dtype: Any) -> np.ndarray:
    return np.array(memoryview(values), dtype) if len(values) else np.empty(0, dtype)
