"""Opening scene files, whatever their format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.gltf import load_gltf
from genrender.scene.scene import Scene


def load_scene(path: str | Path) -> Scene:
    """Reads a scene file.

    Raises:
        SceneError: the file is missing, of an unknown format, broken, or holds no triangles.
    """
    path = Path(path)
    if not path.exists():
        raise SceneError(f"scene file not found: {path}")
    if path.is_dir():
        raise SceneError(f"{path} is a folder, expected a scene file ({', '.join(LOADERS)})")
    loader = LOADERS.get(path.suffix.lower())
    if loader is None:
        raise SceneError(
            f"{path.name}: unknown scene format {path.suffix!r}, expected {' or '.join(LOADERS)}"
        )
    return loader(path)


def _load_usd(path: Path) -> Scene:
    with _needing(path, "pxr", "usd"):
        from genrender.scene.usd import load_usd
    return load_usd(path)


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
}
