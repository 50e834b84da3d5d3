"""Writing a glTF scene back with other texture coordinates; everything else stays as the file has it."""

import copy
import json
import os
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from jaxtyping import Float32, Int64

from genrender.errors import SceneError
from genrender.scene.formats.gltf.accessor import read_as_stored
from genrender.scene.formats.gltf.file import DRACO, MESHOPT, GltfFile, open_gltf
from genrender.scene.formats.gltf.mesh import POINTS_AND_LINES, TRIANGLES, Budget, read_mesh, read_tris
from genrender.scene.formats.gltf.read import GLTF
from genrender.scene.formats.gltf.uv import set_of, texture_infos
from genrender.scene.scene import Scene
from genrender.scene.uv.unwrap import spans
from genrender.storage.atomic import atomic_write

COMPONENT_TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


def write_with_uvs(scene: Scene, changed: set[int], out: str | Path) -> None:
    """Writes the file of a scene as GLB, with the scene's texture coordinates as TEXCOORD_0.

    A vertex with several coordinates is split, and with it all that it has: joints, weights, colours, morph
    targets. Strips and fans become plain triangles. Old coordinates that the pictures of a material use
    become a further set, and the material, or a copy of it, uses that: the object looks as before.

    Args:
        scene: of a glTF file, loaded from where it still is.
        changed: indices of the objects with new coordinates. Objects that show one mesh change together.
        out: the new file. Pictures beside the old file stay there; the new one names them from where it is.

    Raises:
        SceneError: the scene is no glTF file, or the file has changed.
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    if scene.path.suffix.lower() not in GLTF.suffixes:
        raise SceneError(f"{scene.path.name}: only glTF files are written back; convert it to .glb first")
    file = open_gltf(scene.path, scene.allowed_folders)
    writer = _Rewriter(file)
    spans_of = spans(scene.objects)
    for mesh, index in {scene.objects[index].mesh: index for index in sorted(changed, reverse=True)}.items():
        writer.replace_uvs(mesh, scene.uvs[spans_of[index]])
    data = writer.finish(Path(out))
    with atomic_write(out) as part:
        part.write_bytes(data)


class _Rewriter:
    """The JSON of a file and all its buffers as one, with room for more behind."""

    def __init__(self, file: GltfFile):
        self.file = file
        self.doc = copy.deepcopy(file.raw)
        self.blob = bytearray()
        starts = []
        for index in range(len(self.doc.get("buffers") or [])):
            self.blob += b"\0" * (-len(self.blob) % 8)
            starts.append(len(self.blob))
            if file.has_data(index):
                self.blob += file.buffer(index)
        for index, view in enumerate(self.doc.get("bufferViews") or []):
            extensions = view.get("extensions") or {}
            if any(name in extensions for name in MESHOPT):
                self._decompress(index, view)
            else:
                view["byteOffset"] = view.get("byteOffset", 0) + starts[view.get("buffer", 0)]
            view["buffer"] = 0

    def _decompress(self, index: int, view: dict[str, Any]) -> None:
        """What is compressed is written as it is: the new coordinates are not compressed either."""
        data = self.file.view_bytes(index)
        self.blob += b"\0" * (-len(self.blob) % 8)
        view |= {"byteOffset": len(self.blob), "byteLength": len(data)}
        view["extensions"] = {k: v for k, v in view["extensions"].items() if k not in MESHOPT}
        self.blob += data

    def replace_uvs(self, mesh: int, uvs: Float32[np.ndarray, "T 3 2"]) -> None:
        budget = Budget(self.file)
        kept = iter(read_mesh(self.file, mesh, Budget(self.file)).sound)
        done = 0
        parsed = self.file.item("meshes", mesh).primitives or []
        for primitive, stored in zip(parsed, self.doc["meshes"][mesh]["primitives"], strict=True):
            mode = TRIANGLES if primitive.mode is None else primitive.mode
            position = (stored.get("attributes") or {}).get("POSITION")
            if mode in POINTS_AND_LINES or position is None:
                continue
            n_verts = len(read_as_stored(self.file, position)[0])
            tris = read_tris(self.file, mesh, primitive, mode, n_verts, budget)[next(kept)]
            if done + len(tris) > len(uvs):
                break
            self._rewrite(stored, n_verts, tris, uvs[done : done + len(tris)])
            done += len(tris)
        else:
            if done == len(uvs):
                return
        raise self.file.error(f"mesh {mesh} no longer has the scene's {len(uvs)} triangles; load it again")

    def _rewrite(
        self,
        primitive: dict[str, Any],
        n_verts: int,
        tris: Int64[np.ndarray, "T 3"],
        uvs: Float32[np.ndarray, "T 3 2"],
    ) -> None:
        """One vertex for every pair of an old one and a coordinate, in the order of the old ones."""
        corner = np.column_stack([tris.ravel(), uvs.reshape(-1, 2).astype(np.float64)])
        kept, index = np.unique(corner, axis=0, return_inverse=True)
        old = kept[:, 0].astype(np.int64)
        attributes = primitive["attributes"]
        for values in (attributes, *(primitive.get("targets") or [])):
            for name in values:
                values[name] = self._picked(values[name], n_verts, old, name == "POSITION")
        if "TEXCOORD_0" in attributes:
            self._keep_old_set(primitive)
        attributes["TEXCOORD_0"] = self._accessor(kept[:, 1:].astype(np.float32), ARRAY_BUFFER, type="VEC2")
        index_type = np.uint16 if len(kept) < 65535 else np.uint32
        indices = index.reshape(-1, 1).astype(index_type)
        primitive["indices"] = self._accessor(indices, ELEMENT_ARRAY_BUFFER, type="SCALAR")
        primitive["mode"] = TRIANGLES
        # It may describe the same geometry once more, compressed, with the old coordinates.
        extensions = primitive.get("extensions") or {}
        extensions.pop(DRACO, None)

    def _keep_old_set(self, primitive: dict[str, Any]) -> None:
        """Where pictures of the material use the old coordinates, they go on doing so."""
        if "material" not in primitive:
            return
        self.file.item("materials", primitive["material"])
        material = copy.deepcopy(self.file.raw["materials"][primitive["material"]])
        users = [
            place for _, info in texture_infos(material) if (place := set_of(info)).get("texCoord", 0) == 0
        ]
        if not users:
            return
        attributes = primitive["attributes"]
        free = next(n for n in range(1, len(attributes) + 2) if f"TEXCOORD_{n}" not in attributes)
        attributes[f"TEXCOORD_{free}"] = attributes["TEXCOORD_0"]
        for place in users:
            place["texCoord"] = free
        if material not in self.doc["materials"]:
            self.doc["materials"].append(material)
        primitive["material"] = self.doc["materials"].index(material)

    def _picked(self, accessor: int, n_verts: int, rows: Int64[np.ndarray, "V"], has_bounds: bool) -> int:
        """A copy of some rows of an accessor, one for each vertex."""
        values, is_normalized = read_as_stored(self.file, accessor)
        if len(values) != n_verts:
            raise self.file.error(
                f"accessor {accessor} has {len(values)} elements for {n_verts} vertices; export it again"
            )
        fields: dict[str, Any] = {"type": self.file.raw["accessors"][accessor]["type"]}
        if is_normalized:
            fields["normalized"] = True
        picked = values[rows]
        if has_bounds:
            fields |= {"min": picked.min(axis=0).tolist(), "max": picked.max(axis=0).tolist()}
        return self._accessor(picked, ARRAY_BUFFER, **fields)

    def _accessor(self, values: np.ndarray, target: int, **fields: Any) -> int:
        self.blob += b"\0" * (-len(self.blob) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.blob), "target": target}
        rows = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
        if target == ARRAY_BUFFER:
            # Every vertex begins at a multiple of four bytes.
            rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
            view["byteStride"] = rows.shape[1]
        view["byteLength"] = rows.size
        self.blob += rows.tobytes()
        self.doc["bufferViews"].append(view)
        self.doc["accessors"].append(
            {
                "bufferView": len(self.doc["bufferViews"]) - 1,
                "componentType": COMPONENT_TYPES[values.dtype.str[1:]],
                "count": len(values),
                **fields,
            }
        )
        return len(self.doc["accessors"]) - 1

    def finish(self, out: Path) -> bytes:
        """The bytes of the GLB file."""
        self.doc["buffers"] = [{"byteLength": len(self.blob)}]
        primitives = [primitive for mesh in self.doc["meshes"] for primitive in mesh["primitives"]]
        still = {DRACO} if any(DRACO in (p.get("extensions") or {}) for p in primitives) else set()
        for key in ("extensionsUsed", "extensionsRequired"):
            names = self.doc.get(key) or []
            self.doc[key] = [name for name in names if name in still or name not in (DRACO, *MESHOPT)]
            if not self.doc[key]:  # an empty list is not allowed
                del self.doc[key]
        old, new = self.file.path.parent.resolve(), out.parent.resolve()
        for image in self.doc.get("images") or []:
            uri = image.get("uri")
            if isinstance(uri, str) and ":" not in uri.split("/")[0]:
                image["uri"] = quote(os.path.relpath(old / unquote(uri), new).replace(os.sep, "/"))
        text = json.dumps(self.doc, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        self.blob += b"\0" * (-len(self.blob) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.blob), b"BIN\0") + self.blob
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
