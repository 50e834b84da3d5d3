"""Rigs: a tree of nodes, the mesh parts attached to it, and the animation tracks that move both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
        visible: which nodes do not hide themselves and all below them.
        levels: nodes by depth, roots first, so that a level's parents are done before it.
    """

    parent: Int64[np.ndarray, "N"]
    translation: Float64[np.ndarray, "N 3"]
    rotation: Float64[np.ndarray, "N 4"]
    scale: Float64[np.ndarray, "N 3"]
    matrix: Float64[np.ndarray, "N 4 4"]
    has_matrix: Bool[np.ndarray, "N"]
    visible: Bool[np.ndarray, "N"]
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

    def inherited(self, visible: Bool[np.ndarray, "N"]) -> Bool[np.ndarray, "N"]:
        """The nodes that are visible with all that are above them."""
        shown = visible.copy()
        for level in self.levels[1:]:
            shown[level] &= shown[self.parent[level]]
        return shown


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
    """A vertex block as one node shows it.

    Attributes:
        weights: of the morph targets, unless animated.
        instance: where this copy is, in the node's space; None: where the node is.
    """

    block: VertexBlock
    node: int
    skin: Skin | None
    weights: Float64[np.ndarray, "M"]
    instance: Float64[np.ndarray, "4 4"] | None = None


@dataclass(frozen=True)
class Pose:
    """All nodes at one moment.

    Attributes:
        weights: morph weights of the nodes whose weights are animated.
        is_shown: which nodes are visible; None: all that may ever be.
        lens: what animations set of cameras, by property and the camera's node.
    """

    world_from_node: Float64[np.ndarray, "N 4 4"]
    weights: dict[int, Float64[np.ndarray, "M"]]
    is_shown: Bool[np.ndarray, "N"] | None
    lens: dict[tuple[str, int], float]


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

    @cached_property
    def can_hide(self) -> bool:
        """Whether some animation changes what is visible."""
        return any(track.target == "visible" for tracks in self.animations for track in tracks)

    def pose(self, time_s: float, animation: int | None) -> Pose:
        """All nodes at a time. The rest pose shows whatever an animation may show."""
        if animation is None:
            return Pose(self.nodes.world_from_node(), {}, None, {})
        moved = {
            "translation": self.nodes.translation.copy(),
            "rotation": self.nodes.rotation.copy(),
            "scale": self.nodes.scale.copy(),
        }
        visible = self.nodes.visible.copy()
        weights: dict[int, np.ndarray] = {}
        lens: dict[tuple[str, int], float] = {}
        for track in self.animations[animation]:
            values = track.sample(time_s)
            if track.target in moved:
                moved[track.target][track.nodes] = values
            elif track.target == "weights":
                weights.update(zip(track.nodes.tolist(), values, strict=True))
            elif track.target == "visible":
                visible[track.nodes] = values[:, 0] != 0
            else:
                lens.update(
                    ((track.target, node), float(v))
                    for node, (v,) in zip(track.nodes.tolist(), values, strict=True)
                )
        is_shown = self.nodes.inherited(visible) if self.can_hide else None
        return Pose(replace(self.nodes, **moved).world_from_node(), weights, is_shown, lens)

    def evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices of all parts at a time; may be infinite or NaN.

        Those of a hidden part lie all at its first one, where no ray meets them.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._evaluate(time_s, animation)

    def camera(self, camera: SceneCamera, time_s: float, animation: int | None) -> Camera:
        """A camera where its node carries it, with its lens as it is at that time."""
        pose = self.pose(time_s, animation)
        ymag = camera.ymag
        if ymag is not None:
            ymag = abs(pose.lens.get(("ymag", camera.node), ymag)) or ymag
        yfov = pose.lens.get(("yfov", camera.node), 0.0)
        return Camera(
            rigid(pose.world_from_node[camera.node]),
            # A spline may overshoot what a field of view can be.
            float(np.rad2deg(yfov)) if 0 < yfov < np.pi else camera.yfov_deg,
            ymag,
            max(pose.lens.get(("znear", camera.node), camera.near), 0.0),
            pose.lens.get(("zfar", camera.node), camera.far),
        )

    def _evaluate(self, time_s: float, animation: int | None) -> Float64[np.ndarray, "V 3"]:
        pose = self.pose(time_s, animation)
        world_from_node = pose.world_from_node
        verts = np.empty((self.n_verts, 3))
        start = 0
        for part in self.parts:
            end = start + len(part.block.positions)
            positions = morphed(part.block, pose.weights.get(part.node, part.weights))
            if part.skin is None:
                transform = world_from_node[part.node]
                if part.instance is not None:
                    transform = transform @ part.instance
                # float64: a large translation must not eat the digits of a small mesh.
                verts[start:end] = positions @ transform[:3, :3].T + transform[:3, 3]
            else:
                verts[start:end] = skinned(part.block, part.skin, positions, world_from_node)
                if part.instance is not None:
                    transform = _in_world(part.instance, world_from_node[part.node])
                    verts[start:end] = verts[start:end] @ transform[:3, :3].T + transform[:3, 3]
            if pose.is_shown is not None and not pose.is_shown[part.node]:
                verts[start:end] = verts[start]
            start = end
        return verts


def _in_world(
    instance: Float64[np.ndarray, "4 4"], world_from_node: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "4 4"]:
    """What an instance does in the world to a skinned figure, which its joints have put there already."""
    if np.linalg.matrix_rank(world_from_node[:3, :3]) < 3:
        return instance
    return world_from_node @ instance @ np.linalg.inv(world_from_node)


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
) -> Float64[np.ndarray, "V 3"]:
    """Linear blend skinning. The node that carries the mesh plays no part: joints place it.

    Blended is in float32, which is twice as fast, about the place where most joints put the mesh's origin:
    weights sum to 1, so that what all joints have in common can be added afterwards.
    """
    assert block.joints is not None
    assert block.joint_weights is not None
    world_from_mesh = world_from_node[skin.joints] @ skin.joint_from_mesh
    place = np.median(world_from_mesh[:, :3, 3], axis=0)
    world_from_mesh[:, :3, 3] -= place
    rows = world_from_mesh[:, :3].reshape(-1, 12).astype(np.float32)
    blended = block.joint_weights[:, :1] * rows[block.joints[:, 0]]
    for influence in range(1, block.joints.shape[1]):
        blended += block.joint_weights[:, influence, None] * rows[block.joints[:, influence]]
    blended = blended.reshape(-1, 3, 4)
    return np.einsum("vij,vj->vi", blended[:, :, :3], positions) + blended[:, :, 3] + place


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
