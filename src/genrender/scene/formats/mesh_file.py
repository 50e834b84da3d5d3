"""The content of a file of one moment: vertices and, per object, polygons with texture coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64


@dataclass(frozen=True)
class FileObject:
    """An object of a file of one moment.

    Attributes:
        counts: corners of every polygon.
        corners: vertices of the whole file, polygon after polygon; all are there.
        uvs: per corner, V downwards; NaN for all corners of a polygon that has none.
        materials: names of materials.
        material: per polygon an index into `materials`, -1 for none; None where the format tells none.
    """

    name: str
    counts: Int64[np.ndarray, "P"]
    corners: Int64[np.ndarray, "C"]
    uvs: Float32[np.ndarray, "C 2"] | None
    materials: tuple[str, ...] = ()
    material: Int64[np.ndarray, "P"] | None = None


@dataclass(frozen=True)
class MeshFile:
    """A file of one moment; its axes are taken for +Y up and its units for metres."""

    verts: Float64[np.ndarray, "V 3"]
    objects: tuple[FileObject, ...]


def corner_uvs(uvs: Float64[np.ndarray, "C 2"], counts: Int64[np.ndarray, "P"]) -> Float32[np.ndarray, "C 2"]:
    """Texture coordinates of corners, V upwards, as `FileObject` wants them.

    A polygon with a corner that has none, or one that is no finite number, has none at all.
    """
    with np.errstate(over="ignore"):
        turned = np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1).astype(np.float32)
    polygon = np.repeat(np.arange(len(counts)), counts)
    lacks = np.bincount(polygon[~np.isfinite(turned).all(axis=1)], minlength=len(counts)) > 0
    turned[lacks[polygon]] = np.nan
    return turned
