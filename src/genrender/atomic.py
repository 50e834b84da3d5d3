"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genrender.errors import MediaError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to, and renames it to `path` when the block ends well.

    If the block raises, the temporary file is removed and whatever stood at `path` before is still there. The
    temporary name keeps the suffix, because libraries choose the file format by it.

    Raises:
        MediaError: the folder of `path` is missing or cannot be written to, or `path` is a folder.
    """
    path = Path(path)
    check_writable(path.parent)
    if path.is_dir():
        raise MediaError(f"cannot write {path}: it is a folder; give the name of a file")
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    except MediaError:
        raise
    except OSError as error:
        if error.filename is None or str(error.filename) == str(part):
            raise MediaError(f"cannot write {path}: {error.strerror or error}") from error
        raise  # not about this file: it came from whatever feeds the block
    finally:
        part.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raises MediaError unless a file can be made in `folder`: one is made, for permissions do not tell."""
    folder = Path(folder)
    if not folder.exists():
        raise MediaError(f"cannot write to {folder}: there is no such folder; create it first")
    if not folder.is_dir():
        raise MediaError(f"cannot write to {folder}: it is a file, expected a folder; choose another place")
    probe = folder / f".{secrets.token_hex(4)}.probe"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise MediaError(
            f"cannot write to folder {folder}: {error.strerror}; choose another or change its permissions"
        ) from error
