"""Opening a USD stage in a process of its own first: some damaged files end the process that opens them.

That is a fault inside OpenUSD, which no check of ours comes before. A process that is such a reader already
opens them at once.
"""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

import atexit
from contextlib import suppress
from functools import cache
from pathlib import Path

from pxr import Tf, Usd

from genrender.errors import SceneError
from genrender.storage.helper import Helper, ReaderEndedError, is_reader
from genrender.storage.limits import available_memory

# The largest stages take minutes to open.
PATIENCE_S = 600.0


def check_opens(path: Path) -> None:
    """Whether opening a stage comes to an end, and does not end this process.

    Raises:
        SceneError: it does not.
    """
    if is_reader():
        return
    try:
        _reader().call("open_stage", PATIENCE_S, path=str(path.absolute()))
    except ReaderEndedError:
        raise SceneError(
            f"{path.name}: cannot be read as USD: the library ends, takes longer than {PATIENCE_S / 60:.0f} "
            "min or more than half of the memory that is free, while it opens the file; export it again"
        ) from None


def open_stage(path: str) -> tuple[None, bytes]:
    """Opens a stage, in the process that may end. What the library says of it is for who opens it again."""
    with suppress(Tf.ErrorException, UnicodeDecodeError):
        Usd.Stage.Open(path)
    return None, b""


@cache
def _reader() -> Helper:
    """One process for all the stages of this one; it goes when nothing is read for long.

    A damaged stage of two kilobytes has taken seven GB. What it opens is opened here once more, so half
    of what there is must do.
    """
    reader = Helper("genrender.scene.formats.usd.trial", available_memory() // 2)
    atexit.register(reader.end)
    return reader
