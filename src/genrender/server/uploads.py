"""Files from outside: under which names they are kept, what of archives is taken, and which is the scene.

What is given by name here, names in archives included, never becomes a path before it has been taken apart.
"""

import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from genrender.errors import MediaError, SceneError
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.scene.formats.sequence import find_sequence
from genrender.scene.formats.table import BY_SUFFIX, MOMENT_SUFFIXES
from genrender.storage.limits import bytes_as_text
from genrender.storage.untrusted import DEVICE_NAME, SHOWN_LENGTH, library_errors, shown

# What lies beside a scene, is named by it, and is kept under its own name.
BESIDE = (".bin", ".mtl", ".png", ".jpg", ".jpeg", ".ktx2", ".webp", ".tga", ".exr", ".json")
# Channels of EXR files may be told by this file beside them.
EXR_MAP = "exr_map.json"
# Names that are kept: no separators, nothing hidden, nothing that any system takes for something else.
_NAME = re.compile(r"[\w][\w .,+=@()\[\]-]{0,120}", re.UNICODE)
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class UploadLimits:
    """How much one upload may hold.

    Attributes:
        bytes: of all files together, as they come and unpacked.
        files: how many, those in archives included.
    """

    bytes: int = 1_000_000_000
    files: int = 10_000


def kept_name(name: str) -> PurePosixPath:
    """A name from outside as a relative path below the upload's own folder.

    Raises:
        MediaError: it leads elsewhere, or no system would take it.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    is_fine = all(
        _NAME.fullmatch(part) and not DEVICE_NAME.match(part) and part[-1] not in ". " for part in parts
    )
    if not parts or not is_fine or len(parts) > 8:
        raise MediaError(
            f"the file name {shown(name, SHOWN_LENGTH)!r} is not taken: expected letters, digits, spaces and "
            "hyphens, in few folders; rename it"
        )
    return PurePosixPath(*parts)


def unpack(archive: Path, folder: Path, limits: UploadLimits) -> None:
    """Takes what belongs to scenes out of a zip; other files stay in it.

    Raises:
        MediaError: it is no zip, it is encrypted or damaged, or holds too much.
    """
    remedy = "make it again, without a password"
    with library_errors(archive.name, MediaError, remedy, Exception), zipfile.ZipFile(archive) as packed:
        entries = [entry for entry in packed.infolist() if _is_wanted(entry)]
        if len(entries) > limits.files:
            raise MediaError(f"the zip holds {len(entries):,} files, expected at most {limits.files:,}")
        left = limits.bytes
        for entry in entries:
            name = kept_name(entry.filename)
            place = folder / name
            if place.exists():
                raise MediaError(f"the zip holds {name} twice: leave one of them out")
            place.parent.mkdir(parents=True, exist_ok=True)
            # What an archive says of its sizes is not believed.
            with packed.open(entry) as source, place.open("xb") as target:
                while data := source.read(_CHUNK_BYTES):
                    left -= len(data)
                    if left < 0:
                        raise MediaError(
                            f"the zip holds more than {bytes_as_text(limits.bytes)}: leave out what "
                            "the scene does not need"
                        )
                    target.write(data)


def _is_wanted(entry: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    is_hidden = any(part.startswith(("__MACOSX", ".")) for part in path.parts)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    return not (entry.is_dir() or is_hidden or is_link) and is_taken(path)


def is_taken(name: PurePosixPath) -> bool:
    """Whether a file of this name can be a scene or belong to one."""
    return name.suffix.lower() in (*BY_SUFFIX, *BESIDE)


def find_scene(folder: Path) -> Path:
    """The scene among the files of a folder: a file, or the folder of a sequence.

    Raises:
        SceneError: there is none, or there are several.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    scenes = [file for file in files if file.suffix.lower() in BY_SUFFIX]
    if len(scenes) == 1:
        return scenes[0]
    if len(files) == 1 and files[0].suffix.lower() != ".exr":
        return files[0]  # whoever reads it says what it is not
    exr = {file.parent for file in files if file.suffix.lower() == ".exr"}
    if not scenes and exr:
        n_folders = len(exr)
        place = exr.pop() if n_folders == 1 else folder
        if is_exr_sequence(place):
            return place
        raise SceneError(f"the EXR files lie in {n_folders} folders, expected one folder of one shot")
    places = {file.parent for file in scenes}
    is_moments = {file.suffix.lower() for file in scenes} <= set(MOMENT_SUFFIXES)
    if scenes and is_moments and len(places) == 1 and find_sequence(place := places.pop()) is not None:
        return place
    what = _listed([file.relative_to(folder).as_posix() for file in scenes or files])
    expected = f"one scene ({', '.join(BY_SUFFIX)}), a numbered sequence, or EXR files"
    raise SceneError(f"the upload holds {what}, expected {expected}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (", ".join(names[:4]) or "no file that is known") + more
