"""Writing scenes as GLB: static meshes, skinned creatures, cameras, and animations that move them.

It writes what `gltf.py` reads, as far as the project's own scenes need it. Equal scenes give equal bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
from jaxtyping import Float, Float64

from genrender.errors import SceneError
from genrender.scene.camera import Camera
from genrender.scene.procedural.creatures import Creature
from genrender.scene.procedural.primitives import MeshPart, vertex_normals
from genrender.scene.rig import trs_from_local
from genrender.storage.atomic import atomic_write

# Values are rounded to this many digits before they become float32. Sines and matrix products differ in
# their last digits from processor to processor, and a stray 1e-17 would show in the bytes.
DIGITS = 7
# Neighbouring faces that differ by less than this are one smooth surface to a viewer.
CREASE_COSINE = 0.8

FLOATS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
COMPONENTS = {
    np.dtype(np.float32): pygltflib.FLOAT,
    np.dtype(np.uint8): pygltflib.UNSIGNED_BYTE,
    np.dtype(np.uint16): pygltflib.UNSIGNED_SHORT,
    np.dtype(np.uint32): pygltflib.UNSIGNED_INT,
}
GRAY = (0.8, 0.8, 0.8)


@dataclass(frozen=True)
class MeshNode:
    """A rigid object.

    Attributes:
        color: base colour for viewers, linear RGB in [0, 1]; rendering does not look at it.
        translation: where the mesh stands.
    """

    name: str
    mesh: MeshPart
    color: tuple[float, float, float] = GRAY
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class CreatureNode:
    """A skinned creature; its joints are nodes called "NAME:BONE"."""

    name: str
    creature: Creature
    color: tuple[float, float, float] = GRAY


@dataclass(frozen=True)
class CameraNode:
    """A perspective camera and where it stands while no animation moves it."""

    name: str
    camera: Camera


@dataclass(frozen=True)
class NodeKeys:
    """Motion of one node. Between keys a viewer slerps rotations and draws straight lines of translations.

    Attributes:
        times_s: key times, rising, from 0.
        rotation: rotation matrix per key; None leaves the node's own.
        translation: position in the parent per key; None leaves the node's own.
    """

    times_s: Float[np.ndarray, "K"]
    rotation: Float[np.ndarray, "K 3 3"] | None = None
    translation: Float[np.ndarray, "K 3"] | None = None


@dataclass(frozen=True)
class GltfScene:
    """What a file holds. `animations`: keys by node name, by animation name."""

    objects: Sequence[MeshNode | CreatureNode]
    cameras: Sequence[CameraNode] = ()
    animations: Mapping[str, Mapping[str, NodeKeys]] = field(default_factory=dict)


def creature_keys(
    node: CreatureNode,
    times_s: Float[np.ndarray, "K"],
    poses: Sequence[Mapping[str, Float[np.ndarray, "3 3"]]],
    offsets: Float[np.ndarray, "K 3"] | None = None,
) -> dict[str, NodeKeys]:
    """Keys of all joints that a sequence of poses turns.

    Args:
        poses: joint rotations as `Creature.pose` takes them, one mapping per key.
        offsets: how far the whole creature is shifted at each key.
    """
    keys = {}
    for bone in node.creature.bones:
        turns = [pose.get(bone.name) for pose in poses]
        rotation = None
        if any(turn is not None for turn in turns):
            rotation = np.stack([np.eye(3) if turn is None else turn for turn in turns])
        shifted = None if offsets is None or bone.parent is not None else np.asarray(bone.start) + offsets
        if rotation is not None or shifted is not None:
            keys[joint_name(node, bone.name)] = NodeKeys(times_s, rotation, shifted)
    return keys


def joint_name(node: CreatureNode, bone: str) -> str:
    """Name of the node that a bone becomes; several creatures of one kind may share a file."""
    return f"{node.name}:{bone}"


def write_glb(path: str | Path, scene: GltfScene) -> None:
    """Writes a scene as one GLB file.

    Raises:
        SceneError: two nodes share a name, or an animation moves a node that is not there.
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    data = glb_bytes(scene)
    with atomic_write(path) as part:
        part.write_bytes(data)


def glb_bytes(scene: GltfScene) -> bytes:
    """The bytes of a GLB file that holds the scene. Errors as in `write_glb`."""
    writer = _Writer()
    for thing in scene.objects:
        if isinstance(thing, CreatureNode):
            writer.add_creature(thing)
        else:
            writer.add_mesh_node(thing)
    for camera in scene.cameras:
        writer.add_camera(camera)
    for name, keys_by_node in scene.animations.items():
        writer.add_animation(name, keys_by_node)
    return writer.finish()


class _Writer:
    """A glTF document under construction."""

    def __init__(self):
        self.doc = pygltflib.GLTF2(
            asset=pygltflib.Asset(generator="genrender", version="2.0"),
            scene=0,
            scenes=[pygltflib.Scene(nodes=[])],
            buffers=[pygltflib.Buffer(byteLength=0)],
        )
        self.blob = bytearray()
        self.node_of_name: dict[str, int] = {}

    def add_mesh_node(self, thing: MeshNode) -> None:
        mesh = self._mesh(thing.name, thing.mesh, thing.color, {})
        self._node(pygltflib.Node(name=thing.name, mesh=mesh, translation=_numbers(thing.translation)))

    def add_creature(self, thing: CreatureNode) -> None:
        creature = thing.creature
        no_joints = np.zeros((len(creature.joint_ids), 2))
        influences = {
            "JOINTS_0": self._accessor(np.concatenate([creature.joint_ids, no_joints], 1).astype(np.uint8)),
            "WEIGHTS_0": self._accessor(_exact(np.concatenate([creature.weights, no_joints], 1))),
        }
        mesh = self._mesh(thing.name, creature.mesh, thing.color, influences)
        starts = np.array([bone.start for bone in creature.bones])
        joints: list[int] = []
        for index, bone in enumerate(creature.bones):
            parent = creature.parent_index(index)
            above = np.zeros(3) if parent < 0 else starts[parent]
            joint = pygltflib.Node(
                name=joint_name(thing, bone.name), translation=_numbers(starts[index] - above)
            )
            joints.append(self._node(joint, None if parent < 0 else joints[parent]))
        inverse_bind = np.tile(np.eye(4), (len(starts), 1, 1))
        inverse_bind[:, :3, 3] = -starts
        columns = inverse_bind.transpose(0, 2, 1).reshape(-1, 16)
        skin = pygltflib.Skin(
            name=thing.name, joints=joints, inverseBindMatrices=self._accessor(_exact(columns))
        )
        self.doc.skins.append(skin)
        self._node(pygltflib.Node(name=thing.name, mesh=mesh, skin=len(self.doc.skins) - 1))

    def add_camera(self, thing: CameraNode) -> None:
        perspective = pygltflib.Perspective(
            yfov=_numbers([np.deg2rad(thing.camera.yfov_deg)])[0], znear=0.01, aspectRatio=None
        )
        self.doc.cameras.append(
            pygltflib.Camera(name=thing.name, type="perspective", perspective=perspective)
        )
        pose = thing.camera.world_from_camera
        self._node(
            pygltflib.Node(
                name=thing.name,
                camera=len(self.doc.cameras) - 1,
                translation=_numbers(pose[:3, 3]),
                rotation=_numbers(quaternions(pose[None, :3, :3])[0]),
            )
        )

    def add_animation(self, name: str, keys_by_node: Mapping[str, NodeKeys]) -> None:
        animation = pygltflib.Animation(name=name, channels=[], samplers=[])
        inputs: dict[bytes, int] = {}
        for node, keys in keys_by_node.items():
            if node not in self.node_of_name:
                raise SceneError(
                    f"animation {name!r} moves {node!r}, expected one of: {', '.join(self.node_of_name)}"
                )
            times = _exact(keys.times_s)
            if times.tobytes() not in inputs:
                inputs[times.tobytes()] = self._accessor(times, has_bounds=True)
            outputs = {
                "translation": keys.translation,
                "rotation": None if keys.rotation is None else quaternions(keys.rotation),
            }
            for path, values in outputs.items():
                if values is None:
                    continue
                sampler = pygltflib.AnimationSampler(
                    input=inputs[times.tobytes()],
                    output=self._accessor(_exact(values)),
                    interpolation="LINEAR",
                )
                animation.samplers.append(sampler)
                target = pygltflib.AnimationChannelTarget(node=self.node_of_name[node], path=path)
                animation.channels.append(
                    pygltflib.AnimationChannel(sampler=len(animation.samplers) - 1, target=target)
                )
        self.doc.animations.append(animation)

    def finish(self) -> bytes:
        self.doc.buffers[0].byteLength = len(self.blob)
        self.doc.set_binary_blob(bytes(self.blob))
        return b"".join(self.doc.save_to_bytes())

    def _node(self, node: pygltflib.Node, parent: int | None = None) -> int:
        index = len(self.doc.nodes)
        name = str(node.name)
        if name in self.node_of_name:
            raise SceneError(f"two nodes are called {name!r}: give each a name of its own")
        self.node_of_name[name] = index
        self.doc.nodes.append(node)
        siblings: Any = (
            self.doc.scenes[0].nodes if parent is None else self.doc.nodes[parent].children
        )  # lists both, though declared optional
        siblings.append(index)
        return index

    def _mesh(self, name: str, part: MeshPart, color: Sequence[float], influences: Mapping[str, int]) -> int:
        attributes = pygltflib.Attributes(
            POSITION=self._accessor(_exact(part.verts), pygltflib.ARRAY_BUFFER, has_bounds=True),
            NORMAL=self._accessor(_exact(_smooth_normals(part)), pygltflib.ARRAY_BUFFER),
            TEXCOORD_0=self._accessor(_exact(part.uvs), pygltflib.ARRAY_BUFFER),
            **influences,
        )
        index_type = np.uint16 if len(part.verts) < 65536 else np.uint32
        indices = self._accessor(part.tris.ravel().astype(index_type), pygltflib.ELEMENT_ARRAY_BUFFER)
        material = pygltflib.Material(
            name=name,
            pbrMetallicRoughness=pygltflib.PbrMetallicRoughness(
                baseColorFactor=[*_numbers(color), 1.0], metallicFactor=0.0, roughnessFactor=0.8
            ),
        )
        self.doc.materials.append(material)
        primitive = pygltflib.Primitive(
            attributes=attributes, indices=indices, material=len(self.doc.materials) - 1
        )
        self.doc.meshes.append(pygltflib.Mesh(name=name, primitives=[primitive]))
        return len(self.doc.meshes) - 1

    def _accessor(self, array: np.ndarray, target: int | None = None, has_bounds: bool = False) -> int:
        """Adds an array, one row per element, in a buffer view of its own."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        view = pygltflib.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(data), target=target)
        self.doc.bufferViews.append(view)
        self.blob += data
        accessor = pygltflib.Accessor(
            bufferView=len(self.doc.bufferViews) - 1,
            componentType=COMPONENTS[array.dtype],
            count=len(array),
            type=FLOATS[1 if array.ndim == 1 else array.shape[1]],
        )
        if has_bounds:
            accessor.min = np.atleast_1d(array.min(axis=0)).tolist()
            accessor.max = np.atleast_1d(array.max(axis=0)).tolist()
        self.doc.accessors.append(accessor)
        return len(self.doc.accessors) - 1


def quaternions(rotations: Float[np.ndarray, "K 3 3"]) -> Float64[np.ndarray, "K 4"]:
    """Unit quaternions (x, y, z, w), each on the side of its predecessor; the first has w >= 0."""
    result = np.empty((len(rotations), 4))
    before = np.array([0.0, 0.0, 0.0, 1.0])
    for key, rotation in enumerate(rotations):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        quaternion = trs_from_local(matrix)[1]
        result[key] = before = -quaternion if quaternion @ before < 0 else quaternion
    return result


def _smooth_normals(part: MeshPart) -> Float64[np.ndarray, "V 3"]:
    """Vertex normals, made equal where a seam doubles a vertex of a smooth surface; edges stay hard.

    Otherwise a viewer would show every seam as a line.
    """
    normals = vertex_normals(part.verts, part.tris)
    # A pole has vertices that no triangle uses. They too need a direction; their neighbours' will do.
    is_unused = np.linalg.norm(normals, axis=1) == 0
    _, place = np.unique(np.round(part.verts, 6), axis=0, return_inverse=True)
    place = place.ravel()
    order = np.argsort(place, kind="stable")
    smooth = normals.copy()
    for here in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        alike = (normals[here] @ normals[here].T > CREASE_COSINE) | is_unused[here][:, None]
        smooth[here] = alike @ normals[here]
    smooth[~smooth.any(axis=1)] = (0.0, 1.0, 0.0)
    return smooth / np.linalg.norm(smooth, axis=1, keepdims=True)


def _exact(values: Float[np.ndarray, "..."]) -> np.ndarray:
    """float32 values that do not depend on the last digits of a computation; -0 becomes 0."""
    return (np.round(np.asarray(values, np.float64), DIGITS) + 0.0).astype(np.float32)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in np.round(np.asarray(values, np.float64), DIGITS) + 0.0]
