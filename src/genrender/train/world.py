"""Training pictures: random objects with random looks, lit and ray cast, with depth and a caption.

The point of this world is that appearance must travel through attention: many captions do not name the
colours, and then several equal objects in different poses must still agree in one free look.
"""

from dataclasses import dataclass

import embreex.mesh_construction
import embreex.rtcore_scene
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8

from genrender.scene.camera import Camera
from genrender.scene.primitives import vertex_normals
from genrender.train.looks import Look, free_color, named_color, paint, random_look
from genrender.train.objects import Prop, make_props
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS, Described, caption

SUPERSAMPLING = 2
# Distance in RGB of the two colours of most patterns.
CONTRAST = 0.55


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


def _choose_colors(rng: np.random.Generator, pattern: str) -> tuple[str, ...]:
    names = list(COLORS)
    first = names[int(rng.integers(len(names)))]
    if pattern == "plain":
        return (first,)
    others = [name for name in names if name != first]
    # A pattern of red and brown teaches little about patterns.
    distant = [o for o in others if np.linalg.norm(np.subtract(COLORS[o], COLORS[first])) > CONTRAST]
    allowed = distant if rng.random() < 0.85 else others
    return first, allowed[int(rng.integers(len(allowed)))]


def _group(rng: np.random.Generator, count: int) -> tuple[list[Prop], Look, Described]:
    kind = list(OBJECTS)[int(rng.integers(len(OBJECTS)))]
    if rng.random() < 0.45:  # creatures are what people animate: show them more often
        kind = ("biped", "quadruped", "fox", "dog", "horse", "cat")[int(rng.integers(6))]
    patterns = list(LOOKS)
    pattern = patterns[int(rng.integers(len(patterns)))] if rng.random() < 0.82 else "plain"
    colors = _choose_colors(rng, pattern) if rng.random() < 0.68 else ()
    props = make_props(kind, count, rng)
    look = random_look(rng, pattern, colors, int(np.ptp(props[0].rest, axis=0).argmax()))
    said = pattern if colors or rng.random() < 0.85 else None
    return props, look, Described(kind, count, said, colors)


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
    """A camera along `axes` in which the vertices fill a random share of the picture.

    Mostly nearly all of it: on a small object a pattern is finer than latent pixels and cannot be learned.
    """
    yfov = rng.uniform(25, 55)
    center = (verts.max(0) + verts.min(0)) / 2
    local = (verts - center) @ axes
    share = rng.uniform(0.12, 0.5) if rng.random() < 0.08 else rng.uniform(0.72, 0.98)
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


@dataclass(frozen=True)
class _Stage:
    """All objects in place, as one mesh. `floor` is the height of the ground plane, None without one."""

    props: list[tuple[Prop, Look]]
    verts: Float64[np.ndarray, "V 3"]
    rest: Float64[np.ndarray, "V 3"]
    tris: Int[np.ndarray, "T 3"]
    instance: Int[np.ndarray, "T"]
    floor: float | None
    axes: Float64[np.ndarray, "3 3"]
    camera: Camera


@dataclass(frozen=True)
class _Hits:
    """What the rays of a picture meet: a surface, the floor (at `to_floor`), or nothing."""

    scene: embreex.rtcore_scene.EmbreeScene
    origins: Float[np.ndarray, "N 3"]
    directions: Float[np.ndarray, "N 3"]
    tri_id: Int[np.ndarray, "N"]
    uv: Float32[np.ndarray, "N 2"]
    depth: Float[np.ndarray, "N"]
    seen: Bool[np.ndarray, "N"]
    to_floor: Float[np.ndarray, "N"]
    floor_seen: Bool[np.ndarray, "N"]


def _set_stage(rng: np.random.Generator, props: list[tuple[Prop, Look]], on_ground: bool) -> _Stage:
    axes = _view_axes(rng)
    if on_ground and axes[1, 2] < 0.1:  # an eye below the horizon would look through the floor
        axes = Camera.look_at(np.array([axes[0, 2], 0.35, axes[2, 2]]), np.zeros(3)).world_from_camera[:3, :3]
    placed = _arrange(rng, [prop for prop, _ in props], axes, on_ground)
    verts = np.concatenate(placed)
    first = np.cumsum([0] + [len(v) for v in placed[:-1]])
    floor = None
    if on_ground:
        floor = 0.0 if len(props) > 1 else float(verts[:, 1].min())
    return _Stage(
        props=props,
        verts=verts,
        rest=np.concatenate([prop.rest for prop, _ in props]),
        tris=np.concatenate([prop.tris + start for (prop, _), start in zip(props, first, strict=True)]),
        instance=np.repeat(np.arange(len(props)), [len(prop.tris) for prop, _ in props]),
        floor=floor,
        axes=axes,
        camera=_camera(rng, verts, axes),
    )


def _cast(stage: _Stage, side: int) -> _Hits:
    scene = embreex.rtcore_scene.EmbreeScene()
    embreex.mesh_construction.TriangleMesh(scene, stage.verts.astype(np.float32), stage.tris.astype(np.int32))
    origins, directions = stage.camera.rays(side, side)
    hit = scene.run(np.ascontiguousarray(origins, np.float32), directions.astype(np.float32), output=1)
    seen = hit["primID"] >= 0
    depth = np.where(seen, hit["tfar"], np.inf)
    to_floor, floor_seen = depth, np.zeros_like(seen)
    if stage.floor is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            to_floor = (stage.floor - origins[:, 1]) / directions[:, 1]
        floor_seen = ~seen & (to_floor > 0) & (to_floor < 60)
    uv = np.stack([hit["u"], hit["v"]], 1)
    return _Hits(scene, origins, directions, hit["primID"], uv, depth, seen, to_floor, floor_seen)


def _shade(
    rng: np.random.Generator, stage: _Stage, hits: _Hits, background: str, background_color: str | None
) -> Float64[np.ndarray, "N 3"]:
    """Colours of all rays: a pattern under a sun with soft ambient light, its shadows, a little gloss."""
    sun = rng.normal(size=3)
    sun = stage.axes @ np.array([sun[0], abs(sun[1]) * 0.7 + 0.25, abs(sun[2]) * 0.6 + 0.3])
    sun[1] = max(sun[1], 0.35)
    sun /= np.linalg.norm(sun)
    ambient, strength = rng.uniform(0.5, 0.68), rng.uniform(0.35, 0.55)

    seen, floor_seen = hits.seen, hits.floor_seen
    color = _background(rng, background, background_color, hits.directions)
    if stage.floor is not None:
        floor_color = named_color(rng, background_color) if background_color else free_color(rng)
        haze = np.clip(hits.to_floor[floor_seen] / 40, 0, 1)[:, None]
        color[floor_seen] = (
            floor_color * (ambient + strength * sun[1]) * (1 - haze) + color[floor_seen] * haze
        )

    normal, rest = _surface(stage, hits)
    view = -hits.directions[seen] / np.linalg.norm(hits.directions[seen], axis=1, keepdims=True)
    normal *= np.where((normal * view).sum(1, keepdims=True) < 0, -1.0, 1.0)
    albedo = np.zeros_like(rest)
    which = stage.instance[hits.tri_id[seen]]
    for index, (prop, look) in enumerate(stage.props):
        scale = 1.3 / float(np.ptp(prop.rest, axis=0).max())
        center = (prop.rest.max(axis=0) + prop.rest.min(axis=0)) / 2
        albedo[which == index] = paint(look, (rest[which == index] - center) * scale)

    point = hits.origins[seen] + hits.directions[seen] * hits.depth[seen][:, None]
    floor_point = hits.origins[floor_seen] + hits.directions[floor_seen] * hits.to_floor[floor_seen][:, None]
    shadow_from = np.concatenate([point + normal * 2e-3, floor_point]).astype(np.float32)
    toward = np.ascontiguousarray(np.broadcast_to(sun, shadow_from.shape), np.float32)
    blocked = hits.scene.run(shadow_from, toward, query="OCCLUDED") >= 0
    surface_blocked, floor_blocked = blocked[: len(point)], blocked[len(point) :]

    lit = np.clip((normal @ sun) * 0.8 + 0.2, 0, 1) * (1 - 0.75 * surface_blocked)
    half = (sun + view) / np.maximum(np.linalg.norm(sun + view, axis=1, keepdims=True), 1e-9)
    gloss = np.clip((normal * half).sum(1), 0, 1)
    shine = rng.uniform(0, 0.12) * gloss**20 * ~surface_blocked
    color[seen] = albedo * (ambient + strength * lit)[:, None] + shine[:, None]
    color[floor_seen] *= (1 - 0.4 * floor_blocked)[:, None]
    return color


def _surface(stage: _Stage, hits: _Hits) -> tuple[Float64[np.ndarray, "M 3"], Float64[np.ndarray, "M 3"]]:
    """Unit normals and rest positions of the hits on surfaces."""
    normals = vertex_normals(stage.verts, stage.tris)
    corners = stage.tris[hits.tri_id[hits.seen]]
    u, v = hits.uv[hits.seen, :1], hits.uv[hits.seen, 1:]
    weights = np.stack([1 - u - v, u, v])
    normal = _at_hits(weights, normals[corners])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return normal, _at_hits(weights, stage.rest[corners])


def _at_hits(
    weights: Float[np.ndarray, "3 M 1"], values: Float[np.ndarray, "M 3 3"]
) -> Float64[np.ndarray, "M 3"]:
    """Interpolate what stands at the corners of triangles."""
    return np.sum([weight * values[:, corner] for corner, weight in enumerate(weights)], axis=0)


def make_sample(seed: int | tuple[int, ...], size: int = 128, latent_side: int = 32) -> Sample:
    """The training picture with this seed, `size` pixels square. Deterministic."""
    rng = np.random.default_rng(seed)
    layout = rng.random()
    counts = [1] if layout < 0.75 else [int(rng.integers(2, 5))] if layout < 0.95 else [1, 1]
    made = [_group(rng, count) for count in counts]
    groups = tuple(described for _, _, described in made)
    props = [(prop, look) for instances, look, _ in made for prop in instances]
    background = ("plain", "gradient", "ground", "sky")[int(rng.choice(4, p=[0.5, 0.2, 0.2, 0.1]))]
    background_color = list(COLORS)[int(rng.integers(len(COLORS)))] if rng.random() < 0.75 else None

    stage = _set_stage(rng, props, on_ground=background in ("ground", "sky"))
    side = size * SUPERSAMPLING
    hits = _cast(stage, side)
    color = _shade(rng, stage, hits, background, background_color)
    image = np.clip(color, 0, 1).reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))

    in_depth = hits.seen | (hits.floor_seen if rng.random() < 0.5 else False)
    depth = np.where(hits.floor_seen, hits.to_floor, hits.depth)
    pick = (slice(1, None, SUPERSAMPLING),) * 2
    control = _control(rng, depth.reshape(side, side)[pick], in_depth.reshape(side, side)[pick])
    ids = np.where(hits.seen, stage.instance[hits.tri_id] + 1, 0).reshape(side, side)
    cell = side // latent_side
    said_color = background_color if rng.random() < 0.85 else None
    return Sample(
        image=np.round(image * 255).astype(np.uint8),
        depth=control,
        object_id=ids[cell // 2 :: cell, cell // 2 :: cell].astype(np.uint8),
        caption=caption(rng, groups, background, said_color),
        groups=groups,
        background=(background, said_color),
    )


def _background(
    rng: np.random.Generator, kind: str, name: str | None, directions: Float[np.ndarray, "N 3"]
) -> Float64[np.ndarray, "N 3"]:
    """What the rays show that meet nothing; they are those of a square picture, row by row."""
    n_rays, side = len(directions), round(len(directions) ** 0.5)
    base = named_color(rng, name) if name else free_color(rng)
    if kind == "sky":
        height = np.clip(directions[:, 1] / np.linalg.norm(directions, axis=1), 0, 1)[:, None]
        return np.array([0.75, 0.86, 0.97]) * (1 - height) + np.array([0.25, 0.5, 0.9]) * height
    if kind == "ground":
        return np.tile(base * 0.35 + 0.6 * rng.uniform(0.6, 1.0), (n_rays, 1)).clip(0, 1)
    color = np.tile(base, (n_rays, 1))
    if kind == "gradient":
        color *= np.repeat(np.linspace(rng.uniform(0.65, 1.1), rng.uniform(0.65, 1.1), side), side)[:, None]
    return color.clip(0, 1)
