"""G-buffers as OpenEXR files, with the channel names and conventions of Blender's render passes.

In a file V grows upwards and the background's depth is 1e10; in a `GBuffer` V grows downwards and it is +inf.
The conversion happens here and nowhere else.
"""

import os
from pathlib import Path

import numpy as np
import OpenEXR
from jaxtyping import Float32

from genrender.atomic import atomic_write
from genrender.errors import MediaError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import wrap_uv

BACKGROUND_DEPTH = 1e10
CHANNELS = ("Depth.Z", "UV.U", "UV.V", "IndexOB.X")


def write_exr(path: str | os.PathLike[str], gbuffer: GBuffer) -> None:
    """Writes one frame as float32 channels Depth.Z, UV.U, UV.V and IndexOB.X.

    Triangle indices and barycentric weights are not kept: they mean nothing without the scene.

    Raises:
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    visible = gbuffer.visible
    values = (
        np.where(visible, gbuffer.depth, np.float32(BACKGROUND_DEPTH)),
        gbuffer.uv[..., 0],
        np.where(visible, 1 - gbuffer.uv[..., 1], np.float32(0)),
        gbuffer.object_id.astype(np.float32),
    )
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    channels = {name: np.ascontiguousarray(value) for name, value in zip(CHANNELS, values, strict=True)}
    with atomic_write(path) as part:
        try:
            OpenEXR.File(header, channels).write(str(part))
        except RuntimeError as error:  # whatever goes wrong in the library arrives as this
            raise MediaError(f"cannot write {path}: {error}") from error


def read_exr(path: str | os.PathLike[str]) -> GBuffer:
    """Reads one frame that `write_exr` or Blender wrote (layer names before the channel names are allowed).

    Depth and object indices come back exactly, V within one rounding of 1 - V. The exact surface points are
    unknown: `tri_id` is -1 and `bary` 0 everywhere, and `has_triangles` is False.

    Raises:
        MediaError: the file is missing, is no EXR, is cut off, lacks a channel, or its channels contradict
            each other.
    """
    path = Path(path)
    depth, u, v, index = _read_channels(path)
    if not np.array_equal(index, np.round(index)) or index.min() < 0:
        raise MediaError(f"{path}: IndexOB.X holds {_odd_index(index):g}, expected whole numbers from 0; "
                         "render the pass without anti-aliasing")  # fmt: skip
    object_id = index.astype(np.int32)
    has_depth = np.isfinite(depth) & (depth < BACKGROUND_DEPTH)
    if n := np.count_nonzero(has_depth & (object_id == 0)):
        raise MediaError(
            f"{path}: {n} pixels show a surface of object index 0, which is background; "
            "give every object an index from 1 before rendering (in Blender: Object, Relations, Pass Index)"
        )
    visible = object_id > 0
    if n := np.count_nonzero(visible & ~(has_depth & (depth > 0))):
        raise MediaError(
            f"{path}: {n} pixels belong to an object but have no depth between 0 and 1e10; render again"
        )
    uv = np.stack([u, 1 - v], axis=-1)
    uv[~visible] = 0
    if n := np.count_nonzero(~np.isfinite(uv).all(axis=-1)):
        raise MediaError(f"{path}: {n} pixels have texture coordinates that are no numbers; render again")
    return GBuffer(
        depth=np.where(visible, depth, np.float32(np.inf)),
        uv=wrap_uv(uv),
        object_id=object_id,
        tri_id=np.full(depth.shape, -1, np.int32),
        bary=np.zeros((*depth.shape, 2), np.float32),
    )


def _read_channels(path: Path) -> list[Float32[np.ndarray, "H W"]]:
    """The pixels of `CHANNELS`, in that order."""
    if not path.is_file():
        raise MediaError(f"cannot read {path}: there is no such file")
    try:
        file = OpenEXR.File(str(path), separate_channels=True)
        found = {name: channel.pixels for part in file.parts for name, channel in part.channels.items()}
        headers = [part.header for part in file.parts]
    except (RuntimeError, ValueError) as error:
        raise MediaError(
            f"cannot read {path}: it is no OpenEXR file, or it is damaged; render it again"
        ) from error
    if not found:  # the library only warns about pixels that it could not decode
        raise MediaError(f"cannot read {path}: the file is damaged or cut off; render it again")
    for header in headers:
        if not np.array_equal(header["dataWindow"], header["displayWindow"]):
            raise MediaError(
                f"{path}: the file holds a cropped region; expected the whole picture: save it uncropped"
            )
    pixels = []
    for channel in CHANNELS:
        names = [name for name in found if name == channel or name.endswith("." + channel)]
        if len(names) != 1:
            raise MediaError(
                f"{path}: {len(names) or 'no'} channels are called {channel}, expected one; "
                f"the file has {', '.join(sorted(found))}"
            )
        pixels.append(np.asarray(found[names[0]], np.float32))
    if len({channel.shape for channel in pixels}) > 1:
        raise MediaError(f"{path}: the channels differ in size; render all passes at one size")
    return pixels


def _odd_index(index: Float32[np.ndarray, "H W"]) -> float:
    """The first object index that is no whole number from 0."""
    return float(index[(index != np.round(index)) | (index < 0)][0])
