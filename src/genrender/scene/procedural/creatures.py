"""Rigged creatures built from capsules: a skeleton, a tapered limb per bone, skin weights, walk cycles.

They fill the project's example scenes and the world that the pocket model learns from. All of them stand on
y = 0, face +Z and are about one unit tall or long; joints have identity rotations at rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from genrender.scene.procedural.primitives import MeshPart, capsule, merge, rotation_about

Point = tuple[float | int, float | int, float | int]


@dataclass(frozen=True)
class Bone:
    """One joint and the limb that it carries, in rest position."""

    name: str
    parent: str | None
    start: Point
    end: Point
    start_radius: float
    end_radius: float


@dataclass(frozen=True)
class Creature:
    """A skinned mesh. Two joints influence a vertex: its own bone, and near the joint the parent's.

    Attributes:
        mesh: rest pose.
        bones: parents come before their children.
        joint_ids: the two joints of each vertex, as indices into `bones`.
        weights: their weights; rows sum to 1.
    """

    mesh: MeshPart
    bones: tuple[Bone, ...]
    joint_ids: Int[np.ndarray, "V 2"]
    weights: Float64[np.ndarray, "V 2"]

    def parent_index(self, joint: int) -> int:
        """Index of a joint's parent, -1 for the root."""
        parent = self.bones[joint].parent
        return -1 if parent is None else next(i for i, bone in enumerate(self.bones) if bone.name == parent)

    def pose(self, rotations: Mapping[str, Float[np.ndarray, "3 3"]]) -> Float64[np.ndarray, "V 3"]:
        """Vertices with the named joints rotated about their start points (linear blend skinning)."""
        transforms = np.zeros((len(self.bones), 3, 4))
        for joint, bone in enumerate(self.bones):
            start = np.asarray(bone.start)
            local = np.eye(4)
            local[:3, :3] = rotations.get(bone.name, np.eye(3))
            local[:3, 3] = start - local[:3, :3] @ start
            parent = self.parent_index(joint)
            if parent >= 0:
                above = np.vstack([transforms[parent], [0, 0, 0, 1]])
                local = above @ local
            transforms[joint] = local[:3]
        rest = np.concatenate([self.mesh.verts, np.ones((len(self.mesh.verts), 1))], axis=1)
        moved = np.einsum("vkab,vb->vka", transforms[self.joint_ids], rest)
        return np.einsum("vk,vka->va", self.weights, moved)


def build(bones: Sequence[Bone], segments: int = 14) -> Creature:
    """Skin a skeleton: a capsule per bone, weights blended into the parent within a radius of the joint."""
    index = {bone.name: i for i, bone in enumerate(bones)}
    parts, joint_ids, weights = [], [], []
    for joint, bone in enumerate(bones):
        part = capsule(bone.start, bone.end, bone.start_radius, bone.end_radius, segments)
        axis = np.asarray(bone.end) - np.asarray(bone.start)
        length = np.linalg.norm(axis)
        along = (part.verts - np.asarray(bone.start)) @ axis / length
        own = np.clip(0.5 + along / (2 * bone.start_radius), 0.0, 1.0)
        parent = joint if bone.parent is None else index[bone.parent]
        parts.append(part)
        joint_ids.append(np.tile([joint, parent], (len(part.verts), 1)))
        weights.append(np.stack([own, 1 - own], 1))
    return Creature(merge(parts), tuple(bones), np.concatenate(joint_ids), np.concatenate(weights))


def _point(values: Float[np.ndarray, "3"]) -> Point:
    x, y, z = values.tolist()
    return x, y, z


def _mirrored(bones: Sequence[Bone]) -> list[Bone]:
    """Each bone twice: `left_` at +X as given, `right_` at -X. Parents without a side stay shared."""
    sided = {bone.name for bone in bones}
    result = []
    for side, sign in (("left_", 1.0), ("right_", -1.0)):
        for bone in bones:
            flip = np.array([sign, 1.0, 1.0])
            parent = side + bone.parent if bone.parent in sided else bone.parent
            start, end = (_point(np.asarray(p) * flip) for p in (bone.start, bone.end))
            result.append(Bone(side + bone.name, parent, start, end, bone.start_radius, bone.end_radius))
    return result


def biped(leg: float = 0.5, girth: float = 1.0, head: float = 0.13) -> Creature:
    """Two legs, two arms, one head. `leg`: hip height; `girth`: limb thickness factor; `head`: radius."""
    shoulder = leg + 0.32
    limb = 0.055 * girth
    spine = [
        Bone("hips", None, (0, leg, 0), (0, leg + 0.1, 0), 0.11 * girth, 0.115 * girth),
        Bone("chest", "hips", (0, leg + 0.12, 0), (0, shoulder - 0.02, 0), 0.115 * girth, 0.125 * girth),
        Bone(
            "head", "chest", (0, shoulder + 0.07 + head * 0.6, 0), (0, shoulder + 0.11 + head, 0), head, head
        ),
    ]
    arm_x = 0.13 * girth + 0.03
    limbs = [
        Bone(
            "upper_arm", "chest", (arm_x, shoulder, 0), (arm_x + 0.09, shoulder - 0.19, 0), limb, limb * 0.85
        ),
        Bone(
            "lower_arm",
            "upper_arm",
            (arm_x + 0.09, shoulder - 0.19, 0),
            (arm_x + 0.12, shoulder - 0.38, 0.03),
            limb * 0.85,
            limb * 0.8,
        ),
        Bone("upper_leg", "hips", (0.075, leg, 0), (0.085, leg * 0.52, 0.01), limb * 1.4, limb * 1.1),
        Bone("lower_leg", "upper_leg", (0.085, leg * 0.52, 0.01), (0.085, 0.06, 0), limb * 1.1, limb * 0.9),
        Bone("foot", "lower_leg", (0.085, 0.045, -0.01), (0.09, 0.045, 0.11), 0.05 * girth, 0.04 * girth),
    ]
    return build([*spine, *_mirrored(limbs)])


def quadruped(
    leg: float = 0.38,
    neck: float = 0.2,
    tail: float = 0.3,
    ear: float = 0.09,
    snout: float = 0.12,
    girth: float = 1.0,
) -> Creature:
    """Four legs, a neck, a head with snout and ears, a tail; lengths in units of a body about 0.6 long."""
    limb, top = 0.045 * girth, leg + 0.02
    head = np.array([0.0, top + 0.08 + neck * 0.8, 0.33 + neck * 0.45])
    h = _point(head)
    spine = [
        Bone("hips", None, (0, top, -0.24), (0, top + 0.01, 0.0), 0.12 * girth, 0.12 * girth),
        Bone("chest", "hips", (0, top + 0.01, 0.0), (0, top + 0.02, 0.22), 0.12 * girth, 0.135 * girth),
        Bone("neck", "chest", (0, top + 0.06, 0.26), h, 0.09 * girth, 0.07),
        Bone("head", "neck", h, (0, h[1] - 0.01, h[2] + 0.07), 0.095, 0.08),
        Bone(
            "snout", "head", (0, h[1] - 0.03, h[2] + 0.1), (0, h[1] - 0.05, h[2] + 0.1 + snout), 0.055, 0.03
        ),
        Bone("tail", "hips", (0, top + 0.05, -0.33), (0, top + 0.1, -0.33 - tail * 0.5), 0.05, 0.06),
        Bone(
            "tail_tip", "tail", (0, top + 0.1, -0.33 - tail * 0.5), (0, top + 0.1, -0.33 - tail), 0.06, 0.015
        ),
    ]
    limbs = [
        Bone("ear", "head", (0.055, h[1] + 0.05, h[2]), (0.075, h[1] + 0.07 + ear, h[2] - 0.01), 0.04, 0.012),
        Bone("front_leg", "chest", (0.075, top, 0.2), (0.08, leg * 0.5, 0.21), limb * 1.3, limb),
        Bone("front_shin", "front_leg", (0.08, leg * 0.5, 0.21), (0.08, 0.045, 0.2), limb, limb * 0.9),
        Bone("hind_leg", "hips", (0.075, top, -0.24), (0.08, leg * 0.5, -0.22), limb * 1.5, limb),
        Bone("hind_shin", "hind_leg", (0.08, leg * 0.5, -0.22), (0.08, 0.045, -0.24), limb, limb * 0.9),
    ]
    return build([*spine, *_mirrored(limbs)])


def bird(leg: float = 0.28, wing: float = 0.34, neck: float = 0.14) -> Creature:
    """Two thin legs, two wings, a beak and a tail."""
    body_y = leg + 0.14
    head_y = body_y + 0.14 + neck
    spine = [
        Bone("hips", None, (0, body_y, -0.14), (0, body_y + 0.05, 0.12), 0.13, 0.15),
        Bone("head", "hips", (0, body_y + 0.12, 0.18), (0, head_y, 0.24), 0.07, 0.095),
        Bone("beak", "head", (0, head_y - 0.01, 0.32), (0, head_y - 0.03, 0.45), 0.035, 0.01),
        Bone("tail", "hips", (0, body_y + 0.02, -0.24), (0, body_y + 0.08, -0.45), 0.06, 0.08),
    ]
    limbs = [
        Bone(
            "wing", "hips", (0.12, body_y + 0.08, 0.06), (0.12 + wing * 0.5, body_y + 0.04, -0.02), 0.07, 0.06
        ),
        Bone(
            "wing_tip",
            "wing",
            (0.12 + wing * 0.5, body_y + 0.04, -0.02),
            (0.12 + wing, body_y, -0.12),
            0.06,
            0.02,
        ),
        Bone("leg", "hips", (0.07, body_y - 0.06, 0), (0.07, 0.04, 0.02), 0.03, 0.022),
        Bone("foot", "leg", (0.07, 0.025, 0.02), (0.08, 0.025, 0.12), 0.025, 0.02),
    ]
    return build([*spine, *_mirrored(limbs)])


def spider(leg: float = 0.34) -> Creature:
    """A round body and eight legs of two segments."""
    bones = [
        Bone("hips", None, (0, 0.26, -0.2), (0, 0.27, -0.1), 0.16, 0.15),
        Bone("head", "hips", (0, 0.24, 0.06), (0, 0.24, 0.12), 0.11, 0.1),
    ]
    limbs = []
    for i, angle in enumerate(np.deg2rad([-55, -18, 18, 55])):
        out = np.array([np.cos(angle), 0.0, np.sin(angle)])
        start = np.array([0.0, 0.25, 0.02]) + out * 0.1
        knee, toe = start + out * leg * 0.55 + [0, 0.16, 0], start + out * leg * 1.25 + [0, -0.22, 0]
        s, k, t = (_point(p) for p in (start, knee, toe))
        limbs += [
            Bone(f"leg{i}", "hips", s, k, 0.035, 0.028),
            Bone(f"shin{i}", f"leg{i}", k, t, 0.028, 0.018),
        ]
    return build([*bones, *_mirrored(limbs)])


def fish(length: float = 0.9, height: float = 0.2) -> Creature:
    """A swimming body, a tail fin of two lobes and two side fins, floating above the ground."""
    y, half = 0.35, length / 2
    bones = [
        Bone("hips", None, (0, y, 0.0), (0, y, half * 0.5), height, height * 0.7),
        Bone("tail", "hips", (0, y, -0.02), (0, y, -half * 0.7), height * 0.95, 0.05),
        Bone("fin_up", "tail", (0, y + 0.02, -half * 0.75), (0, y + 0.17, -half * 1.1), 0.04, 0.03),
        Bone("fin_down", "tail", (0, y - 0.02, -half * 0.75), (0, y - 0.17, -half * 1.1), 0.04, 0.03),
        Bone("back", "hips", (0, y + height * 0.85, 0.05), (0, y + height * 1.3, -0.12), 0.05, 0.03),
    ]
    side = [
        Bone("fin", "hips", (height * 0.8, y - 0.04, 0.12), (height * 0.8 + 0.16, y - 0.12, 0.0), 0.04, 0.025)
    ]
    return build([*bones, *_mirrored(side)])


def snake(length: float = 1.3) -> Creature:
    """A chain of segments on the ground with a thicker head."""
    joints = 7
    step = length / joints
    bones = []
    for i in range(joints):
        z = length / 2 - i * step
        radius = 0.08 * (1 - 0.6 * i / joints) + (0.025 if i == 0 else 0.0)
        parent = f"seg{i - 1}" if i else None
        bones.append(
            Bone(f"seg{i}", parent, (0, 0.1, z), (0, 0.1, z - step), radius, max(radius - 0.012, 0.02))
        )
    return build(bones)


def walk_cycle(
    creature: Creature, phase: float, stride: float = 1.0
) -> dict[str, Float64[np.ndarray, "3 3"]]:
    """Joint rotations of a walk at `phase` in [0, 1): diagonal limbs swing together, knees bend forward.

    Works on every creature of this module; joints that a creature does not have are simply not rotated.
    """
    names = {bone.name for bone in creature.bones}
    swing = np.sin(2 * np.pi * phase) * stride
    x_axis, y_axis = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    turn = {"hips": rotation_about(y_axis, 0.08 * swing), "tail": rotation_about(y_axis, 0.4 * swing)}
    for side, sign in (("left_", 1.0), ("right_", -1.0)):
        bend = max(0.0, np.cos(2 * np.pi * phase) * sign) * stride
        bend_back = max(0.0, -np.cos(2 * np.pi * phase) * sign) * stride
        turn |= {
            side + "upper_leg": rotation_about(x_axis, -0.55 * swing * sign),
            side + "lower_leg": rotation_about(x_axis, 0.15 + 0.8 * bend),
            side + "upper_arm": rotation_about(x_axis, 0.5 * swing * sign),
            side + "lower_arm": rotation_about(x_axis, -0.35 - 0.25 * abs(swing)),
            side + "front_leg": rotation_about(x_axis, -0.5 * swing * sign),
            side + "front_shin": rotation_about(x_axis, 0.7 * bend),
            side + "hind_leg": rotation_about(x_axis, 0.5 * swing * sign),
            side + "hind_shin": rotation_about(x_axis, 0.6 * bend_back),
            side + "leg": rotation_about(x_axis, -0.5 * swing * sign),
            side + "wing": rotation_about((0, 0, 1), sign * (0.25 + 0.5 * swing)),
            side + "fin": rotation_about((0, 0, 1), sign * 0.4 * swing),
        }
        for i in range(4):
            step = np.sin(2 * np.pi * (phase + 0.5 * (i % 2))) * stride
            turn[f"{side}leg{i}"] = rotation_about(y_axis, 0.3 * step * sign)
    for i in range(1, 16):
        turn[f"seg{i}"] = rotation_about(y_axis, 0.45 * stride * np.sin(2 * np.pi * (phase - i / 5)))
    return {name: rotation for name, rotation in turn.items() if name in names}
