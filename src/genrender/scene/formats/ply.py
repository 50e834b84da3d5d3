"""PLY files, ASCII and binary, with faces of any numbers of corners.

Differs: trimesh takes the first face of a binary file for all and garbles files of triangles and quads.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Int64, Num

from genrender.errors import SceneError
from genrender.scene.formats.format import Format
from genrender.scene.formats.mesh_file import FileObject, MeshFile, corner_uvs
from genrender.scene.formats.read_file import MAX_TEXT_BYTES, check_size, read_file

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
ENDIAN = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
INDEX_NAMES = ("vertex_indices", "vertex_index")
UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
HEADER_BYTES = 2**16

# Values by property. A list's are the lengths of its rows, and all its values.
Columns: TypeAlias = dict[str, Any]


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


@dataclass(frozen=True)
class _Header:
    encoding: str
    elements: tuple[_Element, ...]
    n_bytes: int
    n_lines: int


def read_ply(path: Path) -> MeshFile:
    """Reads vertices, faces or strips of triangles, and texture coordinates of vertices or of face corners.

    Raises:
        SceneError: the file is broken or says more than it holds.
    """
    data = read_file(path)
    try:
        header = _header(data)
        if header.encoding == "ascii":
            check_size(path.name, len(data), MAX_TEXT_BYTES, "decimate it, or save it as binary PLY")
            columns = _read_ascii(data[header.n_bytes :], header)
        else:
            columns = _read_binary(data, header)
        vertex = columns.get("vertex", {})
        if not all(isinstance(vertex.get(axis), np.ndarray) for axis in "xyz"):
            raise ValueError("no element vertex with numbers x, y and z")
        verts = np.stack([np.asarray(vertex[axis], np.float64) for axis in "xyz"], axis=1)
    except SceneError:
        raise
    except ValueError as error:  # of this file's own parser
        raise SceneError(f"{path.name}: cannot be read as PLY ({error}); export it again") from None
    face = columns.get("face", {})
    found = next((face[name] for name in INDEX_NAMES if isinstance(face.get(name), tuple)), None)
    strips = columns.get("tristrips", {}).get("vertex_indices")
    if found is None or not len(found[0]):
        found, face = (_strips(*strips) if isinstance(strips, tuple) else None), {}
    if found is None:
        return MeshFile(verts, ())
    counts, indices = found
    with np.errstate(invalid="ignore"):  # what is no number becomes an index out of range
        corners = indices.astype(np.int64)
    bad = corners[(corners < 0) | (corners >= len(verts))]
    if len(bad):
        raise SceneError(
            f"{path.name}: has a face with vertex {bad[0]}, but only {len(verts)} vertices; export it again"
        )
    return MeshFile(verts, (FileObject(path.stem, counts, corners, _uvs(vertex, face, counts, corners)),))


def _header(data: bytes) -> _Header:
    """What the lines before the body announce.

    Raises:
        ValueError: it is no header, or says something that nobody could read.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("the text is UTF-16; save it as ASCII or UTF-8")
    lines = data.removeprefix(b"\xef\xbb\xbf")[:HEADER_BYTES].splitlines(keepends=True)
    encoding = ""
    elements: list[_Element] = []
    n_bytes = len(data) - len(data.removeprefix(b"\xef\xbb\xbf"))
    for number, raw in enumerate(lines, 1):
        n_bytes += len(raw)
        line = raw.decode("ascii", "replace")
        match line.split():
            case ["ply"] if number == 1:
                pass
            case _ if number == 1:
                break
            case ["end_header"]:
                if encoding not in ENDIAN:
                    raise ValueError(f"format {encoding!r}, expected one of {', '.join(ENDIAN)}")
                return _Header(encoding, tuple(elements), n_bytes, number)
            case ["format", name, *_]:
                encoding = name
            case ["element", name, n] if n.isdecimal():
                elements.append(_Element(name, int(n), ()))
            case ["property", "list", count_type, kind, name] if (
                kind in TYPES and TYPES.get(count_type, "f")[0] in "iu"
            ):
                _add_property(elements, _Property(name, TYPES[kind], TYPES[count_type]))
            case ["property", kind, name] if kind in TYPES:
                _add_property(elements, _Property(name, TYPES[kind], None))
            case [("element" | "property"), *_]:
                raise ValueError(
                    f"line {number}: {line.strip()[:60]!r} is no element or property that is known"
                )
    raise ValueError("no header: it begins with a line 'ply' and ends with a line 'end_header'")


def _add_property(elements: list[_Element], new: _Property) -> None:
    if not elements:
        raise ValueError(f"property {new.name!r} stands before any element")
    last = elements[-1]
    if any(known.name == new.name for known in last.properties):
        raise ValueError(f"element {last.name} has the property {new.name!r} twice")
    elements[-1] = _Element(last.name, last.n, (*last.properties, new))


def _read_ascii(body: bytes, header: _Header) -> dict[str, Columns]:
    """One line is one row, whatever stands behind the values that the header tells of."""
    lines = (
        (n, words) for n, line in enumerate(body.splitlines(), header.n_lines + 1) if (words := line.split())
    )
    columns: dict[str, Columns] = {}
    for element in header.elements:
        rows = list(islice(lines, element.n))
        if len(rows) < element.n:
            raise ValueError(
                f"{element.n:,} {element.name} announced, but the file ends after {len(rows):,} of them"
            )
        read = _ascii_lists if any(p.count_type for p in element.properties) else _ascii_numbers
        columns[element.name] = read(rows, element)
    return columns


def _ascii_numbers(rows: list[tuple[int, list[bytes]]], element: _Element) -> Columns:
    n = len(element.properties)
    try:
        table = np.array([words[:n] for _, words in rows], np.float64).reshape(len(rows), n)
    except ValueError:
        for number, words in rows:
            if len(words) < n or not all(map(_is_number, words[:n])):
                raise _row_error(number, words, element, f"{n} numbers") from None
        raise
    return {p.name: table[:, i] for i, p in enumerate(element.properties)}


def _ascii_lists(rows: list[tuple[int, list[bytes]]], element: _Element) -> Columns:
    found: dict[str, tuple[list[int], list[float]]] = {p.name: ([], []) for p in element.properties}
    for number, words in rows:
        place = 0
        try:
            for p in element.properties:
                n = 1
                if p.count_type is not None:
                    n, place = int(words[place]), place + 1
                values = words[place : place + n]
                if len(values) < n or n < 0:
                    raise ValueError
                place += n
                found[p.name][0].append(n)
                found[p.name][1].extend(map(float, values))
        except (ValueError, IndexError, OverflowError):
            expected = ", ".join(
                p.name + (" (how many, then the values)" if p.count_type else "") for p in element.properties
            )
            raise _row_error(number, words, element, expected) from None
    return _columns(element, found)


def _row_error(number: int, words: list[bytes], element: _Element, expected: str) -> ValueError:
    shown = b" ".join(words)[:60].decode("ascii", "replace")
    return ValueError(f"line {number}: {shown!r} is no {element.name}, expected {expected}")


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_binary(data: bytes, header: _Header) -> dict[str, Columns]:
    endian = ENDIAN[header.encoding]
    columns: dict[str, Columns] = {}
    start = header.n_bytes
    for element in header.elements:
        least = sum(np.dtype(p.count_type or p.type).itemsize for p in element.properties)
        if element.n * least > len(data) - start:
            raise ValueError(f"{element.n:,} {element.name} announced, but the file ends before")
        columns[element.name], start = _binary_element(data, start, endian, element)
    return columns


def _binary_element(data: bytes, start: int, endian: str, element: _Element) -> tuple[Columns, int]:
    """As if all lists were as long as those of the first row; where that is not so, row by row."""
    properties = element.properties
    if element.n == 0 or not properties:
        return _columns(element, {p.name: ([], []) for p in properties}), start
    fields: list[tuple] = []
    for p in properties:
        if p.count_type is None:
            fields.append((p.name, endian + p.type))
            continue
        before = np.dtype(fields).itemsize if fields else 0
        n = int(np.frombuffer(data, endian + p.count_type, 1, start + before)[0])
        if n > len(data):
            raise ValueError(f"a list of {n:,} {p.name} announced, but the file ends before")
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
    found: dict[str, tuple[list[int], list[float]]] = {p.name: ([], []) for p in properties}
    for row in range(element.n):
        for p in properties:
            n = 1
            try:
                if p.count_type is not None:
                    n = int(np.frombuffer(data, endian + p.count_type, 1, start)[0])
                    start += np.dtype(p.count_type).itemsize
                values = np.frombuffer(data, endian + p.type, max(n, 0), start) if n else np.empty(0)
            except ValueError:
                raise ValueError(f"the file ends within {element.name} {row:,} of {element.n:,}") from None
            start += values.nbytes
            found[p.name][0].append(len(values))
            found[p.name][1].extend(values.tolist())
    return _columns(element, found), start


def _columns(element: _Element, found: dict[str, tuple[list[int], list[float]]]) -> Columns:
    return {
        p.name: np.array(found[p.name][1], np.float64)
        if p.count_type is None
        else (np.array(found[p.name][0], np.int64), np.array(found[p.name][1], np.float64))
        for p in element.properties
    }


def _strips(
    counts: Int64[np.ndarray, "S"], indices: Num[np.ndarray, "I"]
) -> tuple[Int64[np.ndarray, "P"], Num[np.ndarray, "C"]]:
    """The triangles of strips; -1 begins a new strip. Every second triangle runs the other way round."""
    ends = np.zeros(len(indices) + 1, bool)
    ends[np.cumsum(counts)] = True
    is_end = ends[1:] | (indices == -1)
    n_before = np.concatenate([[0], np.cumsum(is_end)])[:-1]
    begins = np.flatnonzero(np.append(True, is_end[:-1]))
    place = np.arange(len(indices)) - begins[n_before] if len(indices) else np.zeros(0, np.int64)
    third = np.flatnonzero((place >= 2) & (indices != -1))
    odd = (place[third] % 2)[:, None]
    corners = third[:, None] + np.where(odd == 1, [-1, -2, 0], [-2, -1, 0])
    tris = indices[corners]
    is_stitch = (tris == np.roll(tris, 1, axis=1)).any(axis=1)
    tris = tris[~is_stitch]
    return np.full(len(tris), 3, np.int64), tris.ravel()


def _uvs(
    vertex: Columns, face: Columns, counts: Int64[np.ndarray, "P"], corners: Int64[np.ndarray, "C"]
) -> Float32[np.ndarray, "C 2"] | None:
    """Coordinates of corners, of the faces where these have them, else of the vertices."""
    numbers = {name for name, values in vertex.items() if isinstance(values, np.ndarray)}
    names = next((names for names in UV_NAMES if numbers >= set(names)), None)
    of_vertices = np.full((len(corners), 2), np.nan)
    if names is not None:
        of_vertices = np.stack([np.asarray(vertex[name], np.float64)[corners] for name in names], axis=-1)
    found = face.get("texcoord")
    if not isinstance(found, tuple):
        return None if names is None else corner_uvs(of_vertices, counts)
    n_values, values = found
    # A face that has no coordinates, or not two for each of its corners, has none.
    is_there = (n_values == 2 * counts) & (counts > 0)
    uvs = of_vertices
    uvs[np.repeat(is_there, counts)] = np.asarray(values, np.float64)[np.repeat(is_there, n_values)].reshape(
        -1, 2
    )
    return corner_uvs(uvs, counts)


PLY = Format("PLY", (".ply",), read_moment=read_ply)
