"""Which set of texture coordinates a glTF material uses, and the transform it applies to it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

# What paints a surface comes first: its picture is what people mean by a surface's texture.
BY_IMPORTANCE = ("baseColorTexture", "diffuseTexture", "emissiveTexture")
# Larger ones leave float32, in which coordinates are kept.
MAX_NUMBER = 1e30


def texture_infos(value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mention of a picture in a material, those of extensions included, with what it is for."""
    if not isinstance(value, dict):
        return
    if name.endswith("Texture") and "index" in value:
        yield name, value
    for key, inner in value.items():
        yield from texture_infos(inner, key)


def set_of(info: dict[str, Any]) -> dict[str, Any]:
    """Where a mention of a picture says which set of coordinates it uses: a transform may override it."""
    transform = _transform_of(info)
    return transform if transform is not None and "texCoord" in transform else info


def uv_transform(material: Any) -> Float64[np.ndarray, "2 3"] | None:
    """What KHR_texture_transform does to the first set of coordinates; None: nothing, or nobody uses it.

    Compressors such as gltfpack store coordinates as whole numbers and leave it to this to bring them back to
    0..1. The most important picture of those that use the first set decides.
    """
    users = [(name, info) for name, info in texture_infos(material) if set_of(info).get("texCoord", 0) == 0]
    if not users:
        return None
    _, info = min(
        users,
        key=lambda user: BY_IMPORTANCE.index(user[0]) if user[0] in BY_IMPORTANCE else len(BY_IMPORTANCE),
    )
    transform = _transform_of(info)
    if transform is None:
        return None
    offset = _numbers(transform.get("offset"), (0.0, 0.0))
    scale = _numbers(transform.get("scale"), (1.0, 1.0))
    (rotation,) = _numbers([transform.get("rotation", 0.0)], (0.0,))
    cosine, sine = np.cos(rotation), np.sin(rotation)
    linear = np.array([[cosine, sine], [-sine, cosine]]) * scale
    return np.column_stack([linear, offset])


def transformed(
    uvs: Float32[np.ndarray, "V 2"], transform: Float64[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "V 2"]:
    """Coordinates as the picture sees them; +-inf or NaN where float32 cannot hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (uvs.astype(np.float64) @ transform[:, :2].T + transform[:, 2]).astype(np.float32)


def _transform_of(info: dict[str, Any]) -> dict[str, Any] | None:
    extensions = info.get("extensions")
    transform = extensions.get("KHR_texture_transform") if isinstance(extensions, dict) else None
    return transform if isinstance(transform, dict) else None


def _numbers(value: Any, default: tuple[float, ...]) -> Float64[np.ndarray, "N"]:
    """The numbers that a file gives; what is none counts as not given."""
    fits = isinstance(value, list) and len(value) == len(default)
    if not fits or not all(isinstance(v, int | float) and abs(v) <= MAX_NUMBER for v in value):
        return np.array(default)
    return np.array(value, np.float64)
