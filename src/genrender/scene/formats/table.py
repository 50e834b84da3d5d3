"""The one table of scene formats.

The file of a format ends in its entry. Formats whose library is an extra have their entries here, because
their files cannot be imported without it.
"""

from pathlib import Path

from genrender.scene.formats.folders import Folders
from genrender.scene.formats.format import Format
from genrender.scene.formats.gltf.read import GLTF
from genrender.scene.formats.obj import OBJ
from genrender.scene.formats.ply import PLY
from genrender.scene.scene import Scene


def _load_usd(folders: Folders) -> Scene:
    from genrender.scene.formats.usd.read import load_usd

    return load_usd(folders)


def _usd_layers(folders: Folders) -> list[Path]:
    from genrender.scene.formats.usd.read import layers

    return layers(folders)


def _load_alembic(folders: Folders) -> Scene:
    from genrender.scene.formats.alembic import load_alembic

    return load_alembic(folders.scene)


USD = Format(
    "USD",
    (".usd", ".usda", ".usdc", ".usdz"),
    read_scene=_load_usd,
    files=_usd_layers,
    library="pxr",
    extra="usd",
    is_apart=True,
)
ALEMBIC = Format(
    "Alembic", (".abc",), read_scene=_load_alembic, library="alembic3d", extra="alembic", is_apart=True
)

FORMATS = (GLTF, USD, ALEMBIC, OBJ, PLY)
BY_SUFFIX = {suffix: kind for kind in FORMATS for suffix in kind.suffixes}
# Suffixes of files of a single moment, which also come in numbered sequences.
MOMENT_SUFFIXES = tuple(suffix for suffix, kind in BY_SUFFIX.items() if kind.read_moment)
# Formats whose animation no library that installs everywhere evaluates.
CONVERTED = {".fbx": "FBX", ".blend": "a Blender file", ".dae": "COLLADA"}
