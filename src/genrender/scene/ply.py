"""PLY files, ASCII and binary, with faces of any numbers of corners.

Differs: trimesh takes the first face of a binary file for all and garbles files of triangles and quads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from genrender.errors import SceneError
from genrender.scene.mesh_file import FileObject, MeshFile
from genrender.scene.polygons import fans
from genrender.scene.read_file import MAX_TEXT_BYTES, check_size, read_file

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
ENDIAN = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
INDEX_NAMES = ("vertex_indices", "vertex_index")
UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
HEADER_BYTES = 2**16


@dataclass(frozen=True)
class _Property:
    name: str
    type: str
    count_type: str | None  # of a list


@dataclass(frozen=True)
class _Element:
    name: str
    n: int
    properties: tuple[_Property, ...]


def read_ply(path: Path) -> MeshFile:
    """Reads vertices, faces, and texture coordinates of vertices or of face corners.

    Raises:
        SceneError: the file is broken or says more than it holds.
    """
    data = read_file(path)
    try:
        encoding, elements, start = _header(data)
        if not ENDIAN[encoding]:
            check_size(path.name, len(data), MAX_TEXT_BYTES, "decimate it, or save it as binary PLY")
        columns = _body(data[start:], ENDIAN[encoding], elements)
        vertex, face = columns["vertex"], columns.get("face", {})
        verts = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
    except SceneError:
        raise
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise SceneError(f"{path.name}: cannot be read as PLY ({error}); export it again") from None
    found = next((face[name] for name in INDEX_NAMES if name in face), None)
    if found is None:
        return MeshFile(verts, ())
    counts, indices = found
    corners, _ = fans(counts)
    with np.errstate(invalid="ignore"):  # what is no number becomes an index out of range
        tris = indices.astype(np.int64)[corners]
    if tris.size and not 0 <= tris.min() <= tris.max() < len(verts):
        raise SceneError(
            f"{path.name}: has a face with vertex {tris.max()}, but only {len(verts)} vertices; "
            "export it again"
        )
    return MeshFile(verts, (FileObject(path.stem, tris, _uvs(vertex, face, counts, corners, tris)),))


def _header(data: bytes) -> tuple[str, list[_Element], int]:
    end = data.find(b"end_header", 0, HEADER_BYTES)
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no header")
    encoding = ""
    elements: list[_Element] = []
    for line in data[:end].decode("ascii", "replace").splitlines():
        match line.split():
            case ["format", name, *_]:
                encoding = name
            case ["element", name, n]:
                elements.append(_Element(name, int(n), ()))
            case ["property", "list", count_type, kind, name]:
                _add_property(elements, _Property(name, TYPES[kind], TYPES[count_type]))
            case ["property", kind, name]:
                _add_property(elements, _Property(name, TYPES[kind], None))
            case ["property", *_]:
                raise ValueError(f"the line {line[:60]!r}")
    if encoding not in ENDIAN or any(element.n < 0 for element in elements):
        raise ValueError(f"format {encoding!r}")
    newline = data.find(b"\n", end)
    return encoding, elements, len(data) if newline < 0 else newline + 1


def _add_property(elements: list[_Element], new: _Property) -> None:
    last = elements[-1]
    elements[-1] = _Element(last.name, last.n, (*last.properties, new))


def _body(data: bytes, endian: str, elements: list[_Element]) -> dict[str, dict[str, Any]]:
    """Columns by element and property. A list's column is the lengths of its rows and all its values."""
    source: list[bytes] | bytes = data if endian else data.split()
    columns = {}
    start = 0
    for element in elements:
        least = sum(np.dtype(p.count_type or p.type).itemsize if endian else 1 for p in element.properties)
        if element.n * least > len(source) - start:
            raise ValueError(f"{element.n:,} {element.name} announced, but the file ends before")
        read = _read_binary if endian else _read_ascii
        columns[element.name], start = read(source, start, endian, element)  # pyright: ignore[reportArgumentType]
    return columns


def _read_ascii(
    words: list[bytes], start: int, _endian: str, element: _Element
) -> tuple[dict[str, Any], int]:
    properties = element.properties
    if all(p.count_type is None for p in properties):
        end = start + element.n * len(properties)
        table = np.array(words[start:end], np.float64).reshape(element.n, len(properties))
        return {p.name: table[:, i] for i, p in enumerate(properties)}, end
    rows: dict[str, tuple[list[int], list[float]]] = {p.name: ([], []) for p in properties}
    for _ in range(element.n):
        for p in properties:
            n = 1
            if p.count_type is not None:
                n, start = int(words[start]), start + 1
            values = words[start : start + n]
            if len(values) < n or n < 0:
                raise ValueError("the file ends before its last element")
            start += n
            rows[p.name][0].append(n)
            rows[p.name][1].extend(map(float, values))
    return _columns(properties, rows), start


def _read_binary(data: bytes, start: int, endian: str, element: _Element) -> tuple[dict[str, Any], int]:
    """As if all lists were as long as those of the first row; where that is not so, row by row."""
    properties = element.properties
    if element.n == 0:
        return _columns(properties, {p.name: ([], []) for p in properties}), start
    fields: list[tuple] = []
    for p in properties:
        if p.count_type is None:
            fields.append((p.name, endian + p.type))
            continue
        before = np.dtype(fields).itemsize if fields else 0
        n = int(np.frombuffer(data, endian + p.count_type, 1, start + before)[0])
        fields += [(p.name + " count", endian + p.count_type), (p.name, endian + p.type, (max(n, 0),))]
    dtype = np.dtype(fields)
    if element.n * dtype.itemsize <= len(data) - start:
        table = np.frombuffer(data, dtype, element.n, start)
        lists = [p for p in properties if p.count_type is not None]
        if all((table[p.name + " count"] == table[p.name].shape[1]).all() for p in lists):
            end = start + element.n * dtype.itemsize
            return {
                p.name: table[p.name]
                if p.count_type is None
                else (table[p.name + " count"].astype(np.int64), table[p.name].ravel())
                for p in properties
            }, end
    rows: dict[str, tuple[list[int], list[float]]] = {p.name: ([], []) for p in properties}
    for _ in range(element.n):
        for p in properties:
            n = 1
            if p.count_type is not None:
                n = int(np.frombuffer(data, endian + p.count_type, 1, start)[0])
                start += np.dtype(p.count_type).itemsize
            values = np.frombuffer(data, endian + p.type, n, start) if n else np.empty(0)
            start += values.nbytes
            rows[p.name][0].append(n)
            rows[p.name][1].extend(values.tolist())
    return _columns(properties, rows), start


def _columns(
    properties: tuple[_Property, ...], rows: dict[str, tuple[list[int], list[float]]]
) -> dict[str, Any]:
    return {
        p.name: np.array(rows[p.name][1], np.float64)
        if p.count_type is None
        else (np.array(rows[p.name][0], np.int64), np.array(rows[p.name][1], np.float64))
        for p in properties
    }


def _uvs(
    vertex: dict[str, Any],
    face: dict[str, Any],
    counts: Int64[np.ndarray, "P"],
    corners: Int64[np.ndarray, "T 3"],
    tris: Int64[np.ndarray, "T 3"],
) -> Float32[np.ndarray, "T 3 2"] | None:
    if "texcoord" in face and np.array_equal(face["texcoord"][0], 2 * counts):
        uvs = np.asarray(face["texcoord"][1]).reshape(-1, 2)[corners]
    else:
        names = next((names for names in UV_NAMES if vertex.keys() >= set(names)), None)
        if names is None:
            return None
        uvs = np.stack([np.asarray(vertex[name])[tris] for name in names], axis=-1)
    with np.errstate(over="ignore"):  # infinite coordinates count as missing
        uvs = uvs.astype(np.float32)
    uvs[..., 1] = 1 - uvs[..., 1]
    return uvs
