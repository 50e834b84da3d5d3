"""Meshes from formulas: boxes, surfaces of revolution, capsules, tori, and their union with one UV atlas.

Every builder returns a `MeshPart` whose UVs cover [0, 1]^2 once; `merge` packs the parts of an object into
the cells of one atlas, so that no two surface points share a texel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Int

# Ints are named because the test suite checks types at runtime.
Vector: TypeAlias = Sequence[float | int] | Float[np.ndarray, "3"]


@dataclass(frozen=True)
class MeshPart:
    """An indexed triangle mesh. `uvs` are per vertex, origin top-left; front faces wind counter-clockwise."""

    verts: Float64[np.ndarray, "V 3"]
    tris: Int[np.ndarray, "T 3"]
    uvs: Float64[np.ndarray, "V 2"]

    def moved(self, offset: Vector) -> "MeshPart":
        return replace(self, verts=self.verts + np.asarray(offset, np.float64))

    def scaled(self, factors: Vector | float | int) -> "MeshPart":
        return replace(self, verts=self.verts * np.asarray(factors, np.float64))

    def turned(self, rotation: Float[np.ndarray, "3 3"]) -> "MeshPart":
        return replace(self, verts=self.verts @ rotation.T)


def rotation_about(axis: Vector, angle_rad: float | int) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix about a unit axis (Rodrigues' formula)."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross


def rotation_from_y(direction: Float[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """The smallest rotation that takes +Y to `direction`."""
    d = direction / np.linalg.norm(direction)
    axis = np.array([d[2], 0.0, -d[0]])
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.eye(3) if d[1] > 0 else np.diag([1.0, -1.0, -1.0])
    return rotation_about(axis / sine, np.arctan2(sine, d[1]))


def _grid(points: Float[np.ndarray, "R S 3"]) -> MeshPart:
    """A closed-in-S grid of points as a mesh; the seam's vertices are doubled so that UVs do not wrap."""
    rows, columns = points.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    i, j = (a.ravel() for a in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    a, b, c, d = i * columns + j, i * columns + j + 1, (i + 1) * columns + j, (i + 1) * columns + j + 1
    tris = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    verts = points.reshape(-1, 3)
    corners = verts[tris]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return MeshPart(verts, tris[area > 1e-12], np.stack([u.ravel(), v.ravel()], 1))


def lathe(profile: Sequence[tuple[float | int, float | int]], segments: int = 24) -> MeshPart:
    """Surface of revolution about +Y. `profile` lists (radius, height) from the top to the bottom."""
    radius, height = np.asarray(profile, np.float64).T
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    points = np.stack(
        [
            radius[:, None] * np.sin(angle)[None],
            np.repeat(height[:, None], segments + 1, axis=1),
            radius[:, None] * np.cos(angle)[None],
        ],
        axis=-1,
    )
    return _grid(points)


def sphere(radius: float = 0.5, segments: int = 24) -> MeshPart:
    angle = np.linspace(0, np.pi, segments // 2 + 1)
    return lathe([(radius * np.sin(a), radius * np.cos(a)) for a in angle], segments)


def capsule(
    start: Vector,
    end: Vector,
    start_radius: float,
    end_radius: float,
    segments: int = 16,
) -> MeshPart:
    """A tapered tube with round ends from `start` to `end`; the picture of a limb."""
    base = np.asarray(start, np.float64)
    axis = np.asarray(end, np.float64) - base
    length = float(np.linalg.norm(axis))
    quarter = np.linspace(0, np.pi / 2, 5)
    top = [(end_radius * np.sin(a), length + end_radius * np.cos(a)) for a in quarter]
    middle = [
        (end_radius + (start_radius - end_radius) * s, length * (1 - s)) for s in np.linspace(0, 1, 9)[1:-1]
    ]
    bottom = [(start_radius * np.cos(a), -start_radius * np.sin(a)) for a in quarter]
    part = lathe(top + middle + bottom, segments)
    return part.turned(rotation_from_y(axis)).moved(base)


def box(size: Vector = (1.0, 1.0, 1.0)) -> MeshPart:
    """An axis-aligned box about the origin with hard edges; its six faces fill a 3 x 2 atlas."""
    faces = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            normal, side = np.zeros(3), np.zeros(3)
            normal[axis], side[(axis + 1) % 3] = sign, 1.0
            other = np.cross(normal, side)
            corners = [normal + u * side + v * other for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            uvs = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
            faces.append(MeshPart(np.array(corners) / 2, np.array([[0, 1, 2], [0, 2, 3]]), uvs))
    return merge(faces).scaled(size)


def pyramid(side: float = 1.0, height: float = 1.0) -> MeshPart:
    """A four-sided pyramid standing on y = 0 with hard edges."""
    half, apex = side / 2, np.array([0.0, height, 0.0])
    base = np.array([[-half, 0, half], [half, 0, half], [half, 0, -half], [-half, 0, -half]])
    uvs = np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])
    sides = [
        MeshPart(np.array([base[i], base[(i + 1) % 4], apex]), np.array([[0, 1, 2]]), uvs) for i in range(4)
    ]
    floor = MeshPart(base, np.array([[0, 2, 1], [0, 3, 2]]), np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
    return merge([*sides, floor])


def torus(radius: float = 0.35, thickness: float = 0.15, segments: int = 32) -> MeshPart:
    """A ring that lies flat around +Y."""
    tube = np.linspace(0, 2 * np.pi, segments // 2 + 1)
    return lathe(
        [(radius + thickness * np.cos(a), thickness * np.sin(a)) for a in tube[::-1] + np.pi], segments
    )


def merge(parts: Sequence[MeshPart]) -> MeshPart:
    """One mesh of several, each part's UVs in its own cell of a square atlas, with a gutter between cells."""
    cells = int(np.ceil(np.sqrt(len(parts))))
    gutter = 0.02
    verts, tris, uvs, first = [], [], [], 0
    for index, part in enumerate(parts):
        corner = np.array([index % cells, index // cells])
        verts.append(part.verts)
        tris.append(part.tris + first)
        uvs.append((corner + gutter + (1 - 2 * gutter) * part.uvs) / cells)
        first += len(part.verts)
    return MeshPart(np.concatenate(verts), np.concatenate(tris), np.concatenate(uvs))


def vertex_normals(
    verts: Float[np.ndarray, "V 3"], tris: Int[np.ndarray, "T 3"]
) -> Float64[np.ndarray, "V 3"]:
    """Area-weighted unit normals; doubled vertices keep hard edges hard."""
    corners = verts[tris]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(verts), 3))
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(tris[:, corner], face[:, axis], len(verts))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
