"""Opening scene files, whatever their format."""

from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.gltf import load_gltf
from genrender.scene.scene import Scene

LOADERS = {".gltf": load_gltf, ".glb": load_gltf}


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
