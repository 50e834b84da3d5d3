"""Opening scene files, whatever their format."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.formats.apart import files_apart, load_apart
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.sequence import find_sequence, load_sequence, load_single
from genrender.scene.formats.table import BY_SUFFIX, CONVERTED
from genrender.scene.scene import Scene
from genrender.storage.helper import is_reader
from genrender.storage.untrusted import file_name


def load_scene(path: str | Path, allowed_folders: Sequence[str | Path] = ()) -> Scene:
    """Reads a scene file, or a sequence of files of single moments as in `find_sequence`.

    Args:
        path: the file; a sequence is a folder or a pattern.
        allowed_folders: where files that the scene refers to may lie, beside its own folder.

    Raises:
        SceneError: the file is missing, of an unknown format, broken, or holds no triangles.
    """
    path = Path(path)
    sequence = find_sequence(path)
    if sequence is not None:
        return load_sequence(path, sequence)
    if not path.exists():
        raise SceneError(
            f"scene file not found: {path}; expected a file, or a pattern such as frames/wave_*.obj"
        )
    folders = Folders.of(path, allowed_folders)
    suffix = path.suffix.lower()
    if suffix in CONVERTED:
        raise SceneError(
            f"{path.name}: {CONVERTED[suffix]} is not read; open it in Blender and export it as glTF (.glb)"
        )
    if suffix not in BY_SUFFIX:
        raise SceneError(
            f"{path.name}: unknown scene format {path.suffix!r}, expected {', '.join(BY_SUFFIX)}"
        )
    kind = BY_SUFFIX[suffix]
    if kind.read_scene is None:
        scene = load_single(path)
    elif kind.is_apart and not is_reader():
        scene = load_apart(folders)
    else:
        with kind.needing_library(path):
            scene = kind.read_scene(folders)
    return replace(scene, allowed_folders=folders.allowed)


def scene_files(path: Path, allowed_folders: Sequence[Path] = ()) -> list[Path]:
    """The files that a scene is read from, or that may lie beside them for it, as far as they are there."""
    sequence = find_sequence(path)
    if sequence is not None:
        return list(sequence.files)
    kind = BY_SUFFIX.get(path.suffix.lower())
    if kind is None or kind.files is None:
        return [path]
    if kind.is_apart and not is_reader():
        return files_apart(Folders.of(path, allowed_folders))
    with kind.needing_library(path):
        return kind.files(Folders.of(path, allowed_folders))


def scene_label(path: Path) -> str:
    """A scene's path as part of a folder's name: the stem, of a sequence without what stands for numbers."""
    stem = Path(re.split(r"[*?\[#%@]", path.name)[0]).stem.rstrip("_-. ")
    return file_name(stem) or file_name(path.resolve().parent.name) or "scene"
