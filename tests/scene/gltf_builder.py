"""Builds tiny glTF files for the tests, one feature at a time."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

COMPONENT_TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ASSETS = SHARED / "assets"


class GltfBuilder:
    """A glTF document under construction; `doc` may be edited freely before saving."""

    def __init__(self):
        self.doc: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "accessors": [],
            "bufferViews": [],
            "buffers": [{}],
        }
        self.blob = b""

    def view(self, data: bytes, stride: int | None = None) -> int:
        """Adds a buffer view, aligned to four bytes."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        if stride is not None:
            view["byteStride"] = stride
        self.blob += data
        self.doc["bufferViews"].append(view)
        return len(self.doc["bufferViews"]) - 1

    def accessor(self, array: Any, dtype: str = "f4", **fields: Any) -> int:
        """Adds an array, one row per element, as a tightly packed accessor."""
        array = np.asarray(array).astype("<" + dtype if dtype[1] != "1" else dtype)
        width = 1 if array.ndim == 1 else array.shape[1]
        self.doc["accessors"].append(
            {
                "bufferView": self.view(array.tobytes()),
                "componentType": COMPONENT_TYPES[dtype],
                "count": len(array),
                "type": TYPES[width],
                **fields,
            }
        )
        return len(self.doc["accessors"]) - 1

    def mesh(self, positions: Any = None, indices: Any = None, **fields: Any) -> int:
        """Adds a mesh of one primitive; `attributes` and `mode` and `targets` go into the primitive."""
        attributes = dict(fields.pop("attributes", {}))
        if positions is not None:
            attributes["POSITION"] = self.accessor(positions)
        primitive = {"attributes": attributes}
        if indices is not None:
            primitive["indices"] = self.accessor(indices, "u2")
        for name in ("mode", "targets", "extensions"):
            if name in fields:
                primitive[name] = fields.pop(name)
        self.doc["meshes"].append({"primitives": [primitive], **fields})
        return len(self.doc["meshes"]) - 1

    def node(self, is_root: bool = True, **fields: Any) -> int:
        self.doc["nodes"].append(fields)
        index = len(self.doc["nodes"]) - 1
        if is_root:
            self.doc["scenes"][0]["nodes"].append(index)
        return index

    def animate(self, name: str, channels: list[tuple[int, str, Any, Any, str]], **output: Any) -> None:
        """Adds an animation of (node, path, times, values, interpolation) channels."""
        samplers, targets = [], []
        for node, path, times, values, interpolation in channels:
            samplers.append(
                {
                    "input": self.accessor(times),
                    "output": self.accessor(values, **output),
                    "interpolation": interpolation,
                }
            )
            targets.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
        self.doc.setdefault("animations", []).append(
            {"name": name, "samplers": samplers, "channels": targets}
        )

    def save(self, path: Path) -> Path:
        """Writes .glb, or .gltf with its buffer as a data URI unless `doc` names another place for it."""
        buffer = self.doc["buffers"][0]
        buffer.setdefault("byteLength", len(self.blob))
        if path.suffix == ".glb":
            text = json.dumps(self.doc).encode()
            text += b" " * (-len(text) % 4)
            blob = self.blob + b"\0" * (-len(self.blob) % 4)
            chunks = struct.pack("<I4s", len(text), b"JSON") + text
            chunks += struct.pack("<I4s", len(blob), b"BIN\0") + blob
            path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        else:
            encoded = base64.b64encode(self.blob).decode()
            buffer.setdefault("uri", f"data:application/octet-stream;base64,{encoded}")
            path.write_text(json.dumps(self.doc))
        return path


TRIANGLE = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
SQUARE = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]


def one_triangle(**node: Any) -> GltfBuilder:
    """A document with a single triangle on a single node."""
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(TRIANGLE), **node)
    return builder


STRIP = np.array([[x, y, 0] for y in (0, 1, 2) for x in (0, 1)], np.float32)
STRIP_TRIS = [0, 1, 2, 2, 1, 3, 2, 3, 4, 4, 3, 5]


def skinned_strip(
    joint_rows=None, weights=None, inverse_bind=True, n_sets=1, joint_dtype="u1", mesh_node=None
) -> GltfBuilder:
    """A ribbon from y = 0 to 2, node 0 the mesh, joint nodes 1 (at the origin) and its child 2 (at y = 1)."""
    builder = GltfBuilder()
    if joint_rows is None:
        joint_rows = np.tile([0, 1, 0, 0], (6, 1))
        share = np.repeat([0, 0.5, 1], 2)
        weights = np.stack([1 - share, share, 0 * share, 0 * share], axis=1)
    attributes = {}
    for index in range(n_sets):
        part = slice(4 * index, 4 * index + 4)
        attributes[f"JOINTS_{index}"] = builder.accessor(np.asarray(joint_rows)[:, part], joint_dtype)
        attributes[f"WEIGHTS_{index}"] = builder.accessor(np.asarray(weights)[:, part])
    mesh = builder.mesh(STRIP, STRIP_TRIS, attributes=attributes)
    builder.node(mesh=mesh, skin=0, **(mesh_node or {}))
    builder.node(children=[2], name="hip")
    builder.node(is_root=False, translation=[0, 1, 0], name="knee")
    skin = {"joints": [1, 2]}
    if inverse_bind:
        # Column by column: identity, and the inverse of the knee's translation.
        identity = np.eye(4)
        knee = np.eye(4)
        knee[1, 3] = -1
        skin["inverseBindMatrices"] = builder.accessor(np.stack([identity.T.ravel(), knee.T.ravel()]))
    builder.doc["skins"] = [skin]
    return builder


def morphing(mesh_weights=None, node_weights=None, is_sparse=False) -> GltfBuilder:
    """A square with two morph targets: one lifts a corner by 2, one moves all by 1 to the right."""
    builder = GltfBuilder()
    up = builder.accessor([[0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 0]])
    right = builder.accessor([[1, 0, 0]] * 4)
    if is_sparse:
        accessor = builder.doc["accessors"][up]
        del accessor["bufferView"]
        accessor["sparse"] = {
            "count": 1,
            "indices": {"bufferView": builder.view(bytes([2])), "componentType": 5121},
            "values": {"bufferView": builder.view(np.array([0, 2, 0], "<f4").tobytes())},
        }
    fields = {} if mesh_weights is None else {"weights": mesh_weights}
    mesh = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], targets=[{"POSITION": up}, {"POSITION": right}], **fields)
    builder.node(mesh=mesh, **({} if node_weights is None else {"weights": node_weights}))
    return builder
