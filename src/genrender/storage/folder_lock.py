"""A lock on a folder, so that two processes never do the same work there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

from genrender.errors import MediaError


def lock_folder(folder: Path) -> int | None:
    """Locks a folder until what is returned is closed, or the process ends; None: there are no locks here.

    Raises:
        MediaError: another process holds it.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise MediaError(f"another process is at work in {folder}: wait for it, or choose another") from error
    except OSError:
        pass  # not every network file system has locks
    return handle


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """The same as a context."""
    handle = lock_folder(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
