"""Makes the example scenes: a biped that walks and dances, two that walk, a quadruped, and a still life.

    python examples/make_scenes.py [FOLDER]

Writes walking_biped.glb, walking_pair.glb, trotting_quadruped.glb and still_life.glb into FOLDER (default:
examples/scenes). The files are the same, byte by byte, whenever they are made.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genrender.scene.camera import Camera
from genrender.scene.formats.gltf.write import (
    CameraNode,
    CreatureNode,
    GltfScene,
    MeshNode,
    NodeKeys,
    creature_keys,
    write_glb,
)
from genrender.scene.procedural.creatures import Creature, biped, quadruped
from genrender.scene.procedural.primitives import (
    MeshPart,
    box,
    lathe,
    merge,
    pyramid,
    rotation_about,
    sphere,
    torus,
)

FPS = 24
X, Y, Z = np.eye(3).tolist()
SIDES = (("left_", 1.0, 0.0), ("right_", -1.0, 0.5))  # name, sign of x, share of the cycle it lags behind

Pose = dict[str, np.ndarray]

# Share of a cycle in which a foot stands.
WALK_STANCE, TROT_STANCE = 0.6, 0.5


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SCENES.items():
        path = folder / f"{name}.glb"
        write_glb(path, make())
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def walking_biped() -> GltfScene:
    """Walk: one double step on the spot, 1 s. Dance: four beats, 2 s. Both loop."""
    node = CreatureNode("biped", biped(), color=(0.75, 0.2, 0.15))
    animations = {
        "Walk": on_the_ground(node, walk, 1.0),
        "Dance": on_the_ground(node, dance, 2.0),
    }
    return GltfScene([node], animations=animations)


def walking_pair() -> GltfScene:
    """Walk: a tall and a stout biped side by side, out of step, 1 s."""
    tall = CreatureNode("tall", biped(leg=0.55), color=(0.75, 0.2, 0.15))
    stout = CreatureNode("stout", biped(leg=0.4, girth=1.5, head=0.16), color=(0.2, 0.35, 0.7))
    keys = on_the_ground(tall, walk, 1.0, -0.42)
    keys |= on_the_ground(stout, lambda creature, phase: walk(creature, (phase + 0.4) % 1), 1.0, 0.42)
    return GltfScene([tall, stout], animations={"Walk": keys})


def trotting_quadruped() -> GltfScene:
    """Trot: diagonal legs together, on the spot, 16 frames."""
    node = CreatureNode("quadruped", quadruped(), color=(0.8, 0.45, 0.15))
    return GltfScene([node], animations={"Trot": on_the_ground(node, trot, 16 / FPS)})


def still_life() -> GltfScene:
    """Five things on a table, and a camera called Dolly that glides past them in 2 s."""
    top = 0.55
    cube = box((0.22, 0.22, 0.22)).turned(rotation_about(Y, 0.5))
    tent = pyramid(0.24, 0.26).turned(rotation_about(Y, 0.9))
    objects = [
        MeshNode("table", table(top), (0.35, 0.2, 0.1)),
        MeshNode("vase", vase(), (0.1, 0.25, 0.6), (-0.2, top, -0.16)),
        MeshNode("cube", cube, (0.3, 0.5, 0.3), (0.21, top + 0.11, -0.17)),
        MeshNode("pyramid", tent, (0.7, 0.6, 0.2), (0.33, top, 0.13)),
        MeshNode("ball", sphere(0.085, 28), (0.75, 0.1, 0.1), (-0.33, top + 0.085, 0.17)),
        MeshNode("donut", torus(0.12, 0.052, 36), (0.8, 0.4, 0.6), (0.02, top + 0.052, 0.19)),
    ]
    times_s = np.arange(2 * FPS + 1) / FPS
    path = [dolly(time_s / times_s[-1]) for time_s in times_s]
    poses = np.stack([camera.world_from_camera for camera in path])
    animations = {"Dolly": {"Dolly": NodeKeys(times_s, poses[:, :3, :3], poses[:, :3, 3])}}
    return GltfScene(objects, [CameraNode("Dolly", path[0])], animations)


SCENES: dict[str, Callable[[], GltfScene]] = {
    "walking_biped": walking_biped,
    "walking_pair": walking_pair,
    "trotting_quadruped": trotting_quadruped,
    "still_life": still_life,
}


def on_the_ground(
    node: CreatureNode,
    pose_at: Callable[[Creature, float], tuple[Pose, np.ndarray]],
    duration_s: float,
    aside: float = 0.0,
) -> dict:
    """Keys of a motion, 24 a second, the creature lifted or lowered so that its lowest point touches y = 0.

    Args:
        pose_at: creature and phase in [0, 1] to joint rotations, and to how far the body is shifted sideways.
        aside: where it stands on the x axis.
    """
    times_s = np.arange(round(duration_s * FPS) + 1) / FPS
    poses, offsets = zip(*(pose_at(node.creature, time_s / times_s[-1]) for time_s in times_s), strict=True)
    lowest = [node.creature.pose(pose)[:, 1].min() for pose in poses]
    return creature_keys(node, times_s, poses, np.array(offsets) + aside * np.array(X) - np.outer(lowest, Y))


def hermite(share: float, start: float, end: float, start_slope: float, end_slope: float) -> float:
    """The cubic over [0, 1] with the given values and slopes at its ends."""
    a = 2 * (start - end) + start_slope + end_slope
    return start + share * (start_slope + share * (end - start - start_slope - a + share * a))


def reach(leg: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """How far a leg's two joints turn about X so that its end comes to a point: law of cosines.

    Args:
        leg: hip, knee and end at rest, one per row.
        target: wanted place of the end, seen from the hip; only its y and z count.

    Returns:
        Angle of the thigh (forward is positive) and of the knee (bending is positive), from the rest pose.
    """
    (upper_y, upper_z), (lower_y, lower_z) = np.diff(leg, axis=0)[:, 1:]
    a, b = np.hypot(upper_y, upper_z), np.hypot(lower_y, lower_z)
    _, y, z = target
    distance = min(np.hypot(y, z), 0.9995 * (a + b))
    bend = np.arccos((distance**2 - a**2 - b**2) / (2 * a * b))
    thigh = np.arctan2(z, -y) + np.arctan2(b * np.sin(bend), a + b * np.cos(bend))
    thigh_at_rest, shin_at_rest = np.arctan2(upper_z, -upper_y), np.arctan2(lower_z, -lower_y)
    return float(thigh - thigh_at_rest), float(bend - (thigh_at_rest - shin_at_rest))


def about(*turns: tuple[Sequence[float], float]) -> np.ndarray:
    """Several rotations, each an axis and an angle in radians, the first one outermost."""
    result = np.eye(3)
    for axis, angle in turns:
        result = result @ rotation_about(axis, angle)
    return result


def walking_foot(phase: float) -> tuple[float, float, float]:
    """Height and place of a walker's ankle, and how far its toes point down, a cycle from heel to heel.

    While it stands, the ground carries it back evenly: flat at first, then rolling over the toes.
    """
    speed, front, foot, toe_radius, heel_radius = 0.6, 0.14, 0.12, 0.04, 0.05
    at_heel, at_toe = -0.26, 0.85  # tilt when the heel comes down and when the toes leave
    tilt_speed = at_toe / 0.25
    standing = min(phase, WALK_STANCE)
    roll = max(0.0, standing - 0.35) / 0.25
    tilt = at_heel * max(0.0, 1 - standing / 0.08) + at_toe * roll * roll * (2 - roll)
    up = max(heel_radius, toe_radius + foot * np.sin(tilt))
    along = front - speed * standing + foot * (1 - np.cos(max(tilt, 0.0)))
    if phase > WALK_STANCE:
        share, span = (phase - WALK_STANCE) / (1 - WALK_STANCE), 1 - WALK_STANCE
        along = hermite(share, along, front, (tilt_speed * foot * np.sin(tilt) - speed) * span, -speed * span)
        up = hermite(share, up, heel_radius, tilt_speed * foot * np.cos(tilt) * span, -0.2 * span)
        up += 0.022 * np.sin(np.pi * share) ** 2  # clear of the ground
        tilt = hermite(share, tilt, at_heel, tilt_speed * span, 0.0)
    return up, along, tilt


def walk(creature: Creature, phase: float) -> tuple[Pose, np.ndarray]:
    """At phase 0 the left heel touches the ground, at 0.5 the right one."""
    forward, over = np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)
    # The hips follow the leading leg and drop over the swinging one; the chest turns against them and the
    # head looks ahead.
    hips = about((Y, -0.14 * forward), (Z, 0.05 * over))
    pose = {
        "hips": hips,
        "chest": about((Y, 0.32 * forward), (Z, -0.07 * over), (X, 0.05)),
        "head": about((Y, -0.18 * forward), (X, -0.02)),
    }
    starts = {bone.name: np.array(bone.start) for bone in creature.bones}
    hip_height = 0.488 - 0.012 * np.cos(4 * np.pi * phase)  # highest over the standing leg
    for side, sign, lag in SIDES:
        step = (phase + lag) % 1
        up, along, tilt = walking_foot(step)
        leg = np.array([starts[side + bone] for bone in ("upper_leg", "lower_leg", "foot")])
        hip = hips @ (leg[0] - starts["hips"])
        thigh, knee = reach(leg, np.array([0, up - hip_height, along]) - hip)
        # The hips' own turn is undone first, so that the leg swings straight ahead.
        pose[side + "upper_leg"] = hips.T @ about((X, -thigh))
        pose[side + "lower_leg"] = about((X, knee))
        pose[side + "foot"] = about((X, thigh - knee + tilt))
        swing = -np.cos(2 * np.pi * (step - 0.02))  # arms go against the legs
        pose[side + "upper_arm"] = about((X, -0.05 - 0.42 * swing), (Z, 0.06 * sign))
        pose[side + "lower_arm"] = about((X, -0.32 - 0.17 * swing))
    return pose, np.array([0.018 * over, 0.0, 0.0])


def dance(_: Creature, phase: float) -> tuple[Pose, np.ndarray]:
    """Two beats to each side: the knees give on every beat, the arms are up and swing along."""
    side_sway, beat = np.sin(2 * np.pi * phase), 0.5 - 0.5 * np.cos(8 * np.pi * phase)
    roll = 0.16 * side_sway
    pose = {
        "hips": about((Y, 0.25 * side_sway), (Z, roll)),
        "chest": about((Y, 0.2 * side_sway), (Z, -2.2 * roll), (X, 0.12 * beat)),
        "head": about((Z, 0.9 * roll), (X, 0.2 * beat - 0.08)),
    }
    for side, sign, lag in SIDES:
        bend = 0.12 + 0.38 * beat + 0.25 * max(0.0, -sign * side_sway)
        pose[side + "upper_leg"] = about((Z, -roll + 0.12 * sign), (X, -bend))
        pose[side + "lower_leg"] = about((X, 2 * bend))
        pose[side + "foot"] = about((X, -bend), (Z, -0.12 * sign))
        raised = 1.9 + 0.4 * np.sin(2 * np.pi * (2 * phase + lag))
        pose[side + "upper_arm"] = about((Z, sign * raised - 0.25 * side_sway), (Y, 0.3 * sign))
        pose[side + "lower_arm"] = about((Z, sign * (0.3 + 0.3 * beat)))
    return pose, np.array([-0.05 * side_sway, 0.0, 0.0])


def trotting_foot(phase: float) -> tuple[float, float]:
    """Height of a trotter's foot, and its place from below the hip: half the cycle it stands."""
    front, speed = 0.12, 0.24 / TROT_STANCE
    if phase < TROT_STANCE:
        return 0.0, front - speed * phase
    share = (phase - TROT_STANCE) / (1 - TROT_STANCE)
    slope = -speed * (1 - TROT_STANCE)
    return 0.09 * np.sin(np.pi * share) ** 2, hermite(share, -front, front, slope, slope)


def trot(creature: Creature, phase: float) -> tuple[Pose, np.ndarray]:
    """At phase 0 the left fore and the right hind foot touch the ground."""
    forward, twice = np.cos(2 * np.pi * phase), np.cos(4 * np.pi * phase - 0.9)
    pose = {
        "neck": about((X, 0.06 * twice), (Y, -0.05 * forward)),
        "head": about((X, -0.08 * twice), (Y, 0.05 * forward)),
        "tail": about((Y, 0.3 * np.sin(2 * np.pi * phase)), (X, 0.12 * twice - 0.15)),
        "tail_tip": about((Y, 0.35 * np.sin(2 * np.pi * phase - 0.8)), (X, 0.15 * twice)),
    }
    bones = {bone.name: bone for bone in creature.bones}
    lowered = 0.034 - 0.01 * np.cos(4 * np.pi * phase)  # the body gives while the legs carry it
    for side, sign, lag in SIDES:
        for leg, step in (("front", phase + lag), ("hind", phase + 0.5 + lag)):
            upper, lower = bones[f"{side}{leg}_leg"], bones[f"{side}{leg}_shin"]
            at_rest = np.array([upper.start, lower.start, lower.end])
            up, along = trotting_foot(step % 1)
            thigh, knee = reach(at_rest, at_rest[2] - at_rest[0] + np.array([0, up + lowered, along]))
            pose[upper.name] = about((X, -thigh))
            pose[lower.name] = about((X, knee))
        pose[side + "ear"] = about((X, 0.15 * twice), (Z, 0.05 * sign * twice))
    return pose, np.zeros(3)


def dolly(share: float) -> Camera:
    """The still life's camera at a share of its way: past the table and nearer, with a gentle start."""
    eased = share * share * (3 - 2 * share)
    azimuth, elevation = np.deg2rad(-38 + 72 * eased), np.deg2rad(31 - 9 * eased)
    distance = 2.0 - 0.28 * eased
    back = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    target = np.array([0.0, 0.6, 0.0])
    return Camera.look_at(target + distance * np.array(back), target, yfov_deg=38)


def table(height: float) -> MeshPart:
    """A round table on one foot, its top at `height`."""
    edge, thick = 0.57, 0.045
    top = [(0, height), (edge - 0.015, height), (edge, height - 0.012), (edge, height - thick + 0.012)]
    top += [(edge - 0.015, height - thick), (0, height - thick)]
    foot = [
        (0.05, height - thick),
        (0.042, 0.35),
        (0.05, 0.17),
        (0.1, 0.045),
        (0.24, 0.02),
        (0.24, 0),
        (0, 0),
    ]
    return merge([lathe(rounded(top, 24, 0), 40), lathe(rounded(foot, 24, 2), 40)])


def vase() -> MeshPart:
    """A hollow vase 0.5 high."""
    inside = [(0, 0.03), (0.09, 0.035), (0.13, 0.2), (0.05, 0.38), (0.052, 0.42), (0.082, 0.49)]
    outside = [(0.094, 0.492), (0.064, 0.42), (0.062, 0.38), (0.155, 0.2), (0.105, 0.02), (0.1, 0), (0, 0)]
    return lathe(rounded(inside + outside, 44, 2), 36)


def rounded(profile: Sequence[tuple[float, float]], n_rows: int, rounds: int) -> list[tuple[float, float]]:
    """A profile with its corners cut `rounds` times, resampled so that UVs grow evenly along it."""
    points = np.array(profile, np.float64)
    for _ in range(rounds):
        before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    even = np.linspace(0, along[-1], n_rows)
    return list(zip(*(np.interp(even, along, axis) for axis in points.T), strict=True))


if __name__ == "__main__":
    main()
