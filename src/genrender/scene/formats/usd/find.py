"""Finding what a USD stage shows: meshes and shapes with all their instances, skins, and cameras."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pxr import Sdf, Tf, Usd, UsdGeom, UsdSkel, Vt

from genrender.errors import SceneError
from genrender.scene.formats.left_out import LeftOut, PartError
from genrender.scene.formats.usd.instances import PointInstance, find_instances
from genrender.scene.formats.usd.open import EVERYTHING, MAX_PRIMS, part_reason
from genrender.scene.formats.usd.shapes import is_shape, shape_verts

POINTS = (Vt.Vec3fArray, Vt.Vec3dArray, Vt.Vec3hArray)
SHOWN_PURPOSES = (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)


@dataclass(frozen=True, eq=False)
class Skinning:
    """How a skeleton and blend shapes deform a mesh. UsdSkel computes both.

    Attributes:
        skeleton: what deforms; of an instance's skeleton it knows the prototype's alone.
        place: the skeleton as the stage has it, in whose space the deformed points are.
        blend_shapes: None where the mesh has none.
    """

    skeleton: UsdSkel.SkeletonQuery
    place: Usd.Prim
    mesh: UsdSkel.SkinningQuery
    blend_shapes: UsdSkel.BlendShapeQuery | None


@dataclass(frozen=True, eq=False)
class UsdPart:
    """A mesh or a shape as it is shown once.

    Attributes:
        source: what instances of the same mesh have in common.
        can_hide: its visibility is animated.
        instances: the point instances that show it, the innermost first.
    """

    prim: Usd.Prim
    name: str
    source: Sdf.Path
    n_verts: int
    can_hide: bool
    skinning: Skinning | None = None
    instances: tuple[PointInstance, ...] = ()


def find_parts(path: Path, stage: Usd.Stage, codes: tuple[float, float], left_out: LeftOut) -> list[UsdPart]:
    """All meshes and shapes that are ever visible, in the stage's order.

    Args:
        codes: first and last time code; points are counted at the first.
        left_out: takes note of what cannot be shown.

    Raises:
        SceneError: there are none, or too many.
    """
    finder = _Finder(codes, left_out, _find_skinning(stage))
    parts = list(
        islice(finder.parts(Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())), MAX_PRIMS + 1)
    )
    if len(parts) > MAX_PRIMS:
        raise SceneError(f"{path.name}: shows more than {MAX_PRIMS:,} meshes; thin out its instances")
    return parts


def find_cameras(stage: Usd.Stage) -> tuple[UsdGeom.Camera, ...]:
    """All cameras, in the stage's order."""
    prims = Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())
    return tuple(UsdGeom.Camera(prim) for prim in prims if prim.IsA(UsdGeom.Camera))


def read_points(prim: Usd.Prim, code: float) -> Any:
    """The points of a mesh or a shape at a time code, None where it has none.

    Raises:
        PartError: they are something else.
    """
    if is_shape(prim):
        return shape_verts(prim, code)
    points = UsdGeom.Mesh(prim).GetPointsAttr().Get(code)
    if points is not None and not isinstance(points, POINTS):
        raise PartError("has points that are none; export it again")
    return points


def carrier_name(prim: Usd.Prim, root: Usd.Prim | None = None) -> str:
    """The name of the transform that carries a mesh or a camera, where it carries no other; else its own.

    Exporters write an object as a transform of its name, above a mesh that is named after its data.

    Args:
        root: beyond this prim nothing belongs to the mesh.
    """
    parent = prim.GetParent()
    if (root is not None and prim == root) or not parent or str(parent.GetTypeName()) != "Xform":
        return prim.GetName()
    children = parent.GetFilteredChildren(EVERYTHING)
    n_carried = sum(child.IsA(UsdGeom.Gprim) or child.IsA(UsdGeom.Camera) for child in children)
    is_stage = parent == prim.GetStage().GetDefaultPrim() and len(children) > 1
    return prim.GetName() if n_carried > 1 or is_stage else parent.GetName()


def ancestry(prim: Usd.Prim, instances: tuple[PointInstance, ...]) -> Iterator[Usd.Prim]:
    """Whatever hides a part with itself: the prims above it, or above the instancers that show it.

    What stands above a prototype does not count: prototypes are often kept where nothing is seen.
    """
    for instance in instances:
        while prim != instance.prototype:
            yield prim
            prim = prim.GetParent()
        yield prim
        prim = instance.instancer.GetPrim()
    while prim and not prim.IsPseudoRoot():
        yield prim
        prim = prim.GetParent()


def is_hidden(part: UsdPart, code: float) -> bool:
    """Whether the part, or what it belongs to, is invisible at a time code."""
    return _is_invisible(ancestry(part.prim, part.instances), code)


def _is_invisible(prims: Iterator[Usd.Prim], code: float) -> bool:
    images = (UsdGeom.Imageable(prim) for prim in prims)
    return any(image and image.GetVisibilityAttr().Get(code) == UsdGeom.Tokens.invisible for image in images)


@dataclass(frozen=True)
class _Finder:
    codes: tuple[float, float]
    left_out: LeftOut
    skinning: dict[Sdf.Path, Skinning]

    def parts(self, prims: Usd.PrimRange, instances: tuple[PointInstance, ...] = ()) -> Iterator[UsdPart]:
        """What these prims show, within prototypes of point instances if any are given."""
        walk = iter(prims)
        for prim in walk:
            kind = str(prim.GetTypeName())
            try:
                if prim.IsA(UsdGeom.PointInstancer):
                    walk.PruneChildren()
                    yield from self._instances(prim, instances)
                elif prim.IsA(UsdGeom.Mesh) or is_shape(prim):
                    yield from self._part(prim, instances)
                elif prim.IsA(UsdGeom.Gprim) and self._is_shown(prim, instances):
                    raise PartError("is no mesh; convert it to one")
            except (PartError, Tf.ErrorException) as error:
                self.left_out.add(f"{kind} {str(prim.GetPath())!r}", part_reason(error))

    def _part(self, prim: Usd.Prim, instances: tuple[PointInstance, ...]) -> Iterator[UsdPart]:
        if not self._is_shown(prim, instances):
            return
        points = read_points(prim, self.codes[0])
        if points is None or not len(points):
            return
        # An instance's own paths differ from its siblings'; that of the prototype does not.
        source = prim.GetPrimInPrototype().GetPath() if prim.IsInstanceProxy() else prim.GetPath()
        name = carrier_name(prim, instances[0].prototype if instances else None)
        can_hide = _can_hide(ancestry(prim, instances))
        yield UsdPart(prim, name, source, len(points), can_hide, self.skinning.get(prim.GetPath()), instances)

    def _is_shown(self, prim: Usd.Prim, instances: tuple[PointInstance, ...]) -> bool:
        if not _can_hide(ancestry(prim, instances)) and _is_invisible(
            ancestry(prim, instances), self.codes[0]
        ):
            return False
        return _purpose(ancestry(prim, instances)) in SHOWN_PURPOSES

    def _instances(self, prim: Usd.Prim, outer: tuple[PointInstance, ...]) -> Iterator[UsdPart]:
        if not self._is_shown(prim, outer):
            return
        if any(instance.instancer.GetPrim() == prim for instance in outer):
            raise PartError("is an instance of itself; export it again")
        found = find_instances(UsdGeom.PointInstancer(prim), self.codes)
        # What a prototype shows is looked up once for all its instances.
        shown: dict[Usd.Prim, list[UsdPart]] = {}
        for instance in found:
            if instance.prototype not in shown:
                below = Usd.PrimRange(instance.prototype, EVERYTHING)
                shown[instance.prototype] = list(islice(self.parts(below, (instance, *outer)), MAX_PRIMS + 1))
            for part in shown[instance.prototype]:
                n_inner = len(part.instances) - len(outer) - 1
                yield replace(part, instances=(*part.instances[:n_inner], instance, *outer))


def _can_hide(prims: Iterator[Usd.Prim]) -> bool:
    images = (UsdGeom.Imageable(prim) for prim in prims)
    return any(image and image.GetVisibilityAttr().ValueMightBeTimeVarying() for image in images)


def _purpose(prims: Iterator[Usd.Prim]) -> str:
    """Its own purpose, else the nearest that stands above it."""
    for prim in prims:
        image = UsdGeom.Imageable(prim)
        if image and image.GetPurposeAttr().HasAuthoredValue():
            return image.GetPurposeAttr().Get()
    return UsdGeom.Tokens.default_


def _find_skinning(stage: Usd.Stage) -> dict[Sdf.Path, Skinning]:
    """What deforms the meshes below skeleton roots, by path."""
    found: dict[Sdf.Path, Skinning] = {}
    for prim in Usd.PrimRange.Stage(stage, EVERYTHING):
        if not prim.IsA(UsdSkel.Root):
            continue
        root = UsdSkel.Root(prim)
        cache = UsdSkel.Cache()
        cache.Populate(root, EVERYTHING)
        for binding in cache.ComputeSkelBindings(root, EVERYTHING):
            skeleton = cache.GetSkelQuery(binding.GetSkeleton())
            for query in binding.GetSkinningTargets():
                bound = query.GetPrim()
                shapes = UsdSkel.BindingAPI(bound) if query.HasBlendShapes() else None
                found[bound.GetPath()] = Skinning(
                    skeleton,
                    binding.GetSkeleton().GetPrim(),
                    query,
                    None if shapes is None else UsdSkel.BlendShapeQuery(shapes),
                )
    return found
