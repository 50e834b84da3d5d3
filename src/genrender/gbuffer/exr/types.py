"""Whether the channels of an EXR file are whole numbers, half or full floats, read from the file's header.

Source: the OpenEXR file layout. Differs: the library tells a channel's type only along with its pixels; its
older interface does so without, but damaged headers make that end the process.
"""

import mmap
from pathlib import Path

UINT, HALF, FLOAT = range(3)
# More than any header has, but for large manifests of cryptomattes.
MAX_HEADER_BYTES = 2**26


def pixel_types(path: Path) -> dict[str, int]:
    """The type of each channel of a file's first part, by name; empty where the header makes no sense."""
    # Mapped, so that of each frame of a sequence only the header is read here.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as header:
        return _of_first_part(header)


def _of_first_part(header: mmap.mmap) -> dict[str, int]:
    """Attribute after attribute, each a name, a type, a size and a value, until the channels come."""
    place = 8  # behind magic number and version
    while (end := header.find(b"\0", place, MAX_HEADER_BYTES)) > place:
        name, place = header[place:end], end + 1
        end = header.find(b"\0", place, MAX_HEADER_BYTES)
        size = int.from_bytes(header[end + 1 : end + 5], "little", signed=True)
        place = end + 5
        if end < 0 or not 0 <= size <= min(len(header), MAX_HEADER_BYTES) - place:
            break
        if name == b"channels":
            return _channels(header[place : place + size])
        place += size
    return {}


def _channels(data: bytes) -> dict[str, int]:
    types = {}
    place = 0
    # Behind each name: type, a byte for linearity, three reserved ones, and the sampling along x and y.
    while (end := data.find(b"\0", place)) > place:
        types[data[place:end].decode("utf-8", "replace")] = int.from_bytes(data[end + 1 : end + 5], "little")
        place = end + 17
    return types
