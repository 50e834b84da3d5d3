"""Files come into memory here, after a look at how large they are."""

import errno
import stat
from pathlib import Path

from genrender.errors import SceneError

# More than this fits no purpose of this project, and nothing may fill the memory.
MAX_BYTES = 2**31
# Words and JSON become objects that take many times the room of their text.
MAX_TEXT_BYTES = 2**28


def read_file(path: Path, max_bytes: int = MAX_BYTES, remedy: str = "decimate it or split it") -> bytes:
    """The bytes of a file; devices and pipes, which may never end, are none.

    Raises:
        SceneError: it is too large.
        OSError: it cannot be read, or is no ordinary file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    check_size(path.name, status.st_size, max_bytes, remedy)
    return path.read_bytes()


def check_size(where: str, n_bytes: int, max_bytes: int, remedy: str) -> None:
    """Raises SceneError for more bytes than there may be."""
    if n_bytes > max_bytes:
        raise SceneError(
            f"{where}: has {n_bytes / 1e6:,.0f} MB, expected at most {max_bytes / 1e6:,.0f} MB; {remedy}"
        )
