"""Training pictures: random objects with random looks, lit and ray cast, with depth and a caption.

The point of this world is that appearance must travel through attention: many captions do not name the
colours, and then several equal objects in different poses must still agree in one free look.
"""

from dataclasses import dataclass

import embreex.mesh_construction
import embreex.rtcore_scene
import numpy as np
from jaxtyping import Float, Float64, Int, UInt8

from genrender.scene.camera import Camera
from genrender.scene.primitives import rotation_about, vertex_normals
from genrender.train.objects import Prop, make_props
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS, Described, caption

SUPERSAMPLING = 2


@dataclass(frozen=True)
class Look:
    """How a surface is painted: a pattern between two colours (sRGB), placed in rest space."""

    pattern: str
    first: Float64[np.ndarray, "3"]
    second: Float64[np.ndarray, "3"]
    rotation: Float64[np.ndarray, "3 3"]
    frequency: float
    phase: float


@dataclass(frozen=True)
class Sample:
    """One training picture.

    Attributes:
        image: lit picture, sRGB.
        depth: depth control image: inverse depth, near = 255, farthest surface = 51, background = 0.
        object_id: at latent resolution, 0 is background, instances count from 1.
        caption: what it shows.
        groups: the ground truth behind the caption, for the quality report.
        background: kind and, where the caption names it, colour.
    """

    image: UInt8[np.ndarray, "H W 3"]
    depth: UInt8[np.ndarray, "H W"]
    object_id: UInt8[np.ndarray, "h w"]
    caption: str
    groups: tuple[Described, ...]
    background: tuple[str, str | None]


def _ripple(points: Float[np.ndarray, "N 3"], frequency: float, phase: float) -> Float[np.ndarray, "N"]:
    """Smooth noise in about [-1, 1]: a few sine waves that cross each other."""
    a, b, c = (points @ axis for axis in ([0.8, 0.5, 0.33], [-0.4, 0.9, 0.2], [0.3, -0.25, 0.92]))
    wave = np.sin(frequency * a + 2 * np.sin(0.7 * frequency * b + phase))
    return 0.6 * wave + 0.4 * np.sin(1.9 * frequency * c + 1.5 * wave + phase)


def _edge(x: Float[np.ndarray, "N"], sharpness: float = 7.0) -> Float[np.ndarray, "N"]:
    return 1 / (1 + np.exp(-np.clip(x * sharpness, -30, 30)))


def paint(look: Look, rest: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
    """Albedo (sRGB) at points in rest space, where objects are about one unit large."""
    p = rest @ look.rotation.T
    f, phase = look.frequency, look.phase
    if look.pattern == "striped":
        mix = _edge(np.sin(2 * np.pi * f * p[:, 1] + phase))
    elif look.pattern == "checkered":
        s = np.sin(np.pi * f * p + phase + 0.4)
        mix = _edge(s[:, 0] * s[:, 1] * np.sign(s[:, 2]), 12)
    elif look.pattern == "spotted":
        cell = np.floor(p * f)
        jitter = np.sin(cell @ np.array([12.9898, 78.233, 37.719]) + phase)[:, None] * [0.13, -0.13, 0.1]
        mix = _edge(0.36 - np.linalg.norm(p * f - cell - 0.5 + jitter, axis=1), 25)
    elif look.pattern == "marble":
        mix = np.abs(np.sin(2.2 * f * p[:, 1] + 2.4 * _ripple(p, 4.0, phase))) ** 0.7
        mix = 1 - mix
    elif look.pattern == "wooden":
        radius = np.hypot(p[:, 0], p[:, 2]) + 0.06 * _ripple(p, 3.0, phase)
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * 1.8 * f * radius + phase)
    elif look.pattern == "brick":
        row = np.floor(p[:, 1] * f * 1.6)
        across = (p[:, 0] + p[:, 2]) * f * 0.8 + 0.5 * (row % 2)
        in_row = np.abs((p[:, 1] * f * 1.6) % 1 - 0.5)
        mix = _edge(np.maximum(np.abs(across % 1 - 0.5) - 0.43, in_row - 0.38), 40)  # mortar at the borders
    else:
        mix = np.zeros(len(p))
    return look.first + (look.second - look.first) * mix[:, None]


def _named(rng: np.random.Generator, name: str) -> Float64[np.ndarray, "3"]:
    return np.clip(np.array(COLORS[name]) + rng.normal(0, 0.025, 3), 0, 1)


def _free_color(rng: np.random.Generator) -> Float64[np.ndarray, "3"]:
    return rng.uniform(0.03, 0.98, 3)


def random_look(rng: np.random.Generator, pattern: str, names: tuple[str, ...]) -> Look:
    """A look with the named colours, or with free ones that differ visibly where none are named."""
    if names:
        first = _named(rng, names[0])
        second = _named(rng, names[-1])
    else:
        first, second = _free_color(rng), _free_color(rng)
        while np.abs(first - second).sum() < 0.7:
            second = _free_color(rng)
        if pattern == "wooden" and rng.random() < 0.5:
            first, second = _named(rng, "brown"), _named(rng, "beige") * rng.uniform(0.7, 1.0)
        if pattern == "brick" and rng.random() < 0.5:
            first, second = np.array([0.65, 0.27, 0.2]) + rng.normal(0, 0.03, 3), _named(rng, "beige")
    tilt = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi)) if rng.random() < 0.6 else np.eye(3)
    return Look(pattern, first, np.clip(second, 0, 1), tilt, rng.uniform(2.2, 4.5), rng.uniform(0, 2 * np.pi))


def _choose_colors(rng: np.random.Generator, pattern: str) -> tuple[str, ...]:
    names = list(COLORS)
    n_colors = 1 if pattern == "plain" else 2
    picked = rng.choice(len(names), n_colors, replace=False)
    return tuple(names[int(i)] for i in picked)


def _group(rng: np.random.Generator, count: int) -> tuple[list[Prop], Look, Described]:
    kind = list(OBJECTS)[int(rng.integers(len(OBJECTS)))]
    if rng.random() < 0.35:  # creatures are what people animate: show them more often
        kind = ("biped", "quadruped", "fox", "dog", "horse", "cat")[int(rng.integers(6))]
    patterns = list(LOOKS)
    pattern = patterns[int(rng.integers(len(patterns)))] if rng.random() < 0.75 else "plain"
    colors = _choose_colors(rng, pattern) if rng.random() < 0.5 else ()
    look = random_look(rng, pattern, colors)
    said = pattern if colors or rng.random() < 0.85 else None
    return make_props(kind, count, rng), look, Described(kind, count, said, colors)


def _arrange(
    rng: np.random.Generator, props: list[Prop], camera_axes: Float[np.ndarray, "3 3"], on_ground: bool
) -> list[Float64[np.ndarray, "V 3"]]:
    """Posed vertices of all props, side by side: on the ground, or in cells of a sheet facing the camera."""
    if len(props) == 1:
        return [props[0].posed]
    centers = [(p.posed.max(0) + p.posed.min(0)) / 2 for p in props]
    size = max(float(np.linalg.norm(np.ptp(p.posed, axis=0))) for p in props) * rng.uniform(0.75, 0.95)
    columns = 2 if len(props) != 3 or rng.random() < 0.4 else 3
    across, along = camera_axes[:, 0], camera_axes[:, 1]
    if on_ground:
        across = np.array([across[0], 0, across[2]]) / max(np.hypot(across[0], across[2]), 1e-6)
        along = np.cross(across, [0, 1, 0])
    placed = []
    for i, prop in enumerate(props):
        offset = across * (i % columns) * size - along * (i // columns) * size
        base = np.array([centers[i][0], 0.0 if on_ground else centers[i][1], centers[i][2]])
        placed.append(prop.posed - base + offset)
    return placed


def _camera(
    rng: np.random.Generator, verts: Float[np.ndarray, "V 3"], axes: Float[np.ndarray, "3 3"]
) -> Camera:
    """A camera along `axes` in which the vertices fill a random share of the picture."""
    yfov = rng.uniform(25, 55)
    center = (verts.max(0) + verts.min(0)) / 2
    local = (verts - center) @ axes
    share = rng.uniform(0.12, 0.5) if rng.random() < 0.1 else rng.uniform(0.6, 0.97)
    tan = np.tan(np.deg2rad(yfov) / 2)
    extent = np.abs(local[:, :2]).max(axis=1)
    distance = float((extent / (tan * share) + local[:, 2]).max())
    room = tan * distance * (1 - share) * 0.8
    shift = axes[:, 0] * rng.uniform(-room, room) + axes[:, 1] * rng.uniform(-room, room)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = axes
    world_from_camera[:3, 3] = center + shift + axes[:, 2] * distance
    return Camera(world_from_camera, yfov)


def _view_axes(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(-8, 50))
    eye = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    return Camera.look_at(eye, np.zeros(3)).world_from_camera[:3, :3]


def _control(
    rng: np.random.Generator, depth: Float[np.ndarray, "H W"], seen: np.ndarray
) -> UInt8[np.ndarray, "H W"]:
    """Inverse depth as in `gbuffer.control.depth_control`; the range wanders, as it does within a clip."""
    control = np.zeros(depth.shape)
    if seen.any():
        inverse = 1 / depth[seen]
        low, high = np.percentile(inverse, [2, 98])
        low, high = low * rng.uniform(0.75, 1.0), high * rng.uniform(1.0, 1.25)
        control[seen] = 0.2 + 0.8 * np.clip((inverse - low) / max(high - low, 0.02 * high), 0, 1)
    return np.round(control * 255).astype(np.uint8)


def make_sample(seed: int | tuple[int, ...], size: int = 128, latent_side: int = 16) -> Sample:
    """The training picture with this seed, `size` pixels square. Deterministic."""
    rng = np.random.default_rng(seed)
    layout = rng.random()
    counts = [1] if layout < 0.5 else [int(rng.integers(2, 5))] if layout < 0.85 else [1, 1]
    made = [_group(rng, count) for count in counts]
    groups = tuple(described for _, _, described in made)
    props = [(prop, look) for instances, look, _ in made for prop in instances]
    background = ("plain", "gradient", "ground", "sky")[int(rng.choice(4, p=[0.45, 0.2, 0.25, 0.1]))]
    background_color = list(COLORS)[int(rng.integers(len(COLORS)))] if rng.random() < 0.65 else None
    on_ground = background in ("ground", "sky")

    axes = _view_axes(rng)
    if on_ground and axes[1, 2] < 0.1:  # an eye below the horizon would look through the floor
        axes = Camera.look_at(np.array([axes[0, 2], 0.35, axes[2, 2]]), np.zeros(3)).world_from_camera[:3, :3]
    placed = _arrange(rng, [prop for prop, _ in props], axes, on_ground)
    camera = _camera(rng, np.concatenate(placed), axes)
    offsets = np.cumsum([0] + [len(v) for v in placed])
    tris = np.concatenate([prop.tris + first for (prop, _), first in zip(props, offsets[:-1], strict=True)])
    instance = np.repeat(np.arange(len(props)), [len(prop.tris) for prop, _ in props])
    verts = np.concatenate(placed)
    rest = np.concatenate([prop.rest for prop, _ in props])
    floor = 0.0 if len(props) > 1 and on_ground else float(verts[:, 1].min())

    scene = embreex.rtcore_scene.EmbreeScene()
    embreex.mesh_construction.TriangleMesh(scene, verts.astype(np.float32), tris.astype(np.int32))
    side = size * SUPERSAMPLING
    origins, directions = camera.rays(side, side)
    hit = scene.run(np.ascontiguousarray(origins, np.float32), directions.astype(np.float32), output=1)
    tri_id: Int[np.ndarray, "N"] = hit["primID"]
    seen = tri_id >= 0
    depth = np.where(seen, hit["tfar"], np.inf)
    if on_ground:
        with np.errstate(divide="ignore", invalid="ignore"):
            to_floor = (floor - origins[:, 1]) / directions[:, 1]
        floor_seen = ~seen & (to_floor > 0) & (to_floor < 60)
    else:
        to_floor, floor_seen = depth, np.zeros_like(seen)

    sun = rng.normal(size=3)
    sun = axes @ np.array([sun[0], abs(sun[1]) * 0.7 + 0.25, abs(sun[2]) * 0.6 + 0.3])
    sun[1] = max(sun[1], 0.35)
    sun /= np.linalg.norm(sun)
    ambient, strength = rng.uniform(0.5, 0.68), rng.uniform(0.35, 0.55)

    color = _background(rng, background, background_color, directions, side)
    if on_ground:
        floor_color = _named(rng, background_color) if background_color else _free_color(rng)
        haze = np.clip(to_floor[floor_seen] / 40, 0, 1)[:, None]
        color[floor_seen] = (
            floor_color * (ambient + strength * sun[1]) * (1 - haze) + color[floor_seen] * haze
        )

    normals = vertex_normals(verts, tris)
    corners = tris[tri_id[seen]]
    u, v = hit["u"][seen][:, None], hit["v"][seen][:, None]
    weights = (1 - u - v, u, v)
    normal = np.sum([w * normals[corners[:, i]] for i, w in enumerate(weights)], axis=0)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    view = -directions[seen] / np.linalg.norm(directions[seen], axis=1, keepdims=True)
    normal *= np.where((normal * view).sum(1, keepdims=True) < 0, -1.0, 1.0)
    rest_point = np.sum([w * rest[corners[:, i]] for i, w in enumerate(weights)], axis=0)
    albedo = np.zeros((int(seen.sum()), 3))
    which = instance[tri_id[seen]]
    for index, (prop, look) in enumerate(props):
        mine = which == index
        scale = 1.3 / float(np.ptp(prop.rest, axis=0).max())
        albedo[mine] = paint(look, rest_point[mine] * scale)

    point = origins[seen] + directions[seen] * depth[seen][:, None]
    lit = np.clip((normal @ sun) * 0.8 + 0.2, 0, 1)
    shadow_from = point + normal * 2e-3
    if floor_seen.any():
        shadow_from = np.concatenate(
            [shadow_from, origins[floor_seen] + directions[floor_seen] * to_floor[floor_seen][:, None]]
        )
    toward = np.broadcast_to(sun, shadow_from.shape)
    blocked = (
        scene.run(shadow_from.astype(np.float32), np.ascontiguousarray(toward, np.float32), query="OCCLUDED")
        >= 0
    )
    lit = lit * (1 - 0.75 * blocked[: len(lit)])
    half = (sun + view) / np.maximum(np.linalg.norm(sun + view, axis=1, keepdims=True), 1e-9)
    gloss = np.clip((normal * half).sum(1), 0, 1)
    shine = rng.uniform(0, 0.12) * (gloss**20) * ~blocked[: len(lit)]
    color[seen] = albedo * (ambient + strength * lit)[:, None] + shine[:, None]
    if floor_seen.any():
        color[floor_seen] *= (1 - 0.4 * blocked[len(lit) :])[:, None]

    image = np.clip(color, 0, 1).reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    in_depth = seen | (floor_seen if rng.random() < 0.5 else False)
    full_depth = np.where(floor_seen, to_floor, depth)
    pick = (slice(1, None, SUPERSAMPLING),) * 2
    grid = (side, side)
    control = _control(rng, full_depth.reshape(grid)[pick], in_depth.reshape(grid)[pick])
    ids = np.where(seen, instance[tri_id] + 1, 0).reshape(grid)
    cell = side // latent_side
    object_id = ids[cell // 2 :: cell, cell // 2 :: cell].astype(np.uint8)
    said_color = background_color if rng.random() < 0.85 else None
    sentence = caption(rng, groups, background, said_color)
    return Sample(
        np.round(image * 255).astype(np.uint8), control, object_id, sentence, groups, (background, said_color)
    )


def _background(
    rng: np.random.Generator, kind: str, name: str | None, directions: Float[np.ndarray, "N 3"], side: int
) -> Float64[np.ndarray, "N 3"]:
    base = _named(rng, name) if name else _free_color(rng)
    if kind == "sky":
        height = np.clip(directions[:, 1] / np.linalg.norm(directions, axis=1), 0, 1)[:, None]
        return np.array([0.75, 0.86, 0.97]) * (1 - height) + np.array([0.25, 0.5, 0.9]) * height
    if kind == "ground":
        return np.tile(base * 0.35 + 0.6 * rng.uniform(0.6, 1.0), (side * side, 1)).clip(0, 1)
    color = np.tile(base, (side * side, 1))
    if kind == "gradient":
        ramp = np.repeat(np.linspace(rng.uniform(0.65, 1.1), rng.uniform(0.65, 1.1), side), side)
        color = color * ramp[:, None]
    return color.clip(0, 1)
