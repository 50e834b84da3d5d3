"""The glTF container: a .gltf or .glb file becomes the parsed JSON plus its binary buffers, both checked."""

import base64
import binascii
import struct
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pygltflib

from genrender.errors import SceneError
from genrender.scene.gltf_extensions import is_understood, missed
from genrender.scene.gltf_json import parse_json
from genrender.scene.read_file import MAX_BYTES, read_file

COMPRESSIONS = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
}


class GltfFile:
    """A parsed glTF file and its buffers, which are read when first asked for.

    Attributes:
        path: where the file lies; external buffers must lie in the same folder or below it.
        json: pygltflib's dataclasses. Nothing in them has been checked: every value may have any type.
        raw: the same as plain dicts, for the fields that pygltflib drops (the weights of a node).
        left_out: what is not shown, as "primitive{s} of points", and how much of it.
        warnings: what else people should know.
    """

    def __init__(self, path: Path, parsed: pygltflib.GLTF2, raw: dict[str, Any], blob: memoryview | None):
        self.path = path
        self.json = parsed
        self.raw = raw
        self._blob = blob
        self._buffers: dict[int, memoryview] = {}
        self.left_out: Counter[str] = Counter()
        self.warnings: list[str] = []

    def error(self, text: str) -> SceneError:
        """A `SceneError` that names the file."""
        return SceneError(f"{self.path.name}: {text}")

    def leave_out(self, what: str) -> None:
        """Counts one more thing that is not shown. `what` has {s} where its plural does."""
        self.left_out[what] += 1

    def all_warnings(self) -> tuple[str, ...]:
        """A line for everything that is not shown, or not as it stands in the file."""
        counted = (f"left out {n:,} {what.format(s='s' * (n > 1))}" for what, n in self.left_out.items())
        return (*self.warnings, *counted)

    def compression_error(self, extension: str) -> SceneError:
        """The error for geometry that is compressed by `extension`."""
        method = COMPRESSIONS[extension]
        return self.error(
            f"is compressed with {extension}, which is not supported; export it without {method} compression "
            "(Blender: glTF export, Data, Compression off)"
        )

    def item(self, kind: str, index: Any) -> Any:
        """Element `index` of one of the file's top-level lists, e.g. `item("nodes", 3)`.

        Raises:
            SceneError: there is no such element.
        """
        items = getattr(self.json, kind) or []
        singular = {"meshes": "mesh"}.get(kind, kind.removesuffix("s"))
        if not is_index(index, len(items)):
            raise self.error(
                f"refers to {singular} {index!r}, but the file has {len(items)}; export it again"
            )
        if items[index] is None:
            raise self.error(f"{singular} {index} is empty")
        return items[index]

    def buffer(self, index: Any) -> memoryview:
        """The bytes of a buffer, at least as many as it declares.

        Raises:
            SceneError: missing, truncated, outside the scene's folder, or on the network.
        """
        declared = self.item("buffers", index)
        if index not in self._buffers:
            data = self._read_buffer(index, declared)
            length = declared.byteLength
            if not isinstance(length, int) or length < 0:
                raise self.error(
                    f"buffer {index} has byteLength {length!r}, expected a whole number of bytes"
                )
            if len(data) < length:
                raise self.error(
                    f"buffer {index} is truncated: {length} bytes declared, {len(data)} found; "
                    "export or copy it again"
                )
            self._buffers[index] = data[:length]
        return self._buffers[index]

    @property
    def n_buffer_bytes(self) -> int:
        """Bytes of all buffers together: a bound on what a sane file can describe."""
        return sum(len(self.buffer(i)) for i in range(len(self.json.buffers or [])))

    def _read_buffer(self, index: int, declared: pygltflib.Buffer) -> memoryview:
        uri = declared.uri
        if uri is None:
            if index == 0 and self._blob is not None:
                return self._blob
            for name in COMPRESSIONS:
                if name in (declared.extensions or {}):
                    raise self.compression_error(name)
            raise self.error(
                f"buffer {index} has no uri and the file has no binary chunk for it; export it again"
            )
        if uri.startswith("data:"):
            head, comma, body = uri.partition(",")
            if not comma:
                raise self.error(f"buffer {index} is a data URI without a comma; export it again")
            if not head.endswith(";base64"):
                return memoryview(unquote_to_bytes(body))
            try:
                return memoryview(base64.b64decode(unquote(body) if "%" in body else body))
            except (binascii.Error, ValueError) as error:
                raise self.error(f"buffer {index} is not valid base64 ({error}); export it again") from None
        return self._read_external(index, uri)

    def _read_external(self, index: int, uri: str) -> memoryview:
        folder = self.path.parent.resolve()
        name = unquote(uri)
        if ":" in name.split("/")[0]:
            raise self.error(
                f"buffer {index} lies at {uri[:80]!r}, but only files beside the scene are read; put it there"
            )
        try:
            target = (folder / name.replace("\\", "/")).resolve()
            if not target.is_relative_to(folder):
                raise self.error(
                    f"buffer {index} lies at {uri[:80]!r}, outside the scene's folder; put it there"
                )
            # Many buffers may name one file: what they take together counts.
            left = MAX_BYTES - sum(map(len, self._buffers.values()))
            return memoryview(read_file(target, left))
        except FileNotFoundError:
            raise self.error(
                f"buffer {index} is missing: there is no {uri[:80]!r} beside the scene"
            ) from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            if isinstance(error, SceneError):
                raise
            raise self.error(f"buffer {index} at {uri[:80]!r} cannot be read: {reason}") from None


def is_index(value: object, n: int) -> bool:
    """True for a whole number in 0..n-1 (JSON's true is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n


def open_gltf(path: Path) -> GltfFile:
    """Reads and parses a .gltf or .glb file; the content decides which, not the suffix.

    Raises:
        SceneError: missing, unreadable, truncated, no glTF 2.0, or it needs an unsupported extension.
    """
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise SceneError(f"scene file not found: {path}") from None
    except OSError as error:
        raise SceneError(f"scene file cannot be read: {path}: {error.strerror or error}") from None
    blob = None
    if data[:4] == b"glTF":
        text, blob = _split_glb(path, memoryview(data))
    else:
        text = data
    parsed, raw = parse_json(path, text)
    file = GltfFile(path, parsed, raw, blob)
    for name in parsed.extensionsRequired or []:
        if name in COMPRESSIONS:
            raise file.compression_error(name)
        # It might move or add geometry: better no picture than a wrong one.
        if not is_understood(str(name)):
            raise file.error(f"requires the extension {name}, which is not supported; export it without")
    file.warnings += missed(parsed.extensionsUsed or [])
    return file


def _split_glb(path: Path, data: memoryview) -> tuple[bytes, memoryview | None]:
    """The JSON text and the binary chunk of a GLB file; other chunks are skipped, as the format asks."""

    def truncated(expected: str) -> SceneError:
        return SceneError(
            f"{path.name}: truncated GLB: {len(data)} bytes found, {expected} expected; "
            "export or copy it again"
        )

    if len(data) < 20:
        raise truncated("at least 20")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise SceneError(
            f"{path.name}: is GLB version {version}, expected 2, that is glTF 2.0; convert it, for example: "
            f"gltf-pipeline -i {path.name} -o new.glb"
        )
    if length > len(data):
        raise truncated(str(length))
    chunks: dict[bytes, memoryview] = {}
    offset = 12
    while offset + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, offset)
        if offset + 8 + size > length:
            raise truncated(str(offset + 8 + size))
        chunks.setdefault(kind, data[offset + 8 : offset + 8 + size])
        offset += 8 + size
    if b"JSON" not in chunks:
        raise SceneError(f"{path.name}: GLB without a JSON chunk; export it again")
    return bytes(chunks[b"JSON"]), chunks.get(b"BIN\0")
