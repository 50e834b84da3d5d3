"""Libraries whose own lines must not reach the user's screen: their errors are told in our words."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_LOCK = threading.RLock()


@contextmanager
def silent_library() -> Iterator[None]:
    """Keeps off the screen what Python writes meanwhile, and what native code writes to standard error.

    The streams belong to the whole process: what other threads write meanwhile, a progress bar for instance,
    is lost as well. What is raised is not kept back.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    with _LOCK, open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
