"""Decoding buffers that were compressed with meshoptimizer, by gltfpack for instance.

Written here because the library's Python package is compiled while it is installed, and no compiler is needed
for anything else. Tests compare this with what that library encodes.

Source: KHR_meshopt_compression, appendices A (bitstreams) and B (filters). EXT_meshopt_compression is the
same without version 1 of attributes.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

GROUP = 16  # elements whose deltas take equally many bits each
# Bits per delta by the two header bits of a group. Version 0 knows the last row only, version 1 chooses.
BITS = {0: (0, 1, 2, 4), 1: (1, 2, 4, 8), "version 0": (0, 2, 4, 8)}
# What each packed byte holds: single bits from the lowest up, larger ones from the highest down.
UNPACKED = {
    1: [bytes(byte >> k & 1 for k in range(8)) for byte in range(256)],
    2: [bytes(byte >> k & 3 for k in (6, 4, 2, 0)) for byte in range(256)],
    4: [bytes((byte >> 4, byte & 15)) for byte in range(256)],
}


def decode(data: bytes, mode: str, count: int, stride: int, kind: str = "NONE") -> bytes:
    """The `count * stride` bytes that were encoded.

    Args:
        mode: ATTRIBUTES, TRIANGLES or INDICES.
        stride: bytes per element.
        kind: the filter, NONE, OCTAHEDRAL, QUATERNION or EXPONENTIAL.

    Raises:
        ValueError: the data are broken, or of a mode, filter or version that is not known.
    """
    try:
        if mode == "ATTRIBUTES":
            decoded = _attributes(data, count, stride)
            return _filtered(decoded, kind, stride)
        if mode in ("TRIANGLES", "INDICES"):
            if stride not in (2, 4) or kind != "NONE":
                raise ValueError(f"its indices have {stride} bytes and the filter {kind}")
            indices = _triangles(data, count) if mode == "TRIANGLES" else _indices(data, count)
            return np.array(indices, np.uint32).astype(f"<u{stride}").tobytes()
    except IndexError:
        raise ValueError("it ends too early") from None
    raise ValueError(f"its mode is {mode!r}")


def _attributes(data: bytes, count: int, stride: int) -> UInt8[np.ndarray, "N S"]:
    if stride % 4 or not 4 <= stride <= 256:
        raise ValueError(f"its elements have {stride} bytes")
    if not data or data[0] not in (0xA0, 0xA1):
        raise ValueError("its attributes are of an unknown version")
    version = data[0] & 15
    tail = len(data) - stride - version * (stride // 4)
    end = min(tail, len(data) - (24 if version else 32))  # the tail is padded before
    if end < 1:
        raise IndexError
    last = np.frombuffer(data, np.uint8, stride, tail)
    channels = data[tail + stride :] if version else bytes(stride // 4)
    elements = np.empty((count, stride), np.uint8)
    at, per_block = 1, min(8192 // stride // GROUP * GROUP, 256)
    for first in range(0, count, per_block):
        n = min(per_block, count - first)
        deltas = np.zeros((stride, -(-n // GROUP) * GROUP), np.uint8)
        controls = data[at : at + stride // 4] if version else b""
        at += len(controls)
        for byte in range(stride):
            control = controls[byte // 4] >> byte % 4 * 2 & 3 if version else "version 0"
            at = _read_deltas(data, at, control, deltas[byte], n)
        block = deltas.T[:n]
        for channel, how in enumerate(channels):
            part = slice(4 * channel, 4 * channel + 4)
            elements[first : first + n, part] = _undelta(block[:, part], last[part], how)
        last = elements[first + n - 1]
    _check_end(at, end)
    return elements


def _read_deltas(
    data: bytes, at: int, control: int | str, deltas: UInt8[np.ndarray, "D"], n_elements: int
) -> int:
    """Reads one byte of all elements of a block, in whole groups; returns where the next one begins."""
    n = len(deltas)
    if control == 2:
        return at
    if control == 3:  # as they are, and no more than there are elements
        deltas[:n_elements] = np.frombuffer(data[at : at + n_elements].ljust(n_elements, b"\0"), np.uint8)
        return at + n_elements
    widths, header = BITS[control], at
    at += -(-n // GROUP // 4)
    found = bytearray()
    for group in range(n // GROUP):
        bits = widths[data[header + group // 4] >> group % 4 * 2 & 3]
        size = 2 * bits
        if bits == 0:
            found += bytes(GROUP)
        elif bits == 8:
            found += data[at : at + size].ljust(size, b"\0")
        else:
            unpacked = UNPACKED[bits]
            values = bytearray(b"".join([unpacked[byte] for byte in data[at : at + size]]))
            sentinel, position = (1 << bits) - 1, -1
            for _ in range(values.count(sentinel)):
                # All bits set: the delta is too large for them and follows as a byte. It may equal the mark.
                position = values.index(sentinel, position + 1)
                values[position] = data[at + size]
                at += 1
            found += values.ljust(GROUP, b"\0")
        at += size
    deltas[:] = np.frombuffer(found, np.uint8)
    return at


def _undelta(
    deltas: UInt8[np.ndarray, "N 4"], last: UInt8[np.ndarray, "4"], how: int
) -> UInt8[np.ndarray, "N 4"]:
    """Four bytes of all elements of a block, from their differences to the element before."""
    mode, turn = how & 15, how >> 4
    if mode > 2 or (mode < 2 and turn):
        raise ValueError(f"it has the channel mode {how}")
    kind = ("u1", "<u2", "<u4")[mode]
    steps = np.ascontiguousarray(deltas).view(kind)
    start = np.ascontiguousarray(last).view(kind)
    if mode == 2:
        steps = (steps << turn) | (steps >> (32 - turn & 31))
        values = np.bitwise_xor.accumulate(np.concatenate([start[None], steps]), axis=0)[1:]
    else:
        steps = (steps >> 1) ^ (-(steps & 1).astype(steps.dtype)).astype(steps.dtype)
        values = start + np.cumsum(steps, axis=0, dtype=steps.dtype)
    return np.ascontiguousarray(values.astype(kind)).view(np.uint8)


def _check_end(at: int, end: int) -> None:
    if at > end:
        raise IndexError
    if at < end:
        raise ValueError(f"{end - at} of its bytes are left over")


class _Reader:
    """Bytes one after the other, and numbers of seven bits a byte, the lowest first."""

    def __init__(self, data: bytes, at: int):
        self._data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while (byte := self.byte()) >= 128 and shift < 28:
            value |= (byte & 127) << shift
            shift += 7
        return (value | byte << shift) & 0xFFFFFFFF


def _unzigzag(value: int) -> int:
    return ~(value >> 1) if value & 1 else value >> 1


def _indices(data: bytes, count: int) -> list[int]:
    if not data or data[0] not in (0xD0, 0xD1):
        raise ValueError("its indices are of an unknown version")
    last, found = [0, 0], []
    reader = _Reader(data[:-4], 1)
    for _ in range(count):
        value = reader.number()
        last[value & 1] += _unzigzag(value >> 1)
        found.append(last[value & 1] & 0xFFFFFFFF)
    _check_end(reader.at, len(data) - 4)
    return found


def _triangles(data: bytes, count: int) -> list[int]:
    if count % 3:
        raise ValueError(f"its triangles have {count} corners")
    if not data or data[0] not in (0xE0, 0xE1):
        raise ValueError("its triangles are of an unknown version")
    # Before version 1 the codes d and e were places in the list of vertices, too.
    n_places = 13 if data[0] == 0xE1 else 15
    codes, table = data[1 : 1 + count // 3], data[-16:]
    reader = _Reader(data[:-16], 1 + count // 3)
    state = _Corners(reader)
    found: list[int] = []
    edges: deque[tuple[int, int]] = deque(maxlen=16)
    for code in codes:
        high, low = code >> 4, code & 15
        if high < 15:
            a, b = edges[high]
            if low == 0 or low == 15 or low >= n_places:
                c = state.new() if low == 0 else state.read({13: -1, 14: 1}.get(low))
                state.recent.appendleft(c)
            else:
                c = state.recent[low]
            edges.appendleft((c, b))
        else:
            places = table[low] if low < 14 else reader.byte()
            if low >= 14 and places == 0:
                state.next = 0
            a = state.read(None) if low == 15 else state.new()
            b, c = state.corner(places >> 4), state.corner(places & 15)
            state.recent.appendleft(a)
            # What was seen a moment ago is in the list already.
            state.recent.extendleft(
                corner for corner, place in ((b, places >> 4), (c, places & 15)) if place in (0, 15)
            )
            edges.appendleft((b, a))
            edges.appendleft((c, b))
        edges.appendleft((a, c))
        found += (a, b, c)
    if len(found) != count:
        raise IndexError
    _check_end(reader.at, len(data) - 16)
    return found


class _Corners:
    """Where corners come from: counted on, told, or seen a moment ago (`recent`, the last first)."""

    def __init__(self, reader: _Reader):
        self.next = self.last = 0
        self.recent: deque[int] = deque(maxlen=16)
        self._reader = reader

    def new(self) -> int:
        self.next += 1
        return self.next - 1

    def read(self, step: int | None) -> int:
        """The last index that was told, and a step; None: the step is told."""
        if step is None:
            step = _unzigzag(self._reader.number())
        self.last = (self.last + step) & 0xFFFFFFFF
        return self.last

    def corner(self, place: int) -> int:
        return self.new() if place == 0 else self.read(None) if place == 15 else self.recent[place - 1]


def _filtered(elements: UInt8[np.ndarray, "N S"], kind: str, stride: int) -> bytes:
    if kind == "NONE":
        return elements.tobytes()
    if kind not in FILTERS or stride not in FILTERS[kind][0]:
        raise ValueError(f"it has the filter {kind!r} for elements of {stride} bytes")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return FILTERS[kind][1](elements).tobytes()


def _octahedral(elements: UInt8[np.ndarray, "N S"]) -> np.ndarray:
    values = elements.view("<i2" if elements.shape[1] == 8 else "i1")
    one = values[:, 2:3].astype(np.float32)
    xy = values[:, :2] / one
    z = 1 - np.abs(xy).sum(axis=1, keepdims=True)
    vectors = np.concatenate([xy - np.copysign(np.minimum(z, 0), xy), z], axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.column_stack([_rounded(vectors, values.dtype), values[:, 3]])


def _quaternion(elements: UInt8[np.ndarray, "N S"]) -> np.ndarray:
    values = elements.view("<i2")
    largest = values[:, 3] & 3
    xyz = values[:, :3] / (values[:, 3:] | 3).astype(np.float32) / np.float32(np.sqrt(2))
    w = np.sqrt(np.maximum(0, 1 - np.square(xyz).sum(axis=1, keepdims=True)))
    places = (largest[:, None] + [1, 2, 3, 0]) % 4
    turned = np.empty_like(values)
    np.put_along_axis(turned, places, _rounded(np.concatenate([xyz, w], axis=1), values.dtype), axis=1)
    return turned


def _exponential(elements: UInt8[np.ndarray, "N S"]) -> np.ndarray:
    values = elements.view("<i4")
    return np.ldexp((values << 8 >> 8).astype(np.float32), values >> 24).astype("<f4")


def _rounded(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    limit = np.iinfo(dtype).max
    return np.clip(np.nan_to_num(np.round(values * limit)), -limit, limit).astype(dtype)


# The sizes of elements that each filter is for, and how it is undone.
FILTERS: dict[str, tuple[range | tuple[int, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "OCTAHEDRAL": ((4, 8), _octahedral),
    "QUATERNION": ((8,), _quaternion),
    "EXPONENTIAL": (range(4, 260, 4), _exponential),
}
