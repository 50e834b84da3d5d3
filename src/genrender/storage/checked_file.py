"""Files and blocks with a checksum: what a disk or a hand has changed is noticed when it is read."""

import zlib
from pathlib import Path

from genrender.errors import MediaError
from genrender.storage.atomic import atomic_write
from genrender.storage.untrusted import ordinary_bytes

CHECKSUM_BYTES = 4
# Where the sum begins: not at zero, lest a file of zeros pass.
_START = zlib.crc32(b"genrender")


class DamagedFile(MediaError):
    """What is read is not what was written."""

    def __init__(self, path: Path):
        super().__init__(f"{path} is missing or damaged: render the run again")


def checksum(data: bytes | memoryview, position: int = 0) -> bytes:
    """The CRC-32 of a block, 4 bytes; blocks of equal content differ by their position in the file."""
    return zlib.crc32(data, (_START + position) % 2**32).to_bytes(CHECKSUM_BYTES, "little")


def write_checked(path: Path, content: bytes | memoryview) -> None:
    """Writes a whole file, with its checksum behind the content.

    Raises:
        MediaError: it cannot be written.
    """
    with atomic_write(path) as part, part.open("wb") as stream:
        stream.write(content)
        stream.write(checksum(content))


def read_checked(path: Path) -> bytes:
    """The content of a file that `write_checked` wrote.

    Raises:
        DamagedFile: it is missing, or not as it was written.
    """
    try:
        content = ordinary_bytes(path)
    except OSError as error:
        raise DamagedFile(path) from error
    data = memoryview(content)[:-CHECKSUM_BYTES]
    if checksum(data) != content[-CHECKSUM_BYTES:]:
        raise DamagedFile(path)
    return bytes(data)
