"""glTF nodes: the tree, which of them are shown, and the instances of a node."""

from typing import Any

import numpy as np
import pygltflib
from jaxtyping import Bool, Float64

from genrender.scene.formats.gltf.accessor import read_floats
from genrender.scene.formats.gltf.file import GltfFile
from genrender.scene.rig import Nodes, levels_of, local_from_trs

# A tiny file can describe endless instances by a count without data.
MAX_INSTANCES = 2**18


def read_nodes(file: GltfFile) -> Nodes:
    """The tree of all nodes at rest.

    Raises:
        SceneError: it is no tree, or a transform is broken.
    """
    n = len(file.json.nodes or [])
    parent = np.full(n, -1, np.int64)
    translation, rotation = np.zeros((n, 3)), np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))
    scale, matrix = np.ones((n, 3)), np.tile(np.eye(4), (n, 1, 1))
    has_matrix, visible = np.zeros(n, bool), np.ones(n, bool)
    for index in range(n):
        node: pygltflib.Node = file.item("nodes", index)
        for child in node.children or []:
            file.item("nodes", child)
            if parent[child] >= 0:
                raise file.error(
                    f"node {child} has two parents, {parent[child]} and {index}; export it again"
                )
            parent[child] = index
        visible[index] = _extension(file, index, "KHR_node_visibility").get("visible") is not False
        if node.translation is not None:
            translation[index] = _numbers(file, f"node {index}", "translation", node.translation, 3)
        if node.rotation is not None:
            rotation[index] = _numbers(file, f"node {index}", "rotation", node.rotation, 4)
        if node.scale is not None:
            scale[index] = _numbers(file, f"node {index}", "scale", node.scale, 3)
        if node.matrix is not None:
            has_matrix[index] = True
            matrix[index] = _numbers(file, f"node {index}", "matrix", node.matrix, 16).reshape(4, 4).T
    levels = levels_of(parent.tolist())
    if sum(len(level) for level in levels) < n:
        reached = {node for level in levels for node in level}
        lost = next(index for index in range(n) if index not in reached)
        raise file.error(f"node {lost} is its own ancestor or hangs below one that is; export it again")
    return Nodes(
        parent,
        translation,
        rotation,
        scale,
        matrix,
        has_matrix,
        visible,
        tuple(np.array(level, np.int64) for level in levels),
    )


def scene_nodes(file: GltfFile) -> list[int]:
    """Nodes of the default scene (else the first scene, else all), parents before children."""
    n = len(file.json.nodes or [])
    if file.json.scenes:
        scene: pygltflib.Scene = file.item("scenes", 0 if file.json.scene is None else file.json.scene)
        roots = scene.nodes or []
    else:
        children = {child for node in file.json.nodes or [] for child in node.children or []}
        roots = [index for index in range(n) if index not in children]
    shown: list[int] = []
    seen: set[int] = set()
    waiting = list(reversed(roots))
    while waiting:
        index = waiting.pop()
        node: pygltflib.Node = file.item("nodes", index)
        if index in seen:
            continue
        seen.add(index)
        shown.append(index)
        waiting += reversed(node.children or [])
    return shown


def may_be_seen(nodes: Nodes, can_change: set[int]) -> Bool[np.ndarray, "N"]:
    """Nodes that are shown at some time: neither they nor any above them are hidden for good.

    Args:
        can_change: nodes whose visibility some animation changes.
    """
    seen = nodes.visible.copy()
    seen[sorted(can_change)] = True
    return nodes.inherited(seen)


def read_instances(file: GltfFile, index: int) -> Float64[np.ndarray, "I 4 4"] | None:
    """The transforms of EXT_mesh_gpu_instancing, in the node's space; None: the node shows its mesh once.

    Raises:
        SceneError: the attributes differ in number, or are no finite numbers.
    """
    attributes = _extension(file, index, "EXT_mesh_gpu_instancing").get("attributes")
    if not isinstance(attributes, dict):
        return None
    read = {
        name: read_floats(file, attributes[name], (kind,)).astype(np.float64)
        for name, kind in (("TRANSLATION", "VEC3"), ("ROTATION", "VEC4"), ("SCALE", "VEC3"))
        if attributes.get(name) is not None
    }
    if not read:
        return None
    n = len(next(iter(read.values())))
    if any(len(values) != n for values in read.values()):
        counts = ", ".join(f"{len(values)} {name}" for name, values in read.items())
        raise file.error(f"node {index} has instances that differ in number ({counts}); export it again")
    if n > MAX_INSTANCES:
        raise file.error(
            f"node {index} has {n:,} instances, expected at most {MAX_INSTANCES:,}; thin them out"
        )
    if not all(np.isfinite(values).all() for values in read.values()):
        raise file.error(f"node {index} has instances at places that are no finite numbers; export it again")
    return local_from_trs(
        read.get("TRANSLATION", np.zeros((n, 3))),
        read.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))),
        read.get("SCALE", np.ones((n, 3))),
    )


def _extension(file: GltfFile, index: int, name: str) -> dict[str, Any]:
    """What an extension says of a node; nothing where it does not."""
    extensions = file.raw["nodes"][index].get("extensions")
    values = extensions.get(name) if isinstance(extensions, dict) else None
    return values if isinstance(values, dict) else {}


def _numbers(file: GltfFile, where: str, what: str, value: object, n: int) -> Float64[np.ndarray, "N"]:
    is_fine = isinstance(value, list) and len(value) == n and all(isinstance(v, int | float) for v in value)
    array = np.array(value if is_fine else [np.nan], np.float64)
    if not np.isfinite(array).all():
        raise file.error(f"{where} has the {what} {str(value)[:80]}, expected {n} finite numbers")
    return array
