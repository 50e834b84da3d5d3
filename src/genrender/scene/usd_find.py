"""What a USD stage shows: meshes, each as often as instances show it, their skins, and cameras."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from pxr import Sdf, Usd, UsdGeom, UsdSkel, Vt

from genrender.errors import SceneError

POINTS = (Vt.Vec3fArray, Vt.Vec3dArray, Vt.Vec3hArray)
# References within references multiply: a small file may stand for endless prims.
MAX_PRIMS = 2**18
SHOWN_PURPOSES = (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)


@dataclass(frozen=True, eq=False)
class Skinning:
    """How a skeleton and blend shapes deform a mesh. UsdSkel computes both.

    Attributes:
        blend_shapes: None where the mesh has none.
    """

    skeleton: UsdSkel.SkeletonQuery
    mesh: UsdSkel.SkinningQuery
    blend_shapes: UsdSkel.BlendShapeQuery | None


@dataclass(frozen=True, eq=False)
class PointInstance:
    """One instance of a point instancer, counted from 0, and the root of the prototype that it shows."""

    instancer: UsdGeom.PointInstancer
    index: int
    prototype: Usd.Prim


@dataclass(frozen=True, eq=False)
class UsdPart:
    """A mesh as it is shown once.

    Attributes:
        source: what instances of the same mesh have in common.
        can_hide: its visibility is animated.
    """

    mesh: UsdGeom.Mesh
    source: Sdf.Path
    n_verts: int
    can_hide: bool
    skinning: Skinning | None = None
    instance: PointInstance | None = None


def check_prims(path: Path, stage: Usd.Stage) -> None:
    """Raises SceneError for more prims than anybody would want to wait for."""
    prims = Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())
    if next(islice(prims, MAX_PRIMS, None), None) is not None:
        raise SceneError(f"{path.name}: has more than {MAX_PRIMS:,} prims; split it, or merge its meshes")


def find_parts(path: Path, stage: Usd.Stage, code: float) -> list[UsdPart]:
    """All meshes that are ever visible, in the stage's order.

    Args:
        code: time code at which numbers of points and instances are counted.

    Raises:
        SceneError: there are no meshes, or nested point instancers.
    """
    skinning = _find_skinning(stage)
    parts: list[UsdPart] = []
    others: set[str] = set()
    prims = iter(Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies()))
    for prim in prims:
        if prim.IsA(UsdGeom.PointInstancer):
            prims.PruneChildren()
            parts += _point_instances(path, UsdGeom.PointInstancer(prim), skinning, code)
        elif prim.IsA(UsdGeom.Mesh):
            parts += _part(path, prim, skinning, code)
        elif prim.IsA(UsdGeom.Gprim):
            others.add(str(prim.GetTypeName()))
    if not parts:
        found = f"only {', '.join(sorted(others))}" if others else "none"
        raise SceneError(f"{path.name}: expected visible meshes, found {found}; convert what it holds")
    return parts


def find_cameras(stage: Usd.Stage) -> list[UsdGeom.Camera]:
    """All cameras, in the stage's order."""
    prims = Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())
    return [UsdGeom.Camera(prim) for prim in prims if prim.IsA(UsdGeom.Camera)]


def read_points(path: Path, mesh: UsdGeom.Mesh, code: float) -> Any:
    """The points of a mesh at a time code, None where it has none.

    Raises:
        SceneError: they are something else.
    """
    points = mesh.GetPointsAttr().Get(code)
    if points is not None and not isinstance(points, POINTS):
        raise SceneError(f"{path.name}: {mesh.GetPath()} has points that are none; export it again")
    return points


def read_whole(path: Path, attribute: Usd.Attribute, code: float) -> Int64[np.ndarray, "N"]:
    """An array of whole numbers at a time code, empty where there is none.

    Raises:
        SceneError: it holds something else.
    """
    values = attribute.Get(code)
    array = np.asarray([] if values is None else values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SceneError(f"{path.name}: {attribute.GetPath()} holds no whole numbers; export it again")
    return array.astype(np.int64)


def _part(
    path: Path,
    prim: Usd.Prim,
    skinning: dict[Sdf.Path, Skinning],
    code: float,
    instance: PointInstance | None = None,
) -> Iterator[UsdPart]:
    image = UsdGeom.Imageable(prim)
    can_hide = _can_hide(prim)
    if not can_hide and image.ComputeVisibility(code) == UsdGeom.Tokens.invisible:
        return
    if image.ComputePurpose() not in SHOWN_PURPOSES:
        return
    mesh = UsdGeom.Mesh(prim)
    points = read_points(path, mesh, code)
    if not points:
        return
    # An instance's own paths differ from its siblings'; that of the prototype does not.
    source = prim.GetPrimInPrototype().GetPath() if prim.IsInstanceProxy() else prim.GetPath()
    yield UsdPart(mesh, source, len(points), can_hide, skinning.get(prim.GetPath()), instance)


def _can_hide(prim: Usd.Prim) -> bool:
    while prim and not prim.IsPseudoRoot():
        image = UsdGeom.Imageable(prim)
        if image and image.GetVisibilityAttr().ValueMightBeTimeVarying():
            return True
        prim = prim.GetParent()
    return False


def _point_instances(
    path: Path, instancer: UsdGeom.PointInstancer, skinning: dict[Sdf.Path, Skinning], code: float
) -> Iterator[UsdPart]:
    stage = instancer.GetPrim().GetStage()
    targets = instancer.GetPrototypesRel().GetForwardedTargets()
    prototypes = [stage.GetPrimAtPath(target) for target in targets]
    indices = read_whole(path, instancer.GetProtoIndicesAttr(), code)
    if len(indices) > MAX_PRIMS:
        raise SceneError(
            f"{path.name}: {instancer.GetPath()} has {len(indices):,} instances, expected at most "
            f"{MAX_PRIMS:,}; thin them out"
        )
    # Prototypes are often mere "over" prims, so that nothing but the instancer shows them.
    below = Usd.TraverseInstanceProxies(Usd.PrimIsActive & Usd.PrimIsLoaded & ~Usd.PrimIsAbstract)
    for index, number in enumerate(indices.tolist()):
        if not 0 <= number < len(prototypes) or not prototypes[number]:
            raise SceneError(
                f"{path.name}: {instancer.GetPath()} shows prototype {number}, but has {len(prototypes)}; "
                "export it again"
            )
        instance = PointInstance(instancer, index, prototypes[number])
        for prim in Usd.PrimRange(prototypes[number], below):
            if prim.IsA(UsdGeom.PointInstancer):
                raise SceneError(
                    f"{path.name}: {prim.GetPath()} is a point instancer within another; "
                    "make its instances meshes of their own"
                )
            if prim.IsA(UsdGeom.Mesh):
                yield from _part(path, prim, skinning, code, instance)


def _find_skinning(stage: Usd.Stage) -> dict[Sdf.Path, Skinning]:
    """What deforms the meshes below skeleton roots, by path."""
    everything = Usd.TraverseInstanceProxies()
    found: dict[Sdf.Path, Skinning] = {}
    for prim in Usd.PrimRange.Stage(stage, everything):
        if not prim.IsA(UsdSkel.Root):
            continue
        root = UsdSkel.Root(prim)
        cache = UsdSkel.Cache()
        cache.Populate(root, everything)
        for binding in cache.ComputeSkelBindings(root, everything):
            skeleton = cache.GetSkelQuery(binding.GetSkeleton())
            for query in binding.GetSkinningTargets():
                bound = query.GetPrim()
                shapes = UsdSkel.BindingAPI(bound) if query.HasBlendShapes() else None
                found[bound.GetPath()] = Skinning(
                    skeleton, query, None if shapes is None else UsdSkel.BlendShapeQuery(shapes)
                )
    return found
