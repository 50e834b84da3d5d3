"""What a helper finds in a file that somebody brings: what it tells of its making."""

import zipfile
from pathlib import Path
from typing import Any

from genrender.errors import GenRenderError, MediaError
from genrender.media.images import read_texts
from genrender.media.video import read_comment
from genrender.runs.record import read_record
from genrender.runs.told import KEY, Told, read_told, told_by
from genrender.storage.run_files import CONFIG_FILE
from genrender.storage.untrusted import MAX_JSON_BYTES, library_errors


def told(file: str, name: str) -> tuple[Any, bytes]:
    """Scene and words of what a file was made with; None: it does not tell.

    Args:
        file: where it lies.
        name: what it is called where it comes from.
    """
    path, suffix = Path(file), Path(name).suffix.lower()
    readers = {".mp4": _of_video, ".png": _of_picture, ".json": _of_config, ".zip": _of_folder}
    found = readers[suffix](path) if suffix in readers else None
    return None if found is None else {"scene": found.scene, "words": list(found.words)}, b""


def _of_video(path: Path) -> Told | None:
    return read_told(read_comment(path) or "")


def _of_picture(path: Path) -> Told | None:
    return read_told(read_texts(path).get(KEY, ""))


def _of_config(path: Path) -> Told | None:
    return told_by(read_record(path))


def _of_folder(path: Path) -> Told | None:
    with (
        library_errors(path.name, MediaError, "make the zip again", Exception),
        zipfile.ZipFile(path) as packed,
    ):
        entries = [entry for entry in packed.infolist() if Path(entry.filename).name == CONFIG_FILE]
        for entry in sorted(entries, key=lambda entry: len(entry.filename)):
            with packed.open(entry) as stream:
                data = stream.read(MAX_JSON_BYTES + 1)
            config = path.with_suffix(".config.json")
            config.write_bytes(data)
            try:
                return told_by(read_record(config))
            except GenRenderError:
                continue  # another program's
            finally:
                config.unlink()
    return None
