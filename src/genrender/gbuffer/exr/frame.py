"""G-buffers as OpenEXR files, with the channel names and conventions of Blender's render passes.

In a file V grows upwards and the background's depth is 1e10; in a `GBuffer` V grows downwards and it is +inf.
What other software writes differs; `Channels` says how. The conversion happens here and nowhere else.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from jaxtyping import Float32, Int32, Shaped

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import AUTOMATIC, Channels, ExrMap, find_channels
from genrender.gbuffer.exr.cryptomatte import crypto_names
from genrender.gbuffer.exr.types import HALF, pixel_types
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import wrap_uv
from genrender.scene.camera import Lens
from genrender.storage.atomic import atomic_write
from genrender.storage.quiet import silent_library
from genrender.storage.untrusted import library_errors, parse_json

BACKGROUND_DEPTH = 1e10
# The largest half float, which infinity and 1e10 become where software clamps them.
LARGEST_HALF = 65504
# A half float holds every whole number up to here, and then every second one.
LARGEST_HALF_INDEX = 2048
# Ids have 14 bits, see `genrender.surface.texels`.
MAX_INDEX = (1 << 14) - 1
# No scene is that deep: a pixel between an object and a background at 1e10 is a mixture of both.
MAX_DEPTH_RATIO = 1e6
# The library unpacks all channels of a file at once; a file of 200 bytes may announce any size.
MAX_BYTES = 2**30
# The header's entry for names of objects, by their indices.
OBJECT_NAMES = "genrender/objectNames"
# And for what turns depths into places.
LENS = "genrender/lens"
CHANNELS = ("Depth.Z", "UV.U", "UV.V", "IndexOB.X")


@dataclass(frozen=True, eq=False)
class ExrHeader:
    """What a file tells without its pixels.

    Attributes:
        path: the file.
        parts: the index of the part that holds each channel, by the channel's full name.
        own_names: the channels' names within their parts, by their full names.
        half_floats: full names of the channels that are stored as half floats; of one part alone it is known.
        attributes: the header of every part.
        size: width and height of the picture.
    """

    path: Path
    parts: Mapping[str, int]
    own_names: Mapping[str, str]
    half_floats: frozenset[str]
    attributes: tuple[Mapping[str, Any], ...]
    size: tuple[int, int]

    @property
    def crypto_names(self) -> list[str]:
        return [name for attributes in self.attributes for name in crypto_names(attributes)]

    def compression(self, channel: str) -> str:
        """The name of the compression of a channel, such as ZIP."""
        return self.attributes[self.parts[channel]]["compression"].name.removesuffix("_COMPRESSION")


def write_exr(path: str | os.PathLike[str], gbuffer: GBuffer, names: Mapping[int, str] | None = None) -> None:
    """Writes one frame as float32 channels Depth.Z, UV.U, UV.V and IndexOB.X.

    The header keeps the lens. Triangle indices and barycentric weights are not kept: they mean nothing
    without the scene.

    Args:
        path: the file.
        gbuffer: the frame.
        names: of the objects, by their ids; kept in the header, since indices have none.

    Raises:
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    header: dict[str, Any] = {}
    if names:
        header[OBJECT_NAMES] = json.dumps({str(index): name for index, name in names.items()})
    if gbuffer.lens is not None:
        header[LENS] = json.dumps(asdict(gbuffer.lens))
    write_channels(path, gbuffer_channels(gbuffer), header)


def gbuffer_channels(gbuffer: GBuffer) -> dict[str, Float32[np.ndarray, "H W"]]:
    """Depth, texture coordinates and object indices as a file has them, by the names of `CHANNELS`."""
    visible = gbuffer.visible
    values = (
        np.where(visible, gbuffer.depth, np.float32(BACKGROUND_DEPTH)),
        gbuffer.uv[..., 0],
        np.where(visible, 1 - gbuffer.uv[..., 1], np.float32(0)),
        gbuffer.object_id.astype(np.float32),
    )
    return dict(zip(CHANNELS, values, strict=True))


def write_channels(
    path: str | os.PathLike[str],
    channels: Mapping[str, Shaped[np.ndarray, "H W"]],
    header: Mapping[str, Any] | None = None,
) -> None:
    """Writes channels by name, float32 or float16 as they are.

    Args:
        header: what the file says beside them.

    Raises:
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    told = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(header or {})}
    with atomic_write(path) as part:
        try:
            with silent_library():
                arrays = {name: np.ascontiguousarray(value) for name, value in channels.items()}
                OpenEXR.File(told, arrays).write(str(part))
        except RuntimeError as error:  # whatever goes wrong in the library arrives as this
            raise MediaError(f"cannot write {path}: {error}") from error


def read_exr(path: str | os.PathLike[str], wanted: ExrMap = AUTOMATIC) -> GBuffer:
    """Reads one frame whose file holds all channels and object indices, as `write_exr` and Blender write it.

    Depth and object indices come back exactly, V within one rounding of 1 - V. The exact surface points are
    unknown: `tri_id` is -1 and `bary` 0 everywhere, and `has_triangles` is False.

    Args:
        path: the file.
        wanted: what is known of its channels; the rest is found out from their names.

    Raises:
        MediaError: the file is missing, is no EXR, is cut off, lacks a channel, or its channels contradict
            each other.
    """
    header = read_header(Path(path))
    channels = find_channels(str(path), tuple(header.parts), (), wanted)
    depth, u, v, index = read_channels(header, channels.names)
    gbuffer = make_gbuffer(str(path), depth, u, v, check_index(str(path), channels.object, index), channels)
    return replace(gbuffer, lens=gbuffer.lens or told_lens(header, channels.depth))


def told_lens(header: ExrHeader, channel: str) -> Lens | None:
    """What `write_exr` has kept of the lens in a channel's part; None: nothing that can be used."""
    told = header.attributes[header.parts[channel]].get(LENS)
    try:
        stored = parse_json(told) if isinstance(told, str) else {}
        half_height, (right, up) = float(stored["half_height"]), map(float, stored["shift"])
        is_known = 0 < half_height < math.inf and math.isfinite(right) and math.isfinite(up)
        return Lens(half_height, (right, up), bool(stored["is_orthographic"])) if is_known else None
    except (ValueError, KeyError, TypeError):
        return None  # not ours


def read_header(path: Path) -> ExrHeader:
    """Reads what a file tells without its pixels.

    Raises:
        MediaError: the file is missing, is no EXR, holds a cropped or a deep picture, or is too large.
    """
    parts, own_names, half_floats, attributes = {}, {}, set(), []
    opened = _open(path, header_only=True).parts
    if any("deep" in str(part.header["type"]) for part in opened):
        raise MediaError(f"{path}: the file holds a deep picture; render flat passes")
    types = pixel_types(path) if len(opened) == 1 else {}
    for index, part in enumerate(opened):
        header = part.header
        attributes.append(header)
        window, picture = header["dataWindow"], header["displayWindow"]
        if not np.array_equal(window, picture):
            raise MediaError(
                f"{path}: the file holds a cropped region or overscan, {_say_window(window)} of "
                f"{_say_window(picture)}; expected the whole picture: save it uncropped"
            )
        layer = str(header.get("name", ""))
        for own_name in _own_names(path, header):
            is_whole = len(opened) == 1 or not layer or own_name.startswith(f"{layer}.")
            name = own_name if is_whole else f"{layer}.{own_name}"
            parts[name], own_names[name] = index, own_name
            if types.get(own_name) == HALF:
                half_floats.add(name)
    sizes = [_size(part["displayWindow"]) for part in attributes]
    width, height = sizes[0]
    n_bytes = 4 * max(wide * high for wide, high in sizes) * len(parts)
    if n_bytes > MAX_BYTES:
        raise MediaError(
            f"{path}: announces {len(parts)} channels of {width}x{height} pixels, {n_bytes >> 20:,} MB, "
            f"expected at most {MAX_BYTES >> 20:,} MB; save depth, UV and objects in a file of their own"
        )
    return ExrHeader(path, parts, own_names, frozenset(half_floats), tuple(attributes), (width, height))


def _own_names(path: Path, header: Mapping[str, Any]) -> list[str]:
    with library_errors(str(path), MediaError, "its header is damaged: render it again"):
        crypto_names(header)  # text, too, that is decoded only when it is looked at
        return [channel.name for channel in header["channels"]]


def _size(window: Any) -> tuple[int, int]:
    low, high = (np.asarray(corner, np.int64) for corner in window)
    width, height = (high - low + 1).tolist()
    return width, height


def _say_window(window: Any) -> str:
    low, high = (np.asarray(corner).tolist() for corner in window)
    return f"{low[0]},{low[1]} to {high[0]},{high[1]}"


def _open(path: Path, header_only: bool = False) -> Any:
    if not path.is_file():
        raise MediaError(f"cannot read {path}: there is no such file; render that frame again")
    remedy = "it is no OpenEXR file, or it is damaged: render it again"
    with library_errors(str(path), MediaError, remedy), silent_library():
        return OpenEXR.File(str(path), separate_channels=True, header_only=header_only)


def read_channels(header: ExrHeader, names: Iterable[str]) -> list[Shaped[np.ndarray, "H W"]]:
    """The pixels of some channels, as the file stores them.

    Raises:
        MediaError: the file is damaged, or the channels differ in size.
    """
    path = header.path
    parts = _open(path).parts
    pixels = []
    for name in names:
        part = header.parts[name]
        channel = parts[part].channels.get(header.own_names[name]) if part < len(parts) else None
        if channel is None:  # the library only warns about pixels that it could not decode
            raise MediaError(f"cannot read {path}: the file is damaged or cut off; render it again")
        pixels.append(np.asarray(channel.pixels))
    if {values.shape for values in pixels} != {header.size[::-1]}:
        raise MediaError(f"{path}: the channels differ in size; render all passes at one size")
    return pixels


def check_index(where: str, channel: str, index: Shaped[np.ndarray, "H W"]) -> Int32[np.ndarray, "H W"]:
    """Object indices as whole numbers.

    Raises:
        MediaError: they are none, or were rounded when they were written.
    """
    if not np.array_equal(index, np.round(index)) or index.min() < 0:
        odd = index[(index != np.round(index)) | (index < 0)][0]
        raise MediaError(f"{where}: {channel} holds {float(odd):g}, expected whole numbers from 0; "
                         "render the pass without anti-aliasing and not multiplied by alpha")  # fmt: skip
    largest = index.max()
    if index.dtype == np.float16 and largest > LARGEST_HALF_INDEX:
        raise MediaError(
            f"{where}: {channel} holds {float(largest):g} as half float, which rounds numbers above "
            f"{LARGEST_HALF_INDEX}; render the pass as 32-bit float"
        )
    if largest > MAX_INDEX:
        raise MediaError(
            f"{where}: {channel} holds {float(largest):g}, expected object indices up to {MAX_INDEX}; "
            "number the objects from 1, or render a cryptomatte"
        )
    return index.astype(np.int32)


def make_gbuffer(
    where: str,
    depth: Shaped[np.ndarray, "H W"],
    u: Shaped[np.ndarray, "H W"],
    v: Shaped[np.ndarray, "H W"],
    object_id: Int32[np.ndarray, "H W"],
    channels: Channels,
) -> GBuffer:
    """A G-buffer from the pixels of a file.

    Args:
        where: what the messages call the file.
        depth: as `channels` says.
        u: texture coordinates.
        v: likewise, upwards or downwards as `channels` says.
        object_id: 0 is background.
        channels: the conventions.

    Raises:
        MediaError: the channels contradict each other.
    """
    depth = _planar_depth(depth.astype(np.float32), channels)
    has_depth = np.isfinite(depth) & (depth > 0) & (depth < BACKGROUND_DEPTH)
    if n := np.count_nonzero(has_depth & (object_id == 0)):
        raise MediaError(
            f"{where}: {n} pixels show a surface of object index 0, which is background; "
            "give every object an index from 1 before rendering (in Blender: Object, Relations, Pass Index)"
        )
    visible = object_id > 0
    if n := np.count_nonzero(visible & ~has_depth):
        is_negative = np.any(depth[visible] < 0)
        remedy = 'say "depth_is": "negative" in --exr-map' if is_negative else "render again"
        raise MediaError(
            f"{where}: {n} pixels belong to an object but have no depth between 0 and 1e10; {remedy}"
        )
    if visible.any() and depth[visible].max() > MAX_DEPTH_RATIO * np.median(depth[visible]):
        raise MediaError(
            f"{where}: depths reach from {depth[visible].min():g} to {depth[visible].max():g}: the pass is "
            "anti-aliased with its background; render it without"
        )
    uv = np.stack([u, 1 - v if channels.v_up else v], axis=-1).astype(np.float32)
    uv[~visible] = 0
    if n := np.count_nonzero(~np.isfinite(uv).all(axis=-1)):
        raise MediaError(f"{where}: {n} pixels have texture coordinates that are no numbers; render again")
    return GBuffer(
        depth=np.where(visible, depth, np.float32(np.inf)),
        uv=wrap_uv(uv),
        object_id=object_id,
        tri_id=np.full(depth.shape, -1, np.int32),
        bary=np.zeros((*depth.shape, 2), np.float32),
        lens=channels.lens,
    )


def _planar_depth(depth: Float32[np.ndarray, "H W"], channels: Channels) -> Float32[np.ndarray, "H W"]:
    """Distance along the view axis; background is +inf, 1e10 or 0."""
    if channels.depth_is == "inverse":
        with np.errstate(divide="ignore"):
            return (1 / depth).astype(np.float32)
    # Before any scaling: these are the numbers that stand for the background.
    depth = np.where(np.abs(depth) == LARGEST_HALF, np.float32(np.inf), depth)
    if channels.depth_is == "negative":
        return -depth
    if channels.depth_is == "distance":
        assert channels.lens is not None
        x, y = channels.lens.in_plane(*depth.shape)
        shown = np.isfinite(depth) & (depth < BACKGROUND_DEPTH)
        return np.where(shown, depth / np.sqrt(1 + x**2 + y[:, None] ** 2), np.float32(np.inf)).astype(
            np.float32
        )
    return depth
