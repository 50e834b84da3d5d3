"""What makes a scene move: a tree of nodes, the parts that hang on it, and the tracks that drive both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from genrender.scene.animation import Track, normalized
from genrender.scene.camera import Camera
from genrender.scene.motion import SceneCamera, rigid


@dataclass(frozen=True)
class Nodes:
    """The node tree in its rest pose.

    Attributes:
        parent: index of the parent, -1 for a root.
        matrix: local transforms of the nodes that have no TRS.
        has_matrix: which nodes those are.
        levels: nodes by depth, roots first, so that a level's parents are done before it.
    """

    parent: Int64[np.ndarray, "N"]
    translation: Float64[np.ndarray, "N 3"]
    rotation: Float64[np.ndarray, "N 4"]
    scale: Float64[np.ndarray, "N 3"]
    matrix: Float64[np.ndarray, "N 4 4"]
    has_matrix: Bool[np.ndarray, "N"]
    levels: tuple[Int64[np.ndarray, "_"], ...]

    def world_from_node(self) -> Float64[np.ndarray, "N 4 4"]:
        """World transforms of all nodes."""
        local = local_from_trs(self.translation, self.rotation, self.scale)
        if self.has_matrix.any():
            local[self.has_matrix] = self.matrix[self.has_matrix]
        world = local
        for level in self.levels[1:]:
            world[level] = world[self.parent[level]] @ local[level]
        return world


@dataclass(frozen=True)
class MorphTarget:
    """Displacements at weight 1. `rows` lists the vertices that move, None means all of them in order."""

    rows: Int64[np.ndarray, "M"] | None
    delta: Float32[np.ndarray, "M 3"]


@dataclass(frozen=True)
class Skin:
    """Joints and their inverse bind matrices.

    Attributes:
        joints: node per joint.
        joint_from_mesh: inverse bind matrices.
    """

    joints: Int64[np.ndarray, "J"]
    joint_from_mesh: Float64[np.ndarray, "J 4 4"]


@dataclass(frozen=True)
class VertexBlock:
    """Vertices of a mesh in its own space. Several nodes may show the same block.

    Attributes:
        joints: for every vertex the joints that hold it, as indices into the skin; None: not skinned.
        joint_weights: their weights, sum 1.
    """

    positions: Float32[np.ndarray, "V 3"]
    targets: tuple[MorphTarget, ...] = ()
    joints: Int64[np.ndarray, "V I"] | None = None
    joint_weights: Float32[np.ndarray, "V I"] | None = None


@dataclass(frozen=True)
class Part:
    """A vertex block as one node shows it."""

    block: VertexBlock
    node: int
    skin: Skin | None
    weights: Float64[np.ndarray, "M"]


@dataclass(frozen=True)
class Rig:
    """The `Motion` of a glTF scene.

    Attributes:
        parts: in the order of the scene's vertices.
        animations: tracks of every animation.
    """

    nodes: Nodes
    parts: tuple[Part, ...]
    animations: tuple[tuple[Track, ...], ...]

    @property
    def n_verts(self) -> int:
        return sum(len(part.block.positions) for part in self.parts)

    def mesh_verts(self) -> Float32[np.ndarray, "V 3"]:
        """Vertices of all parts in the spaces of their meshes, unmoved by nodes, skins and morphs."""
        return np.concatenate([part.block.positions for part in self.parts])

    def pose(
        self, time_s: float, animation: int | None
    ) -> tuple[Float64[np.ndarray, "N 4 4"], dict[int, Float64[np.ndarray, "M"]]]:
        """World transforms of all nodes, and the morph weights of the nodes whose weights are animated."""
        if animation is None:
            return self.nodes.world_from_node(), {}
        moved = {
            "translation": self.nodes.translation.copy(),
            "rotation": self.nodes.rotation.copy(),
            "scale": self.nodes.scale.copy(),
        }
        weights: dict[int, np.ndarray] = {}
        for track in self.animations[animation]:
            values = track.sample(time_s)
            if track.target == "weights":
                weights.update(zip(track.nodes.tolist(), values, strict=True))
            else:
                moved[track.target][track.nodes] = values
        return replace(self.nodes, **moved).world_from_node(), weights

    def evaluate(self, time_s: float, animation: int | None) -> Float32[np.ndarray, "V 3"]:
        """World-space vertices of all parts at a time; +inf or NaN where float32 cannot hold them."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._evaluate(time_s, animation)

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera where its node carries it."""
        world_from_node = self.pose(time_s, animation)[0][camera.node]
        return Camera(rigid(world_from_node), camera.yfov_deg, camera.ymag)

    def _evaluate(self, time_s: float, animation: int | None) -> Float32[np.ndarray, "V 3"]:
        world_from_node, weights = self.pose(time_s, animation)
        verts = np.empty((self.n_verts, 3), np.float32)
        start = 0
        for part in self.parts:
            end = start + len(part.block.positions)
            positions = morphed(part.block, weights.get(part.node, part.weights))
            if part.skin is None:
                transform = world_from_node[part.node]
                # float64 until the last step: a large translation must not eat the digits of a small mesh.
                verts[start:end] = positions @ transform[:3, :3].T + transform[:3, 3]
            else:
                verts[start:end] = skinned(part.block, part.skin, positions, world_from_node)
            start = end
        return verts


def morphed(block: VertexBlock, weights: Float64[np.ndarray, "M"]) -> Float32[np.ndarray, "V 3"]:
    """Positions plus weighted displacements; the block's own array where no weight is set."""
    if not np.any(weights):
        return block.positions
    positions = block.positions.copy()
    for target, weight in zip(block.targets, weights, strict=True):
        if weight == 0:
            continue
        if target.rows is None:
            positions += np.float32(weight) * target.delta
        else:
            positions[target.rows] += np.float32(weight) * target.delta
    return positions


def skinned(
    block: VertexBlock,
    skin: Skin,
    positions: Float32[np.ndarray, "V 3"],
    world_from_node: Float64[np.ndarray, "N 4 4"],
) -> Float32[np.ndarray, "V 3"]:
    """Linear blend skinning. The node that carries the mesh plays no part: joints place it."""
    assert block.joints is not None
    assert block.joint_weights is not None
    world_from_mesh = world_from_node[skin.joints] @ skin.joint_from_mesh
    rows = world_from_mesh[:, :3].reshape(-1, 12).astype(np.float32)
    blended = block.joint_weights[:, :1] * rows[block.joints[:, 0]]
    for influence in range(1, block.joints.shape[1]):
        blended += block.joint_weights[:, influence, None] * rows[block.joints[:, influence]]
    blended = blended.reshape(-1, 3, 4)
    return np.einsum("vij,vj->vi", blended[:, :, :3], positions) + blended[:, :, 3]


def local_from_trs(
    translation: Float[np.ndarray, "N 3"], rotation: Float[np.ndarray, "N 4"], scale: Float[np.ndarray, "N 3"]
) -> Float64[np.ndarray, "N 4 4"]:
    """Matrices T R S; rotations are quaternions (x, y, z, w) of any length but zero."""
    x, y, z, w = normalized(rotation).T
    matrix = np.zeros((len(x), 4, 4))
    matrix[:, 0, 0] = 1 - 2 * (y * y + z * z)
    matrix[:, 0, 1] = 2 * (x * y - z * w)
    matrix[:, 0, 2] = 2 * (x * z + y * w)
    matrix[:, 1, 0] = 2 * (x * y + z * w)
    matrix[:, 1, 1] = 1 - 2 * (x * x + z * z)
    matrix[:, 1, 2] = 2 * (y * z - x * w)
    matrix[:, 2, 0] = 2 * (x * z - y * w)
    matrix[:, 2, 1] = 2 * (y * z + x * w)
    matrix[:, 2, 2] = 1 - 2 * (x * x + y * y)
    matrix[:, :3, :3] *= scale[:, None, :]
    matrix[:, :3, 3] = translation
    matrix[:, 3, 3] = 1
    return matrix


def trs_from_local(
    matrix: Float64[np.ndarray, "4 4"],
) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "4"], Float64[np.ndarray, "3"]]:
    """Translation, rotation and scale of a matrix without shear; a reflection turns the x scale negative."""
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale[0] = -scale[0]
    m = matrix[:3, :3] / np.where(scale == 0, 1, scale)
    # The rotation's quaternion is the eigenvector of this symmetric matrix with the largest eigenvalue.
    # Unlike the formula with square roots, that has no bad case.
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    return matrix[:3, 3].copy(), np.linalg.eigh(k)[1][:, -1], scale


def levels_of(parent: Sequence[int]) -> list[list[int]]:
    """Nodes by depth, roots (parent -1) first. Nodes on a cycle, or below one, are in no level."""
    children: list[list[int]] = [[] for _ in parent]
    for node, above in enumerate(parent):
        if above >= 0:
            children[above].append(node)
    levels = [[node for node, above in enumerate(parent) if above < 0]]
    while levels[-1]:
        levels.append([child for node in levels[-1] for child in children[node]])
    return levels[:-1]
