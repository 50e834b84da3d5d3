"""Reading a scene file into memory, after its size is checked."""

from pathlib import Path

from genrender.errors import SceneError
from genrender.storage import untrusted

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
    return untrusted.read_bytes(path, SceneError, max_bytes, remedy)


def check_size(where: str, n_bytes: int, max_bytes: int, remedy: str) -> None:
    """Raises SceneError for more bytes than there may be."""
    untrusted.check_size(where, n_bytes, SceneError, max_bytes, remedy)
