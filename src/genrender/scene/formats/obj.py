"""Wavefront OBJ files.

Differs: libraries at hand split vertices at seams, drop texture coordinates where only some faces have them,
or read no relative indices; sequences need the same vertices in every file.
"""

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from genrender.errors import SceneError
from genrender.scene.formats.format import Format
from genrender.scene.formats.mesh_file import FileObject, MeshFile, corner_uvs
from genrender.scene.formats.read_file import MAX_TEXT_BYTES, read_file

# Behind numbers; not in 1.#QNAN, which is how some software writes what is no number.
COMMENT = re.compile(r"(?<=[\s\d])#.*")
# More vertices than any file has room for.
MAX_INDEX = 2**31


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
    lines = _lines(path)
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        key = words[0]
        if "#" in line and key in ("v", "vt", "f"):
            words = COMMENT.sub("", line).split()
        if key == "v":
            verts.append(words[1:4])
        elif key == "vt":
            coordinates.append([*words[1:3], "0"] if len(words) == 2 else words[1:3])  # V may be left out
        elif key == "f":
            try:
                _add(faces.setdefault(name, _Faces()), words[1:], material, len(verts), len(coordinates))
            except ValueError as error:
                raise SceneError(
                    f"{path.name}: line {number} is no face: {line.strip()[:60]!r} ({error}); export it again"
                ) from None
        elif key == "o" or (key == "g" and not has_objects):
            has_objects = has_objects or key == "o"
            name = " ".join(words[1:]) or path.stem
        elif key == "usemtl" and len(words) > 1:
            material = materials.setdefault(" ".join(words[1:]), len(materials))
    places = _numbers(path, verts, "v", 3, lines)
    table = _numbers(path, coordinates, "vt", 2, lines)
    objects = tuple(
        _object(path, name, of, len(places), table, tuple(materials)) for name, of in faces.items()
    )
    return MeshFile(places, objects)


def _lines(path: Path) -> list[str]:
    """The text's lines; a line that ends in a backslash goes on in the next one."""
    data = read_file(path, MAX_TEXT_BYTES, "decimate it, or convert it to .glb")
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\\\n", " ").split("\n")


def _add(faces: _Faces, corners: list[str], material: int, n_verts: int, n_uvs: int) -> None:
    faces.counts.append(len(corners))
    faces.materials.append(material)
    for corner in corners:
        vert, _, rest = corner.partition("/")
        uv = rest.partition("/")[0]
        index = _index(vert, n_verts)
        if index < 0:
            raise ValueError("indices begin at 1")
        faces.verts.append(index)
        # Some software writes 0 for coordinates that a corner does not have.
        faces.uvs.append(_index(uv, n_uvs) if uv else -1)


def _index(text: str, n_so_far: int) -> int:
    """From 1, or from the last element so far, to an index from 0; -1 for 0, which is none."""
    try:
        index = int(text)
    except ValueError:
        raise ValueError(f"{text[:20]!r} is no whole number") from None
    if not -n_so_far <= index <= MAX_INDEX:
        raise ValueError(f"index {text[:20]}, and {n_so_far} came before")
    return index - 1 if index >= 0 else n_so_far + index


def _numbers(
    path: Path, rows: list[list[str]], key: str, n: int, lines: list[str]
) -> Float64[np.ndarray, "N n"]:
    try:
        return np.array(rows, np.float64).reshape(len(rows), n)
    except ValueError:
        bad = next(i for i, row in enumerate(rows) if not _is_numeric(row, n))
        numbers = (number for number, line in enumerate(lines, 1) if line.split()[:1] == [key])
        number = next(number for i, number in enumerate(numbers) if i == bad)
        raise SceneError(
            f"{path.name}: line {number} is {lines[number - 1].strip()[:60]!r}, expected {key!r} and {n} "
            "numbers; export it again"
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
    counts, corners = np.array(faces.counts, np.int64), np.array(faces.verts, np.int64)
    if corners.size and corners.max() >= n_verts:
        raise SceneError(
            f"{path.name}: object {name!r} has a face with vertex {corners.max() + 1}, but only {n_verts} "
            "vertices; export it again"
        )
    rows = np.array(faces.uvs, np.int64)
    is_there = (rows >= 0) & (rows < len(table))
    uvs = None
    if is_there.any():
        uvs = corner_uvs(np.where(is_there[:, None], table[np.where(is_there, rows, 0)], np.nan), counts)
    return FileObject(name, counts, corners, uvs, materials, np.array(faces.materials, np.int64))


OBJ = Format("OBJ", (".obj",), read_moment=read_obj)
