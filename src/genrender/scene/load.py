"""Opening scene files, whatever their format."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.gltf.read import load_gltf
from genrender.scene.formats.sequence import find_sequence, load_sequence, load_single
from genrender.scene.scene import Scene
from genrender.storage.untrusted import file_name


def load_scene(path: str | Path, allowed_folders: Sequence[str | Path] = ()) -> Scene:
    """Reads a scene file, or a sequence of .obj or .ply files as in `find_sequence`.

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
        raise SceneError(f"scene file not found: {path}")
    folders = Folders.of(path, allowed_folders)
    suffix = path.suffix.lower()
    if suffix in LOADERS:
        return replace(LOADERS[suffix](folders), allowed_folders=folders.allowed)
    if suffix in CONVERTED:
        raise SceneError(
            f"{path.name}: {CONVERTED[suffix]} is not read; open it in Blender and export it as glTF (.glb)"
        )
    raise SceneError(f"{path.name}: unknown scene format {path.suffix!r}, expected {', '.join(LOADERS)}")


def scene_files(path: Path, allowed_folders: Sequence[Path] = ()) -> list[Path]:
    """The files that a scene is read from, or that may lie beside them for it, as far as they are there."""
    sequence = find_sequence(path)
    if sequence is not None:
        return list(sequence.files)
    suffix = path.suffix.lower()
    if suffix == ".gltf":  # buffers and pictures lie beside it
        return [path, *(file for file in path.parent.iterdir() if file.is_file())]
    if suffix.startswith(".usd"):
        with _needing(path, "pxr", "usd"):
            from genrender.scene.formats.usd.read import layers
        return layers(Folders.of(path, allowed_folders))
    return [path]


def scene_label(path: Path) -> str:
    """A scene's path as part of a folder's name: the stem, of a sequence without what stands for numbers."""
    stem = Path(re.split(r"[*?\[#%@]", path.name)[0]).stem.rstrip("_-. ")
    return file_name(stem) or file_name(path.resolve().parent.name) or "scene"


def _load_gltf(folders: Folders) -> Scene:
    return load_gltf(folders.scene, folders.allowed)


def _load_single(folders: Folders) -> Scene:
    return load_single(folders.scene)


def _load_usd(folders: Folders) -> Scene:
    with _needing(folders.scene, "pxr", "usd"):
        from genrender.scene.formats.usd.read import load_usd
    return load_usd(folders)


def _load_alembic(folders: Folders) -> Scene:
    with _needing(folders.scene, "alembic3d", "alembic"):
        from genrender.scene.formats.alembic import load_alembic
    return load_alembic(folders.scene)


@contextmanager
def _needing(path: Path, library: str, extra: str) -> Iterator[None]:
    """Says which extra of this package is missing where an import of that library fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != library:
            raise
        raise SceneError(
            f"{path.name}: reading {path.suffix} needs a library that is not installed; "
            f"pip install 'genrender[{extra}]'"
        ) from None


LOADERS: dict[str, Callable[[Folders], Scene]] = {
    ".gltf": _load_gltf,
    ".glb": _load_gltf,
    ".usd": _load_usd,
    ".usda": _load_usd,
    ".usdc": _load_usd,
    ".usdz": _load_usd,
    ".abc": _load_alembic,
    ".obj": _load_single,
    ".ply": _load_single,
}
# Formats whose animation no library that installs everywhere evaluates.
CONVERTED = {".fbx": "FBX", ".blend": "a Blender file", ".dae": "COLLADA"}
