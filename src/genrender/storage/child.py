"""What processes have in common that work for another one, and end with it."""

import os
import queue
import sys
import threading
from collections.abc import Iterator

# What is read at once.
_CHUNK_BYTES = 2**16
# The exit code of a process whose master has gone.
ORPHANED = 3


def requests() -> Iterator[str]:
    """The lines of stdin, until it ends.

    When stdin ends while a line is being answered, whoever asked has gone: nobody wants the answer, and this
    process ends at once, however deep it is in a library. A run may be killed at any moment without harm.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    is_busy = threading.Event()

    def read() -> None:
        rest, stdin = b"", sys.stdin.fileno()
        # Not through sys.stdin, whose lock a thread would keep when the process ends.
        while data := os.read(stdin, _CHUNK_BYTES):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                is_busy.set()
                lines.put(line.decode())
        if is_busy.is_set():
            os._exit(ORPHANED)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None:
        yield line
        is_busy.clear()
