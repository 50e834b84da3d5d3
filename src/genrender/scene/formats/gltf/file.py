"""The glTF container: a .gltf or .glb file becomes the parsed JSON plus its binary buffers, both checked."""

import base64
import binascii
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
import pygltflib

from genrender.errors import SceneError
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.gltf import meshopt
from genrender.scene.formats.gltf.extensions import is_understood, missed
from genrender.scene.formats.gltf.json import parse_json
from genrender.scene.formats.read_file import MAX_BYTES, read_file

DRACO = "KHR_draco_mesh_compression"
MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression")
# A small file may announce a lot of compressed zeros.
MAX_DECODED_BYTES = 2**30


class GltfFile:
    """A parsed glTF file and its buffers, which are read when first asked for.

    Attributes:
        path: where the file lies.
        folders: where external buffers may lie.
        json: pygltflib's dataclasses. Nothing in them has been checked: every value may have any type.
        raw: the same as plain dicts, for the fields that pygltflib drops (the weights of a node).
        decoded: elements of accessors that have no bufferView since Draco has them, by accessor.
        left_out: what is not shown, as "primitive{s} of points", and how much of it.
        warnings: what else people should know.
    """

    def __init__(
        self, folders: Folders, parsed: pygltflib.GLTF2, raw: dict[str, Any], blob: memoryview | None
    ):
        self.path = folders.scene
        self.folders = folders
        self.json = parsed
        self.raw = raw
        self._blob = blob
        self._buffers: dict[int, memoryview] = {}
        self._decompressed: dict[int, memoryview] = {}
        self.decoded: dict[int, np.ndarray] = {}
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
            raise self.error(f"{singular} {index} is empty; export it again")
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
        return sum(len(self.buffer(i)) for i in range(len(self.json.buffers or [])) if self.has_data(i))

    def has_data(self, index: int) -> bool:
        """False for a buffer that only holds the place of what is compressed elsewhere."""
        return self.item("buffers", index).uri is not None or (index == 0 and self._blob is not None)

    def view_bytes(self, index: Any) -> memoryview:
        """The bytes of a bufferView, decompressed where it is compressed.

        Raises:
            SceneError: there is no such view, or it ends behind its buffer, or is broken.
        """
        view: pygltflib.BufferView = self.item("bufferViews", index)
        extensions = view.extensions if isinstance(view.extensions, dict) else {}
        compressed = [extensions[name] for name in MESHOPT if isinstance(extensions.get(name), dict)]
        if compressed:
            if index not in self._decompressed:
                self._decompressed[index] = self._decompress(index, compressed[0])
            return self._decompressed[index]
        buffer = self.buffer(view.buffer)
        where = f"bufferView {index}"
        start = self.whole(where, "byteOffset", view.byteOffset or 0)
        length = self.whole(where, "byteLength", view.byteLength)
        if start + length > len(buffer):
            raise self.error(
                f"{where} ends at byte {start + length}, but its buffer has {len(buffer)}; export it again"
            )
        return buffer[start : start + length]

    def whole(self, where: str, what: str, value: object) -> int:
        """A whole number that is not negative.

        Raises:
            SceneError: it is something else.
        """
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(f"{where} has {what} {value!r}, expected a whole number of at least 0")
        return value

    def _decompress(self, index: int, values: dict[str, Any]) -> memoryview:
        where = f"bufferView {index}"
        start, length, count, stride = (
            self.whole(where, name, values.get(name, 0))
            for name in ("byteOffset", "byteLength", "count", "byteStride")
        )
        data = self.buffer(values.get("buffer"))
        if start + length > len(data):
            raise self.error(
                f"{where} ends at byte {start + length}, but its buffer has {len(data)}; export it again"
            )
        if sum(map(len, self._decompressed.values())) + count * stride > MAX_DECODED_BYTES:
            raise self.error(
                f"holds more than {MAX_DECODED_BYTES:,} bytes once decompressed; decimate it or split it"
            )
        mode, kind = str(values.get("mode")), str(values.get("filter") or "NONE")
        try:
            return memoryview(meshopt.decode(bytes(data[start : start + length]), mode, count, stride, kind))
        except ValueError as reason:
            raise self.error(f"{where} cannot be decompressed ({reason}); export it again") from None

    def _read_buffer(self, index: int, declared: pygltflib.Buffer) -> memoryview:
        uri = declared.uri
        if uri is None:
            if index == 0 and self._blob is not None:
                return self._blob
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
            target = self.folders.check(folder / name.replace("\\", "/"), f"buffer {index}", uri)
            # Many buffers may name one file: what they take together counts.
            left = MAX_BYTES - sum(map(len, self._buffers.values()))
            return memoryview(read_file(target, left))
        except FileNotFoundError:
            raise self.error(
                f"buffer {index} is missing: there is no {uri[:80]!r} beside the scene; put it there"
            ) from None
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            if isinstance(error, SceneError):
                raise
            raise self.error(
                f"buffer {index} at {uri[:80]!r} cannot be read: {reason}; put it there again"
            ) from None


def is_index(value: object, n: int) -> bool:
    """True for a whole number in 0..n-1 (JSON's true is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < n


def open_gltf(path: Path, allowed_folders: Iterable[Path] = ()) -> GltfFile:
    """Reads and parses a .gltf or .glb file; the content decides which, not the suffix.

    Args:
        allowed_folders: where buffers may lie, beside the file's own folder.

    Raises:
        SceneError: missing, unreadable, truncated, no glTF 2.0, or it needs an unsupported extension.
    """
    try:
        data = read_file(path)
    except FileNotFoundError:
        raise SceneError(f"scene file not found: {path}") from None
    except OSError as error:
        raise SceneError(
            f"scene file cannot be read: {path}: {error.strerror or error}; mend its permissions"
        ) from None
    blob = None
    if data[:4] == b"glTF":
        text, blob = _split_glb(path, memoryview(data))
    else:
        text = data
    parsed, raw = parse_json(path, text)
    file = GltfFile(Folders.of(path, allowed_folders), parsed, raw, blob)
    for name in parsed.extensionsRequired or []:
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
