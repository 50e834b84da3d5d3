"""Triangles and texture coordinates of USD meshes and shapes."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

import numpy as np
from jaxtyping import Float32, Int64
from pxr import Tf, Usd, UsdGeom, UsdShade

from genrender.scene.formats.assemble import ObjectMesh
from genrender.scene.formats.left_out import CHANGES_FACES, PartError
from genrender.scene.formats.polygons import triangulate
from genrender.scene.formats.usd.find import UsdPart, read_points
from genrender.scene.formats.usd.instances import read_whole
from genrender.scene.formats.usd.shapes import is_shape, shape_mesh

# What texture coordinates are called by those who do not call them st.
UV_NAMES = ("st", "UVMap", "uv", "map1", "st0", "st1")
UV_TYPES = ("texCoord2f[]", "texCoord2d[]", "texCoord2h[]", "float2[]", "double2[]", "half2[]")


def read_object(part: UsdPart, code: float, mesh_number: int) -> ObjectMesh:
    """The triangles of a mesh and their texture coordinates, with V turned downwards.

    Subdivision surfaces are shown as their cages.

    Raises:
        PartError: the topology is broken, or changes over time.
    """
    if is_shape(part.prim):
        return _shape(part, code, mesh_number)
    mesh = UsdGeom.Mesh(part.prim)
    counts = _constant(mesh.GetFaceVertexCountsAttr(), code)
    indices = _constant(mesh.GetFaceVertexIndicesAttr(), code)
    if (counts < 0).any() or counts.sum() != len(indices):
        raise PartError(
            f"has faces with {counts.sum()} corners in all, but lists {len(indices)}; export it again"
        )
    if len(indices) and not 0 <= indices.min() <= indices.max() < part.n_verts:
        raise PartError(
            f"has a face with vertex {indices.max()}, but only {part.n_verts} vertices; export it again"
        )
    orientation = mesh.GetOrientationAttr().Get(code)
    found = read_points(part.prim, code)
    points = np.asarray([] if found is None else found, np.float32).reshape(-1, 3)
    corners, face = triangulate(points, indices, counts, orientation == UsdGeom.Tokens.leftHanded)
    holes = read_whole(mesh.GetHoleIndicesAttr(), code)
    if len(holes):
        is_shown = ~np.isin(face, holes)
        corners, face = corners[is_shown], face[is_shown]
    materials, of_face = _materials(part.prim, len(counts), code)
    return ObjectMesh(
        part.name,
        part.n_verts,
        indices[corners],
        _uvs(mesh, code, corners, face, indices),
        mesh_number,
        materials,
        of_face[face],
    )


def _shape(part: UsdPart, code: float, mesh_number: int) -> ObjectMesh:
    unit = shape_mesh(part.prim)
    materials, of_face = _materials(part.prim, len(unit.tris), code)
    uvs = unit.uvs[unit.tris].astype(np.float32)
    return ObjectMesh(part.name, part.n_verts, unit.tris, uvs, mesh_number, materials, of_face)


def _materials(prim: Usd.Prim, n_faces: int, code: float) -> tuple[tuple[str, ...], Int64[np.ndarray, "P"]]:
    """Names of materials, and per face an index into them; bindings of subsets go before the mesh's own."""
    materials: dict[str, int] = {}
    of_face = np.full(n_faces, -1, np.int64)
    binding = UsdShade.MaterialBindingAPI(prim)
    bound = [(prim, np.arange(n_faces))]
    for subset in binding.GetMaterialBindSubsets():
        rows = read_whole(subset.GetIndicesAttr(), code)
        bound.append((subset.GetPrim(), rows[(rows >= 0) & (rows < n_faces)]))
    for subject, rows in bound:
        material, _ = UsdShade.MaterialBindingAPI(subject).ComputeBoundMaterial()
        if material:
            of_face[rows] = materials.setdefault(material.GetPrim().GetName(), len(materials))
    return tuple(materials), of_face


def _constant(attribute: Usd.Attribute, code: float) -> Int64[np.ndarray, "_"]:
    values = read_whole(attribute, code)
    if attribute.ValueMightBeTimeVarying() and any(
        not np.array_equal(values, read_whole(attribute, sample)) for sample in attribute.GetTimeSamples()
    ):
        raise PartError(CHANGES_FACES)
    return values


def _uvs(
    mesh: UsdGeom.Mesh,
    code: float,
    corners: Int64[np.ndarray, "T 3"],
    face: Int64[np.ndarray, "T"],
    indices: Int64[np.ndarray, "C"],
) -> Float32[np.ndarray, "T 3 2"] | None:
    primvar = _uv_primvar(mesh)
    if primvar is None:
        return None
    try:
        flat = primvar.ComputeFlattened(code)
    except Tf.ErrorException:  # of indices that are none
        return None
    values = np.asarray(flat or [], np.float32).reshape(-1, 2)
    interpolation = primvar.GetInterpolation()
    if interpolation == UsdGeom.Tokens.faceVarying:
        rows = corners
    elif interpolation in (UsdGeom.Tokens.vertex, UsdGeom.Tokens.varying):
        rows = indices[corners]
    elif interpolation == UsdGeom.Tokens.uniform:
        rows = np.repeat(face[:, None], 3, axis=1)
    else:
        rows = np.zeros_like(corners)
    # Broken coordinates count as missing: the surface is still there, and an unwrap mends it.
    if rows.size and not 0 <= rows.min() <= rows.max() < len(values):
        return None
    uvs = values[rows]
    uvs[..., 1] = 1 - uvs[..., 1]
    return uvs


def _uv_primvar(mesh: UsdGeom.Mesh) -> UsdGeom.Primvar | None:
    found = {
        str(primvar.GetPrimvarName()): primvar
        for primvar in UsdGeom.PrimvarsAPI(mesh).FindPrimvarsWithInheritance()
        if primvar.HasValue() and str(primvar.GetTypeName()) in UV_TYPES
    }
    for name in UV_NAMES:
        if name in found:
            return found[name]
    # Any other name will do where the type says what it is; a plain pair of numbers may be anything.
    return next((p for p in found.values() if str(p.GetTypeName()).startswith("texCoord2")), None)
