"""The objects of the pocket model's world: a class name and a random generator in, a posed mesh out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from genrender.scene.procedural import creatures
from genrender.scene.procedural.primitives import (
    MeshPart,
    box,
    capsule,
    lathe,
    merge,
    pyramid,
    rotation_about,
    rotation_from_y,
    sphere,
    torus,
)

_Y = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Prop:
    """A mesh in rest position, where surface patterns are defined, and posed, where it is seen."""

    rest: Float64[np.ndarray, "V 3"]
    posed: Float64[np.ndarray, "V 3"]
    tris: Int[np.ndarray, "T 3"]


def _biped(rng: np.random.Generator) -> creatures.Creature:
    return creatures.biped(rng.uniform(0.38, 0.6), rng.uniform(0.85, 1.7), rng.uniform(0.1, 0.19))


def _quadruped(
    leg: tuple[float, float], neck: tuple[float, float], tail: tuple[float, float], ear: tuple[float, float]
) -> Callable[[np.random.Generator], creatures.Creature]:
    def make(rng: np.random.Generator) -> creatures.Creature:
        return creatures.quadruped(
            rng.uniform(*leg), rng.uniform(*neck), rng.uniform(*tail), rng.uniform(*ear),
            rng.uniform(0.06, 0.18), rng.uniform(0.8, 1.4),
        )  # fmt: skip

    return make


def _with_details(rng: np.random.Generator, creature: creatures.Creature) -> creatures.Creature:
    """The creature with eyes and a nose, or with plates and bands that stand out from its limbs."""
    parts, joints = [creature.mesh], [creature.joint_ids]
    weights = [creature.weights]

    def attach(part: MeshPart, joint: int) -> None:
        parts.append(part)
        joints.append(np.tile([joint, joint], (len(part.verts), 1)))
        weights.append(np.tile([1.0, 0.0], (len(part.verts), 1)))

    has_bands = rng.random() < 0.5
    for joint, bone in enumerate(creature.bones):
        start, end = np.asarray(bone.start, np.float64), np.asarray(bone.end, np.float64)
        radius = max(bone.start_radius, bone.end_radius)
        if bone.name == "head" and rng.random() < 0.7:
            for side in (-1, 1):
                eye = sphere(0.28 * radius, 10).moved((side * 0.4 * radius, 0.35 * radius, 0.82 * radius))
                attach(eye.moved(end), joint)
            if rng.random() < 0.6:
                nose = sphere(rng.uniform(0.2, 0.35) * radius, 10).moved((0, -0.1 * radius, 1.05 * radius))
                attach(nose.moved(end), joint)
        elif bone.name in ("chest", "hips") and rng.random() < 0.5:
            sizes = radius * rng.uniform([1.2, 0.9, 0.5], [2.0, 1.6, 1.0])
            depth = radius * rng.choice([-0.95, 0.95])
            is_upright = abs(end[1] - start[1]) > abs(end[2] - start[2])
            place = (0, 0, depth) if is_upright else (0, abs(depth), 0)
            attach(box(sizes if is_upright else sizes[[0, 2, 1]]).moved((start + end) / 2 + place), joint)
        elif has_bands and rng.random() < 0.6:
            wide, half = 1.3 * radius, 0.28 * float(np.linalg.norm(end - start))
            band = lathe([(0.8 * wide, half), (wide, half), (wide, -half), (0.8 * wide, -half)], 14)
            attach(band.turned(rotation_from_y(end - start)).moved((start + end) / 2), joint)
    return creatures.Creature(merge(parts), creature.bones, np.concatenate(joints), np.concatenate(weights))


CREATURES: dict[str, Callable[[np.random.Generator], creatures.Creature]] = {
    "biped": _biped,
    "quadruped": _quadruped((0.25, 0.6), (0.1, 0.4), (0.1, 0.5), (0.03, 0.14)),
    "fox": _quadruped((0.28, 0.38), (0.12, 0.22), (0.4, 0.6), (0.09, 0.14)),
    "dog": _quadruped((0.3, 0.42), (0.12, 0.24), (0.15, 0.3), (0.03, 0.08)),
    "horse": _quadruped((0.5, 0.65), (0.32, 0.45), (0.3, 0.45), (0.04, 0.07)),
    "cat": _quadruped((0.24, 0.32), (0.1, 0.16), (0.35, 0.5), (0.05, 0.08)),
    "bird": lambda rng: creatures.bird(
        rng.uniform(0.12, 0.4), rng.uniform(0.2, 0.45), rng.uniform(0.02, 0.35)
    ),
    "spider": lambda rng: creatures.spider(rng.uniform(0.25, 0.45)),
    "fish": lambda rng: creatures.fish(rng.uniform(0.7, 1.1), rng.uniform(0.14, 0.26)),
    "snake": lambda rng: creatures.snake(length=rng.uniform(0.9, 1.6)),
}


def _vase(rng: np.random.Generator) -> MeshPart:
    r = rng.uniform(0.1, 0.35, 4)
    heights = np.linspace(0.9, 0.0, 12)
    radii = np.interp(heights, [0, 0.3, 0.6, 0.9], [r[0], r[1] + 0.08, r[2], r[3]])
    return lathe([(0.0, 0.88), *zip(radii, heights, strict=True), (0.0, 0.0)])


def _tree(rng: np.random.Generator) -> MeshPart:
    h = rng.uniform(0.25, 0.5)
    trunk = lathe([(0.07, h), (0.09, 0), (0, 0)], 12)
    if rng.random() < 0.5:
        return merge([trunk, sphere(rng.uniform(0.25, 0.4)).moved((0, h + 0.22, 0))])
    tiers = [
        lathe([(0, 0.4), (0.36 - 0.08 * i, 0), (0, 0)]).moved((0, h - 0.05 + 0.22 * i, 0)) for i in range(3)
    ]
    return merge([trunk, *tiers])


def _table(rng: np.random.Generator) -> MeshPart:
    w, d, h = rng.uniform(0.7, 1.2), rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.7)
    legs = [
        box((0.08, h, 0.08)).moved((x * (w / 2 - 0.06), h / 2, z * (d / 2 - 0.06)))
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    return merge([box((w, 0.08, d)).moved((0, h, 0)), *legs])


def _chair(rng: np.random.Generator) -> MeshPart:
    h, back = rng.uniform(0.35, 0.5), rng.uniform(0.35, 0.6)
    legs = [box((0.07, h, 0.07)).moved((x * 0.2, h / 2, z * 0.2)) for x in (-1, 1) for z in (-1, 1)]
    return merge(
        [
            box((0.5, 0.08, 0.5)).moved((0, h, 0)),
            box((0.5, back, 0.07)).moved((0, h + back / 2, -0.22)),
            *legs,
        ]
    )


def _house(rng: np.random.Generator) -> MeshPart:
    w, d, h = rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.7)
    roof = pyramid(1.0, rng.uniform(0.3, 0.6)).scaled((w * 1.15, 1, d * 1.15)).moved((0, h, 0))
    return merge([box((w, h, d)).moved((0, h / 2, 0)), roof])


def _truck(rng: np.random.Generator) -> MeshPart:
    length, h = rng.uniform(0.9, 1.3), rng.uniform(0.25, 0.5)
    wheel = lathe([(0, 0.06), (0.13, 0.06), (0.13, -0.06), (0, -0.06)], 20).turned(
        rotation_about((0, 0, 1), np.pi / 2)
    )
    wheels = [wheel.moved((x * 0.24, 0.13, z * length * 0.32)) for x in (-1, 1) for z in (-1, 1)]
    cab = box((0.44, rng.uniform(0.2, 0.4), 0.3)).moved((0, 0.4, length * 0.33))
    cargo = box((0.5, h, length * 0.62)).moved((0, 0.22 + h / 2, -length * 0.16))
    return merge([box((0.46, 0.14, length)).moved((0, 0.22, 0)), cab, cargo, *wheels])


def _cup(rng: np.random.Generator) -> MeshPart:
    r, h = rng.uniform(0.2, 0.35), rng.uniform(0.4, 0.7)
    body = lathe([(0, 0.06), (r * 0.85, 0.08), (r * 0.92, h), (r, h), (r * 0.9, 0), (0, 0)])
    handle = torus(0.14, 0.035, 20).turned(rotation_about((1, 0, 0), np.pi / 2)).moved((r + 0.06, h * 0.5, 0))
    return merge([body, handle])


def _bottle(rng: np.random.Generator) -> MeshPart:
    r, h = rng.uniform(0.14, 0.26), rng.uniform(0.4, 0.65)
    return lathe([(0, h + 0.35), (0.07, h + 0.35), (0.07, h + 0.15), (r, h), (r, h * 0.5), (r, 0.0), (0, 0)])


def _bowl(rng: np.random.Generator) -> MeshPart:
    a = np.linspace(np.pi / 2, 0.15, 9)
    r = rng.uniform(0.4, 0.55)
    outer = [(r * np.sin(x), r * (1 - np.cos(x))) for x in a]
    inner = [(0.92 * x, y + 0.03) for x, y in outer[::-1]]
    return lathe([(0, inner[0][1]), *inner, *outer, (0, 0)])


def _mushroom(rng: np.random.Generator) -> MeshPart:
    h, r = rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.45)
    cap = lathe([(r * np.sin(a), 0.75 * r * np.cos(a)) for a in np.linspace(0, np.pi / 2, 10)] + [(0, 0)])
    return merge([lathe([(0.09, h), (0.12, 0), (0, 0)]), cap.moved((0, h - 0.03, 0))])


def _rocket(rng: np.random.Generator) -> MeshPart:
    h, r = rng.uniform(0.5, 0.8), rng.uniform(0.13, 0.2)
    body = lathe(
        [(0, h + 0.4), (r * 0.6, h + 0.2), (r, h), (r, h / 2), (r, 0.15), (r * 0.7, 0.08), (0, 0.08)]
    )
    fin = box((0.03, 0.3, 0.2))
    fins = [
        fin.moved((0, 0.17, r + 0.07)).turned(rotation_about(_Y, a)) for a in np.linspace(0, 2 * np.pi, 4)[:3]
    ]
    return merge([body, *fins])


def _snowman(rng: np.random.Generator) -> MeshPart:
    r = rng.uniform(0.28, 0.36)
    parts, y = [], r
    for scale in (1.0, 0.75, 0.55):
        parts.append(sphere(r * scale).moved((0, y, 0)))
        y += r * scale * 1.45
    return merge(parts)


STATIC: dict[str, Callable[[np.random.Generator], MeshPart]] = {
    "ball": lambda _: sphere(0.5).moved((0, 0.5, 0)),
    "cube": lambda rng: box(rng.uniform(0.6, 1.0, 3)).moved((0, 0.4, 0)),
    "cylinder": lambda rng: lathe([(0, 1), (1, 1), (1, 0.5), (1, 0), (0, 0)]).scaled(
        (w := rng.uniform(0.25, 0.5), rng.uniform(0.5, 1.0), w)
    ),
    "cone": lambda rng: lathe([(0, 1), (0.5, 0.5), (1, 0), (0, 0)]).scaled(
        (w := rng.uniform(0.3, 0.5), rng.uniform(0.7, 1.1), w)
    ),
    "donut": lambda rng: torus(0.35, rng.uniform(0.1, 0.2)).moved((0, 0.2, 0)),
    "pyramid": lambda rng: pyramid(rng.uniform(0.8, 1.1), rng.uniform(0.6, 1.0)),
    "capsule": lambda rng: capsule((0, 0.3, 0), (0, 0.8, 0), w := rng.uniform(0.2, 0.3), w),
    "vase": _vase,
    "bottle": _bottle,
    "cup": _cup,
    "bowl": _bowl,
    "mushroom": _mushroom,
    "tree": _tree,
    "table": _table,
    "chair": _chair,
    "house": _house,
    "rocket": _rocket,
    "snowman": _snowman,
    "truck": _truck,
}


# Round things whose plain or marble surface shines; on a flat side the whole side would.
GLOSSY = ("ball", "bottle", "cup", "bowl", "vase", "donut", "capsule", "rocket", "fish")


def make_props(kind: str, count: int, rng: np.random.Generator) -> list[Prop]:
    """`count` instances of one object, each in a pose and at a heading of its own."""
    if kind in CREATURES:
        creature = CREATURES[kind](rng)
        if rng.random() < 0.5:
            creature = _with_details(rng, creature)
        rest, tris = creature.mesh.verts, creature.mesh.tris
    else:
        mesh = STATIC[kind](rng)
        creature, rest, tris = None, mesh.verts, mesh.tris
    props = []
    for _ in range(count):
        posed = rest
        if creature is not None:
            turns = creatures.walk_cycle(creature, rng.random(), rng.uniform(0.2, 1.3))
            for name in turns:
                axis = rng.normal(size=3)
                turns[name] = rotation_about(axis, rng.normal() * 0.15) @ turns[name]
            posed = creature.pose(turns)
        if creature is None and rng.random() < 0.25:  # some objects lie or fall: every side is seen
            posed = posed @ rotation_about(rng.normal(size=3), rng.uniform(0, np.pi)).T
            posed = posed - [0, posed[:, 1].min(), 0]
        posed = posed @ rotation_about(_Y, rng.uniform(0, 2 * np.pi)).T
        props.append(Prop(rest, posed, tris))
    return props
