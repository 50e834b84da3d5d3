"""Lines that libraries in C++ write to the screen by themselves, past Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_lines_hidden() -> Iterator[None]:
    """What libraries write to stderr meanwhile is lost; errors that they raise are not.

    For reading files alone: what other threads write, a progress bar for instance, is lost as well.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
