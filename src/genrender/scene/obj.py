"""Wavefront OBJ files.

Differs: libraries at hand split vertices at seams, drop texture coordinates where only some faces have them,
or read no relative indices; sequences need the same vertices in every file.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from genrender.errors import SceneError
from genrender.scene.mesh_file import FileObject, MeshFile
from genrender.scene.polygons import fans
from genrender.scene.read_file import MAX_TEXT_BYTES, read_file


@dataclass
class _Faces:
    """One object's polygons: materials, and corners as indices of vertex and texture coordinate; -1: none."""

    counts: list[int] = field(default_factory=list)
    materials: list[int] = field(default_factory=list)
    verts: list[int] = field(default_factory=list)
    uvs: list[int] = field(default_factory=list)


def read_obj(path: Path) -> MeshFile:
    """Reads vertices, faces, texture coordinates and the names of objects, or of groups where there are none.

    Of materials only the names are read.

    Raises:
        SceneError: a line makes no sense, or an index is out of range.
    """
    verts: list[list[str]] = []
    coordinates: list[list[str]] = []
    faces: dict[str, _Faces] = {}
    name, has_objects = path.stem, False
    materials: dict[str, int] = {}
    material = -1
    data = read_file(path, MAX_TEXT_BYTES, "decimate it, or convert it to .glb")
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8", "replace").read().replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        key = words[0]
        if key == "v":
            verts.append(words[1:4])
        elif key == "vt":
            coordinates.append(words[1:3])
        elif key == "f":
            try:
                _add(faces.setdefault(name, _Faces()), words[1:], material, len(verts), len(coordinates))
            except ValueError:
                raise SceneError(
                    f"{path.name}: line {number} is no face: {line.strip()[:60]!r}; export it again"
                ) from None
        elif key == "o" or (key == "g" and not has_objects):
            has_objects = has_objects or key == "o"
            name = " ".join(words[1:]) or path.stem
        elif key == "usemtl" and len(words) > 1:
            material = materials.setdefault(" ".join(words[1:]), len(materials))
    places, table = _numbers(path, verts, "v", 3), _numbers(path, coordinates, "vt", 2)
    objects = tuple(
        _object(path, name, of, len(places), table, tuple(materials)) for name, of in faces.items()
    )
    return MeshFile(places, objects)


def _add(faces: _Faces, corners: list[str], material: int, n_verts: int, n_uvs: int) -> None:
    faces.counts.append(len(corners))
    faces.materials.append(material)
    for corner in corners:
        vert, _, rest = corner.partition("/")
        uv = rest.partition("/")[0]
        faces.verts.append(_index(vert, n_verts))
        faces.uvs.append(_index(uv, n_uvs) if uv else -1)


def _index(text: str, n_so_far: int) -> int:
    """From 1, or from the last element so far, to an index from 0."""
    index = int(text)
    index = index - 1 if index > 0 else n_so_far + index
    if index < 0:
        raise ValueError(text)
    return index


def _numbers(path: Path, rows: list[list[str]], key: str, n: int) -> Float64[np.ndarray, "N n"]:
    try:
        return np.array(rows, np.float64).reshape(-1, n)
    except ValueError:
        bad = next((row for row in rows if not _is_numeric(row, n)), [])
        raise SceneError(
            f"{path.name}: a line {key!r} holds {' '.join(bad)[:60]!r}, expected {n} numbers; export it again"
        ) from None


def _is_numeric(row: list[str], n: int) -> bool:
    try:
        return len([float(word) for word in row]) == n
    except ValueError:
        return False


def _object(
    path: Path,
    name: str,
    faces: _Faces,
    n_verts: int,
    table: Float64[np.ndarray, "N 2"],
    materials: tuple[str, ...],
) -> FileObject:
    corners, face = fans(np.array(faces.counts, np.int64))
    material = np.array(faces.materials, np.int64)[face]
    tris = _taken(faces.verts, corners)
    if tris.size and tris.max() >= n_verts:
        raise SceneError(
            f"{path.name}: object {name!r} has a face with vertex {tris.max() + 1}, but only {n_verts} "
            "vertices; export it again"
        )
    rows = _taken(faces.uvs, corners)
    if not rows.size or rows.min() < 0 or rows.max() >= len(table):
        return FileObject(name, tris, None, materials, material)
    with np.errstate(over="ignore"):  # infinite coordinates count as missing
        uvs = table[rows].astype(np.float32)
    uvs[..., 1] = 1 - uvs[..., 1]
    return FileObject(name, tris, uvs, materials, material)


def _taken(values: list[int], corners: Int64[np.ndarray, "T 3"]) -> Int64[np.ndarray, "T 3"]:
    return np.array(values, np.int64)[corners]
