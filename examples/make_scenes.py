"""Makes the example scenes: a biped that walks and dances, a quadruped that trots, and a still life.

    python examples/make_scenes.py [FOLDER]

Writes walking_biped.glb, trotting_quadruped.glb and still_life.glb into FOLDER (default: examples/scenes).
The files are the same, byte by byte, whenever they are made.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genrender.scene.camera import Camera
from genrender.scene.creatures import biped, quadruped
from genrender.scene.primitives import MeshPart, box, lathe, merge, pyramid, rotation_about, sphere, torus
from genrender.scene.write_gltf import (
    CameraNode,
    CreatureNode,
    GltfScene,
    MeshNode,
    NodeKeys,
    creature_keys,
    write_glb,
)

FPS = 24
X, Y, Z = np.eye(3).tolist()
SIDES = (("left_", 1.0, 0.0), ("right_", -1.0, 0.5))  # name, sign of x, share of the cycle it lags behind

Pose = dict[str, np.ndarray]

# A leg's joint angles in degrees, at eight moments of one step: the heel touches the ground at the first, the
# toes leave it at about the sixth. Thigh: forward is positive. Knee: how far it is bent. Foot: toes up.
WALK_THIGH = (27, 21, 8, -8, -18, -10, 13, 27)
WALK_KNEE = (5, 15, 8, 5, 17, 44, 62, 28)
WALK_FOOT = (14, 0, 0, -5, -28, -50, -24, 8)
TROT_LEG = (26, 14, 0, -14, -26, -20, 4, 25)
TROT_SHIN = (2, 0, 0, 4, 24, 66, 62, 20)


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
    "trotting_quadruped": trotting_quadruped,
    "still_life": still_life,
}


def on_the_ground(
    node: CreatureNode, pose_at: Callable[[float], tuple[Pose, np.ndarray]], duration_s: float
) -> dict:
    """Keys of a motion, 24 a second, the creature lifted or lowered so that its lowest point touches y = 0.

    That alone gives a walk its rise and fall: the body is highest over the straight leg.

    Args:
        pose_at: phase in [0, 1] to joint rotations, and to how far the body is shifted sideways.
    """
    times_s = np.arange(round(duration_s * FPS) + 1) / FPS
    poses, offsets = zip(*(pose_at(time_s / times_s[-1]) for time_s in times_s), strict=True)
    lowest = [node.creature.pose(pose)[:, 1].min() for pose in poses]
    return creature_keys(node, times_s, poses, np.array(offsets) - np.outer(lowest, Y))


def curve(samples_deg: Sequence[float], phase: float) -> float:
    """A smooth periodic curve in radians through samples that are spread evenly over the period."""
    n = len(samples_deg)
    waves = np.fft.rfft(np.deg2rad(samples_deg)) / n
    weights = np.r_[1, np.full(len(waves) - 2, 2), 1 if n % 2 == 0 else 2]
    return float((weights * waves * np.exp(2j * np.pi * phase * np.arange(len(waves)))).real.sum())


def about(*turns: tuple[Sequence[float], float]) -> np.ndarray:
    """Several rotations, each an axis and an angle in radians, the first one outermost."""
    result = np.eye(3)
    for axis, angle in turns:
        result = result @ rotation_about(axis, angle)
    return result


def walk(phase: float) -> tuple[Pose, np.ndarray]:
    """At phase 0 the left heel touches the ground, at 0.5 the right one."""
    forward, over = np.cos(2 * np.pi * phase), np.sin(2 * np.pi * phase)
    # The hips follow the leading leg and drop over the swinging one; the chest turns against them and the
    # head looks ahead.
    hips_turn, chest_turn = -0.12 * forward, 0.3 * forward
    pose = {
        "hips": about((Y, hips_turn), (Z, 0.05 * over)),
        "chest": about((Y, chest_turn), (Z, -0.07 * over), (X, 0.06)),
        "head": about((Y, -hips_turn - chest_turn), (X, -0.03)),
    }
    for side, sign, lag in SIDES:
        step = phase + lag
        thigh, knee, foot = (curve(samples, step) for samples in (WALK_THIGH, WALK_KNEE, WALK_FOOT))
        pose[side + "upper_leg"] = about((Z, -0.05 * over), (X, -thigh))
        pose[side + "lower_leg"] = about((X, knee))
        pose[side + "foot"] = about((X, thigh - knee - foot))
        swing = -np.cos(2 * np.pi * (step - 0.02))  # arms go against the legs
        pose[side + "upper_arm"] = about((X, -0.05 - 0.42 * swing), (Z, 0.06 * sign))
        pose[side + "lower_arm"] = about((X, -0.32 - 0.17 * swing))
    return pose, np.array([0.018 * over, 0.0, 0.0])


def dance(phase: float) -> tuple[Pose, np.ndarray]:
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


def trot(phase: float) -> tuple[Pose, np.ndarray]:
    """At phase 0 the left fore and the right hind foot touch the ground."""
    forward, twice = np.cos(2 * np.pi * phase), np.cos(4 * np.pi * phase - 0.9)
    pose = {
        "hips": about((Y, -0.07 * forward), (X, 0.02 * twice)),
        "chest": about((Y, 0.1 * forward), (X, -0.03 * twice)),
        "neck": about((X, 0.05 * twice), (Y, -0.04 * forward)),
        "head": about((X, -0.07 * twice)),
        "tail": about((Y, 0.3 * np.sin(2 * np.pi * phase)), (X, 0.12 * twice - 0.15)),
        "tail_tip": about((Y, 0.35 * np.sin(2 * np.pi * phase - 0.8)), (X, 0.15 * twice)),
    }
    for side, sign, lag in SIDES:
        for leg, step in (("front", phase + lag), ("hind", phase + 0.5 + lag)):
            pose[f"{side}{leg}_leg"] = about((X, -curve(TROT_LEG, step)))
            pose[f"{side}{leg}_shin"] = about((X, curve(TROT_SHIN, step)))
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
