"""Where commands keep what is too large for memory and not part of their result."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genrender.storage.run_files import GBUFFERS_FILE


@contextmanager
def gbuffer_file() -> Iterator[Path]:
    """A file for G-buffers, in the system's folder for temporary files; it goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="genrender-") as scratch:
        yield Path(scratch) / GBUFFERS_FILE
