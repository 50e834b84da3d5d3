"""glTF accessors: typed views of the binary buffers, bounds-checked before anything is allocated."""

import numpy as np
import pygltflib
from jaxtyping import Float32, Int64

from genrender.scene.formats.gltf.file import GltfFile

COMPONENT_DTYPES = {
    5120: np.dtype("i1"),
    5121: np.dtype("u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5124: np.dtype("<i4"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
# (columns, rows): a matrix is stored column by column, and every column starts at a multiple of four bytes.
SHAPES = {
    "SCALAR": (1, 1),
    "VEC2": (1, 2),
    "VEC3": (1, 3),
    "VEC4": (1, 4),
    "MAT2": (2, 2),
    "MAT3": (3, 3),
    "MAT4": (4, 4),
}


def read_floats(
    file: GltfFile, index: object, types: tuple[str, ...], count: int | None = None
) -> Float32[np.ndarray, "N C"]:
    """An accessor's elements as float32; normalized integers are decoded to 0..1 or -1..1.

    Args:
        types: the accessor types that are allowed, e.g. ("VEC3",).
        count: number of elements that must be there, or None.

    Raises:
        SceneError: no such accessor, wrong type or count, out of bounds.
    """
    values, is_normalized = _read(file, index, types, count)
    if values.dtype.kind != "f":
        limit = np.iinfo(values.dtype).max
        values = values.astype(np.float32)
        if is_normalized:
            values = np.maximum(values / np.float32(limit), np.float32(-1))
    # A copy, so that the file's buffers, which mostly hold images, need not stay in memory.
    return np.array(values, np.float32, order="C")


def read_ints(
    file: GltfFile, index: object, types: tuple[str, ...], count: int | None = None
) -> Int64[np.ndarray, "N C"]:
    """An accessor's elements as int64, for indices and joints.

    Raises:
        SceneError: no such accessor, wrong type or count, out of bounds, or floats.
    """
    values, _ = _read(file, index, types, count)
    if values.dtype.kind == "f":
        raise file.error(f"accessor {index} holds floats, expected whole numbers (indices or joints)")
    return values.astype(np.int64)


def read_as_stored(file: GltfFile, index: object) -> tuple[np.ndarray, bool]:
    """An accessor's elements in the numbers of the file, sparse ones filled in, and whether normalized.

    Raises:
        SceneError: no such accessor, wrong type, out of bounds.
    """
    return _read(file, index, tuple(SHAPES), None)


def _read(
    file: GltfFile, index: object, types: tuple[str, ...], count: int | None
) -> tuple[np.ndarray, bool]:
    accessor: pygltflib.Accessor = file.item("accessors", index)
    where = f"accessor {index}"
    if accessor.type not in types or accessor.type not in SHAPES:
        raise file.error(f"{where} has the type {accessor.type!r}, expected {' or '.join(types)}")
    assert isinstance(index, int)
    decoded = file.decoded.get(index)
    n = file.whole(where, "count", accessor.count) if decoded is None else len(decoded)
    if count is not None and n != count:
        raise file.error(f"{where} has {n} elements, expected {count} (one per vertex or key)")
    dtype = _dtype(file, where, accessor.componentType)
    columns, rows = SHAPES[accessor.type]
    if decoded is not None:
        if decoded.shape[1] != columns * rows:
            raise file.error(
                f"{where} is a {accessor.type}, but Draco has {decoded.shape[1]} numbers for it; "
                "export it again"
            )
        values = decoded.astype(dtype)
    elif accessor.bufferView is not None:
        values = _view(file, where, accessor.bufferView, accessor.byteOffset, n, accessor.type, dtype)
    else:
        # The format says zeros, usually as the base of a sparse accessor. Such a count costs its author
        # nothing, so it is bounded by what the rest of the file could give meaning to.
        if count is None and n > file.n_buffer_bytes:
            raise file.error(f"{where} declares {n} elements without any data; export it again")
        values = np.broadcast_to(np.zeros(1, dtype), (n, columns * rows))
    if accessor.sparse is not None:
        values = _with_sparse(file, where, accessor, values)
    return values, bool(accessor.normalized)


def _with_sparse(file: GltfFile, where: str, accessor: pygltflib.Accessor, values: np.ndarray) -> np.ndarray:
    sparse = accessor.sparse
    assert sparse is not None
    n = file.whole(where, "sparse count", sparse.count)
    if n > len(values) or sparse.indices is None or sparse.values is None:
        raise file.error(
            f"{where} is sparse with {n} of {len(values)} elements or parts missing; export it again"
        )
    index_dtype = _dtype(file, where, sparse.indices.componentType)
    if index_dtype.kind != "u":
        raise file.error(f"{where} has sparse indices that are no unsigned integers; export it again")
    rows = _view(
        file, where, sparse.indices.bufferView, sparse.indices.byteOffset, n, "SCALAR", index_dtype
    ).ravel()
    if n and rows.max() >= len(values):
        raise file.error(
            f"{where} has the sparse index {rows.max()}, but only {len(values)} elements; export it again"
        )
    replaced = values.copy()
    replaced[rows] = _view(
        file, where, sparse.values.bufferView, sparse.values.byteOffset, n, accessor.type, values.dtype
    )
    return replaced


def _view(
    file: GltfFile,
    where: str,
    view_index: object,
    byte_offset: object,
    count: int,
    kind: str,
    dtype: np.dtype,
) -> np.ndarray:
    """A strided array on top of the buffer's bytes (of matrices, column after column without padding)."""
    view: pygltflib.BufferView = file.item("bufferViews", view_index)
    data = file.view_bytes(view_index)
    view_where, length = f"bufferView {view_index}", len(data)
    offset = file.whole(where, "byteOffset", byte_offset or 0)
    columns, rows = SHAPES[kind]
    column_bytes = rows * dtype.itemsize
    if columns > 1:
        column_bytes = -(-column_bytes // 4) * 4
    element_bytes = columns * column_bytes
    # The last column needs no padding behind it.
    used_bytes = (columns - 1) * column_bytes + rows * dtype.itemsize
    stride = (
        element_bytes if view.byteStride is None else file.whole(view_where, "byteStride", view.byteStride)
    )
    stride = stride or element_bytes
    if stride < used_bytes:
        raise file.error(
            f"{view_where} has byteStride {stride}, but an element takes {used_bytes} bytes; export it again"
        )
    end = offset + (count - 1) * stride + used_bytes if count else offset
    if end > length:
        raise file.error(
            f"{where} is out of bounds: it ends at byte {end} of {length} in {view_where}; export it again"
        )
    if count == 0:
        return np.zeros((0, columns * rows), dtype)
    array = np.ndarray((count, columns, rows), dtype, data, offset, (stride, column_bytes, dtype.itemsize))
    return array.reshape(count, columns * rows)


def _dtype(file: GltfFile, where: str, component_type: object) -> np.dtype:
    if not isinstance(component_type, int) or component_type not in COMPONENT_DTYPES:
        raise file.error(f"{where} has the componentType {component_type!r}, expected one of 5120 to 5126")
    return COMPONENT_DTYPES[component_type]
