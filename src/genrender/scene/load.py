"""Opening scene files, whatever their format."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.gltf import load_gltf
from genrender.scene.scene import Scene
from genrender.scene.sequence import find_sequence, load_sequence, load_single


def load_scene(path: str | Path) -> Scene:
    """Reads a scene file, or a sequence of .obj or .ply files as in `find_sequence`.

    Raises:
        SceneError: the file is missing, of an unknown format, broken, or holds no triangles.
    """
    path = Path(path)
    sequence = find_sequence(path)
    if sequence is not None:
        return load_sequence(path, sequence)
    if not path.exists():
        raise SceneError(f"scene file not found: {path}")
    suffix = path.suffix.lower()
    if suffix in LOADERS:
        return LOADERS[suffix](path)
    if suffix in CONVERTED:
        raise SceneError(
            f"{path.name}: {CONVERTED[suffix]} is not read; open it in Blender and export it as glTF (.glb)"
        )
    raise SceneError(f"{path.name}: unknown scene format {path.suffix!r}, expected {', '.join(LOADERS)}")


def scene_files(path: Path) -> list[Path]:
    """The files that a scene is read from, or that may lie beside them for it, as far as they are there."""
    sequence = find_sequence(path)
    if sequence is not None:
        return list(sequence.files)
    suffix = path.suffix.lower()
    if suffix == ".gltf":  # buffers and pictures lie beside it
        return [path, *(file for file in path.parent.iterdir() if file.is_file())]
    if suffix.startswith(".usd"):
        with _needing(path, "pxr", "usd"):
            from genrender.scene.usd import layers
        return layers(path)
    return [path]


def scene_label(path: Path) -> str:
    """A scene's path as part of a folder's name: the stem, of a sequence without what stands for numbers."""
    return Path(re.split(r"[*?\[#%@]", path.name)[0]).stem.rstrip("_-. ") or path.resolve().parent.name


def _load_usd(path: Path) -> Scene:
    with _needing(path, "pxr", "usd"):
        from genrender.scene.usd import load_usd
    return load_usd(path)


def _load_alembic(path: Path) -> Scene:
    with _needing(path, "alembic3d", "alembic"):
        from genrender.scene.alembic import load_alembic
    return load_alembic(path)


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


LOADERS: dict[str, Callable[[Path], Scene]] = {
    ".gltf": load_gltf,
    ".glb": load_gltf,
    ".usd": _load_usd,
    ".usda": _load_usd,
    ".usdc": _load_usd,
    ".usdz": _load_usd,
    ".abc": _load_alembic,
    ".obj": load_single,
    ".ply": load_single,
}
# Formats whose animation no library that installs everywhere evaluates.
CONVERTED = {".fbx": "FBX", ".blend": "a Blender file", ".dae": "COLLADA"}
