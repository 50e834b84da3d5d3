"""What a file of one moment holds: vertices and, per object, triangles with texture coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64


@dataclass(frozen=True)
class FileObject:
    """An object of a file of one moment.

    Attributes:
        tris: indices into the vertices of the whole file.
        uvs: V downwards.
        materials: names of materials.
        material: per triangle an index into `materials`, -1 for none; None where the format tells none.
    """

    name: str
    tris: Int64[np.ndarray, "T 3"]
    uvs: Float32[np.ndarray, "T 3 2"] | None
    materials: tuple[str, ...] = ()
    material: Int64[np.ndarray, "T"] | None = None


@dataclass(frozen=True)
class MeshFile:
    """A file of one moment; its axes are taken for +Y up and its units for metres."""

    verts: Float64[np.ndarray, "V 3"]
    objects: tuple[FileObject, ...]
