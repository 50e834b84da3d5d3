"""Shapes that a USD stage gives by size instead of as a mesh: cubes, spheres, cylinders, cones and so on.

Each is a mesh whose triangles never change, and whose vertices follow its sizes.
"""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64
from pxr import Usd

from genrender.scene.formats.left_out import PartError
from genrender.scene.procedural.primitives import MeshPart, box, lathe

SEGMENTS = 32
# How far the vertices' axes are rolled so that +Y, about which `lathe` turns, becomes the axis of this name.
ROLLS = {"X": 2, "Y": 0, "Z": 1}


def _cube(size: float) -> MeshPart:
    return box().scaled(size)


def _sphere(radius: float) -> MeshPart:
    angle = np.linspace(0, np.pi, SEGMENTS // 2 + 1)
    return lathe([(radius * np.sin(a), radius * np.cos(a)) for a in angle], SEGMENTS)


def _cylinder(top: float, bottom: float, height: float) -> MeshPart:
    half = height / 2
    return lathe([(0, half), (top, half), (bottom, -half), (0, -half)], SEGMENTS)


def _cone(radius: float, height: float) -> MeshPart:
    return lathe([(0, height / 2), (radius, -height / 2), (0, -height / 2)], SEGMENTS)


def _capsule(top: float, bottom: float, height: float) -> MeshPart:
    quarter = np.linspace(0, np.pi / 2, SEGMENTS // 4 + 1)
    profile = [(top * np.sin(a), height / 2 + top * np.cos(a)) for a in quarter]
    profile += [(bottom * np.cos(a), -height / 2 - bottom * np.sin(a)) for a in quarter]
    return lathe(profile, SEGMENTS)


def _plane(width: float, length: float) -> MeshPart:
    corners = np.array([[-1.0, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]]) / 2
    uvs = np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    return MeshPart(corners * np.array([width, 1, length]), np.array([[0, 1, 2], [0, 2, 3]]), uvs)


# Of each type: what makes it, and the attributes that this takes.
SHAPES: dict[str, tuple[Callable[..., MeshPart], tuple[str, ...]]] = {
    "Cube": (_cube, ("size",)),
    "Sphere": (_sphere, ("radius",)),
    "Cylinder": (_cylinder, ("radius", "radius", "height")),
    "Cylinder_1": (_cylinder, ("radiusTop", "radiusBottom", "height")),
    "Cone": (_cone, ("radius", "height")),
    "Capsule": (_capsule, ("radius", "radius", "height")),
    "Capsule_1": (_capsule, ("radiusTop", "radiusBottom", "height")),
    "Plane": (_plane, ("width", "length")),
}


def is_shape(prim: Usd.Prim) -> bool:
    return str(prim.GetTypeName()) in SHAPES


def shape_verts(prim: Usd.Prim, code: float) -> Float64[np.ndarray, "V 3"]:
    """The vertices of a shape with the sizes that it has at a time code.

    Raises:
        PartError: a size is no number.
    """
    build, names = SHAPES[str(prim.GetTypeName())]
    sizes = [prim.GetAttribute(name).Get(code) for name in names]
    if not all(isinstance(size, int | float) and np.isfinite(size) for size in sizes):
        raise PartError(f"has {', '.join(dict.fromkeys(names))} that is no number; export it again")
    axis = _axis(prim, code)
    if build is _plane and axis == "Z":  # its width lies along X, which the roll takes from Z
        sizes.reverse()
    return np.roll(build(*map(float, sizes)).verts, ROLLS[axis], axis=1)


def shape_mesh(prim: Usd.Prim) -> MeshPart:
    """A shape of the size 1: its triangles and texture coordinates are those of every size."""
    build, names = SHAPES[str(prim.GetTypeName())]
    return build(*[1.0] * len(names))


def _axis(prim: Usd.Prim, code: float) -> str:
    attribute = prim.GetAttribute("axis")
    axis = str(attribute.Get(code)) if attribute else "Y"
    if axis not in ROLLS:
        raise PartError(f"has the axis {axis!r}, expected X, Y or Z; export it again")
    return axis
