"""Light of the training world: what a camera sees of a stage, with shade that follows the depth.

The sun always comes from the upper left of the camera, so that shade can be told from the shape alone.
Inner outlines, soft shadows and dark contacts show every edge that the depth picture has.
"""

from dataclasses import dataclass

import embreex.mesh_construction
import embreex.rtcore_scene
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from genrender.scene.procedural.primitives import vertex_normals
from genrender.train.looks import OBJECT_SIZE, paint
from genrender.train.stages import Piece, Stage, view_upright

# Steps in depth, in scene units, from which outlines begin and at which they are full.
OUTLINE_STEP = (0.02, 0.06)
# Rays a pixel. Those of 5 x 5 pixels all go elsewhere, and a blur of that size averages over them.
N_SHADOW_RAYS, N_CONTACT_RAYS, CONTACT_REACH = 2, 3, 0.4
# Rays of a pixel on an edge, as offsets in pixels.
_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))

Colors = Float32[np.ndarray, "N 3"]
Scalars = Float32[np.ndarray, "N"]
Grid = Float32[np.ndarray, "H W"]


@dataclass(frozen=True)
class Rendered:
    """A lit picture and what is where.

    Attributes:
        image: sRGB in [0, 1].
        depth: planar depth, inf where nothing is.
        piece: index into the stage's pieces, -1 where nothing is.
    """

    image: Float32[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]
    piece: Int[np.ndarray, "H W"]


@dataclass(frozen=True)
class _Seen:
    """What rays meet; unmet ones have piece -1, depth inf and zeros."""

    piece: Int[np.ndarray, "N"]
    depth: Scalars
    point: Colors
    normal: Colors
    albedo: Colors
    gloss: Scalars


class _Scene:
    """The stage as one mesh for Embree, with what its surfaces need to be painted."""

    def __init__(self, stage: Stage, size: int) -> None:
        pieces = stage.pieces
        first = np.cumsum([0] + [len(piece.verts) for piece in pieces[:-1]])
        self.stage = stage
        self.tris = np.concatenate([p.prop.tris + start for p, start in zip(pieces, first, strict=True)])
        self.piece = np.repeat(np.arange(len(pieces)), [len(p.prop.tris) for p in pieces])
        # An origin near the camera keeps float32 exact where it matters.
        self.verts = np.concatenate([piece.verts for piece in pieces]).astype(np.float32)
        posed, painted, painted_normals = [], [], []
        upright = view_upright(stage.camera)
        for piece in pieces:
            own = _pattern_points(piece, upright)
            painted.append(own)
            painted_normals.append(vertex_normals(own, piece.prop.tris))
            posed.append(vertex_normals(piece.verts, piece.prop.tris))
        # One row a vertex, so that one look-up interpolates all.
        self.attributes = np.concatenate(
            [np.concatenate(a) for a in (posed, painted, painted_normals)], axis=1
        ).astype(np.float32)
        self.pixel = float(2 * np.tan(np.deg2rad(stage.camera.yfov_deg) / 2) / size)
        self.embree = embreex.rtcore_scene.EmbreeScene()
        embreex.mesh_construction.TriangleMesh(self.embree, self.verts, self.tris.astype(np.int32))

    def see(self, origin: Float32[np.ndarray, "3"], directions: Colors) -> _Seen:
        """What the rays from `origin` meet, painted; directions have depth 1 along the view."""
        n = len(directions)
        origins = np.ascontiguousarray(np.broadcast_to(origin, (n, 3)))
        hit = self.embree.run(origins, directions, output=1)
        is_hit = hit["primID"] >= 0
        tri = hit["primID"][is_hit]
        u, v = hit["u"][is_hit][:, None], hit["v"][is_hit][:, None]
        a, b, c = (self.attributes[self.tris[tri, corner]] for corner in range(3))
        values = a * (1 - u - v) + b * u + c * v
        depth = hit["tfar"][is_hit].astype(np.float32)
        towards = directions[is_hit]
        normal = _unit(values[:, :3])
        facing = -_dot(normal, towards) / np.sqrt(_dot(towards, towards))
        normal[facing < 0] *= -1
        piece = self.piece[tri]
        albedo = np.zeros((len(tri), 3), np.float32)
        gloss = np.zeros(len(tri), np.float32)
        for index, one in enumerate(self.stage.pieces):
            own = piece == index
            if not own.any():
                continue
            footprint = depth[own] * (self.pixel * _units(one))
            if not one.is_object:
                footprint /= np.maximum(np.abs(facing[own]), 0.02)
            albedo[own] = paint(one.look, values[own, 3:6], values[own, 6:9], footprint)
            if not one.is_object:  # a little darker far from the middle, as under a lamp
                away = np.square(values[own, 3]) + np.square(values[own, 5])
                albedo[own] *= (0.84 + 0.16 * np.exp(-away / 12))[:, None]
            gloss[own] = one.look.gloss
        point = origin + towards * depth[:, None]
        filled = [_filled(is_hit, x) for x in (point, normal, albedo, gloss)]
        whole_piece = np.full(n, -1)
        whole_piece[is_hit] = piece
        whole_depth = np.full(n, np.inf, np.float32)
        whole_depth[is_hit] = depth
        return _Seen(whole_piece, whole_depth, *filled)

    def blocked(self, points: Colors, directions: Colors, reach: float = 1e6) -> Scalars:
        """1 where something is within reach, 0 elsewhere."""
        reaches = np.full(len(points), reach, np.float32)
        found = self.embree.run(
            np.ascontiguousarray(points), np.ascontiguousarray(directions), reaches, query="OCCLUDED"
        )
        return (found >= 0).astype(np.float32)


def _units(piece: Piece) -> float:
    """What one scene unit is in the units of patterns."""
    return OBJECT_SIZE / float(np.ptp(piece.prop.rest, axis=0).max()) if piece.is_object else 1.0


def _pattern_points(piece: Piece, upright: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "V 3"]:
    """A piece's vertices in the space that its look lies in; `upright`: right, up and towards the camera."""
    if not piece.is_object:
        return piece.prop.rest
    verts = piece.verts @ upright if piece.look.as_it_stands else piece.prop.rest
    return (verts - (verts.max(0) + verts.min(0)) / 2) * _units(piece)


def _filled(is_hit: Bool[np.ndarray, "N"], values: np.ndarray) -> np.ndarray:
    whole = np.zeros((len(is_hit), *values.shape[1:]), np.float32)
    whole[is_hit] = values
    return whole


def _dot(a: Colors, b: Colors) -> Scalars:
    return np.einsum("ij,ij->i", a, b)


def _unit(x: Colors) -> Colors:
    return x / np.sqrt(np.maximum(_dot(x, x), 1e-12))[:, None]


def box_blur(grid: Float32[np.ndarray, "H W *C"], radius: int) -> Float32[np.ndarray, "H W *C"]:
    """Mean over a square of 2 `radius` + 1 pixels; the border is repeated."""
    for axis in (0, 1):
        pad = [(0, 0)] * grid.ndim
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(grid, pad, mode="edge"), axis=axis, dtype=np.float32)
        n = 2 * radius + 1
        upper = np.take(total, range(n, total.shape[axis]), axis=axis)
        lower = np.take(total, range(total.shape[axis] - n), axis=axis)
        grid = (upper - lower) / n
    return grid


def _blur_within(value: Grid, on_object: Bool[np.ndarray, "H W"], radius: int) -> Grid:
    """Blurred, objects and what is around them apart."""
    out = np.empty_like(value)
    for mask in (on_object, ~on_object):
        share = box_blur(mask.astype(np.float32), radius)
        mean = box_blur(value * mask, radius) / np.maximum(share, 1e-4)
        out[mask] = mean[mask]
    return out


def _neighbour_steps(grid: Grid) -> tuple[Grid, Grid]:
    """Second differences across and along, 0 at the border."""
    across, along = np.zeros_like(grid), np.zeros_like(grid)
    across[:, 1:-1] = np.abs(2 * grid[:, 1:-1] - grid[:, :-2] - grid[:, 2:])
    along[1:-1] = np.abs(2 * grid[1:-1] - grid[:-2] - grid[2:])
    return across, along


def outlines(depth: Grid, on_object: Bool[np.ndarray, "H W"]) -> Grid:
    """Strength in [0, 1] of outlines at steps in depth, on objects and next to them.

    The second difference of inverse depth is 0 on every plane, however slanted.
    """
    inverse = np.where(np.isfinite(depth), 1 / np.maximum(depth, 1e-6), 0).astype(np.float32)
    across, along = _neighbour_steps(inverse)
    nearest = inverse.copy()
    near_object = on_object.copy()
    for axis in (0, 1):
        for shift in (-1, 1):
            nearest = np.maximum(nearest, np.roll(inverse, shift, axis))
            near_object |= np.roll(on_object, shift, axis)
    step = np.maximum(across, along) / np.maximum(nearest, 1e-6) ** 2
    low, high = OUTLINE_STEP
    return np.clip((step - low) / (high - low), 0, 1) * near_object


def _is_edge(seen: _Seen, size: int) -> Bool[np.ndarray, "N"]:
    """Pixels whose neighbours show another piece or a surface that faces elsewhere."""
    piece, normal = seen.piece.reshape(size, size), seen.normal.reshape(size, size, 3)
    edge = np.zeros((size, size), bool)
    for axis in (0, 1):
        ahead = [slice(None)] * 2
        behind = [slice(None)] * 2
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        one, two = tuple(ahead), tuple(behind)
        differs = (piece[one] != piece[two]) | (np.einsum("hwc,hwc->hw", normal[one], normal[two]) < 0.85)
        differs &= (piece[one] >= 0) | (piece[two] >= 0)
        edge[one] |= differs
        edge[two] |= differs
    return edge.ravel()


def _turns(rng: np.random.Generator, n: int, side: int) -> list[Float32[np.ndarray, "N 3"]]:
    """`n` unit directions for each pixel, those of a square of 5 x 5 pixels all different, tiled."""
    drawn = rng.normal(size=(n, 5, 5, 3)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    repeats = (-(-side // 5), -(-side // 5), 1)
    return [np.tile(d, repeats)[:side, :side].reshape(-1, 3) for d in drawn]


def _shadow(
    rng: np.random.Generator, scene: _Scene, seen: _Seen, sun: Float32[np.ndarray, "3"], size: int
) -> tuple[Scalars, Scalars]:
    """Shares of sun and of sky that reach each pixel, in [0, 1], soft."""
    on = seen.piece >= 0
    on_object = (on & (seen.piece < scene.stage.n_objects)).reshape(size, size)
    start = seen.point + seen.normal * np.float32(4e-3)
    # What faces away from the sun is dark anyway.
    lit = np.flatnonzero(on & (seen.normal @ sun > -0.25))
    light = np.zeros(len(lit), np.float32)
    for turn in _turns(rng, N_SHADOW_RAYS, size):
        light += 1 - scene.blocked(start[lit], sun + np.float32(0.09) * turn[lit])
    direct = np.ones(size * size, np.float32)
    direct[lit] = light / N_SHADOW_RAYS
    direct = _blur_within(direct.reshape(size, size), on_object, 2)
    # Contacts are soft anyway: rays at every second pixel.
    half = np.flatnonzero(on.reshape(size, size)[::2, ::2])
    side = -(-size // 2)
    picked = (half // side) * 2 * size + (half % side) * 2
    light = np.zeros(len(half), np.float32)
    for turn in _turns(rng, N_CONTACT_RAYS, side):
        light += 1 - scene.blocked(start[picked], seen.normal[picked] + 0.98 * turn[half], CONTACT_REACH)
    sky = np.ones(side * side, np.float32)
    sky[half] = light / N_CONTACT_RAYS
    coarse = _blur_within(sky.reshape(side, side), on_object[::2, ::2], 2)
    ambient = coarse.repeat(2, axis=0).repeat(2, axis=1)[:size, :size]
    return direct.ravel(), _blur_within(ambient, on_object, 1).ravel()


def render(
    rng: np.random.Generator, stage: Stage, size: int, backdrop: Float32[np.ndarray, "H W 3"]
) -> Rendered:
    """The picture that the stage's camera takes.

    Args:
        rng: source of chance: the sun and soft shadows.
        stage: what to show.
        size: side of the picture in pixels.
        backdrop: sRGB of what is behind everything.
    """
    scene = _Scene(stage, size)
    axes = stage.camera.world_from_camera[:3, :3].astype(np.float32)
    origin = stage.camera.world_from_camera[:3, 3].astype(np.float32)
    directions = stage.camera.rays(size, size)[1].astype(np.float32)
    sun = axes @ np.array([-0.5, 0.8, 0.65], np.float32) + rng.normal(0, 0.12, 3).astype(np.float32)
    sun[1] = max(sun[1], 0.45 * float(np.linalg.norm(sun)))
    sun /= np.linalg.norm(sun)

    seen = scene.see(origin, directions)
    direct, ambient = _shadow(rng, scene, seen, sun, size)
    behind = backdrop.reshape(-1, 3).astype(np.float32)
    color = _lit(seen, directions, sun, direct, ambient, behind)

    # Pixels on an edge are the mean of four rays.
    edge = np.flatnonzero(_is_edge(seen, size))
    offsets = (np.array(_SUBPIXELS, np.float32) * np.float32(scene.pixel)) @ axes[:, :2].T
    moved = np.ascontiguousarray((directions[edge] + offsets[:, None]).reshape(-1, 3))
    four = np.tile(edge, len(offsets))
    parts = _lit(scene.see(origin, moved), moved, sun, direct[four], ambient[four], behind[four])
    color[edge] = parts.reshape(len(offsets), len(edge), 3).mean(0)

    depth = seen.depth.reshape(size, size)
    piece = seen.piece.reshape(size, size)
    on_object = (piece >= 0) & (piece < stage.n_objects)
    ink = outlines(depth, on_object)
    is_dark = np.array([p.look.first.max() < 0.3 > p.look.second.max() for p in stage.pieces])
    image = _inked(color.reshape(size, size, 3), ink, on_object & is_dark[piece])
    return Rendered(np.clip(image, 0, 1), depth, piece)


def _lit(
    seen: _Seen,
    directions: Colors,
    sun: Float32[np.ndarray, "3"],
    direct: Scalars,
    ambient: Scalars,
    behind: Colors,
) -> Colors:
    """Colours of rays: what is behind where they meet nothing."""
    facing = seen.normal @ sun
    sunlight = np.clip(0.8 * facing + 0.2, 0, 1) * direct
    sky = (0.56 + 0.1 * seen.normal[:, 1]) * (0.35 + 0.65 * ambient)
    half = _unit(sun - _unit(directions))
    light = sky + 0.5 * sunlight
    color = seen.albedo * light[:, None]
    shiny = seen.gloss > 0
    shine = np.clip(_dot(seen.normal[shiny], half[shiny]), 0, 1) ** 40
    color[shiny] += (seen.gloss[shiny] * shine * direct[shiny])[:, None]
    return np.where((seen.piece >= 0)[:, None], color, behind)


def _inked(
    color: Float32[np.ndarray, "H W 3"], ink: Grid, is_dark: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W 3"]:
    """Outlines: dark ones, and light ones on objects that are nearly black."""
    strength = (0.5 * ink + 0.5 * box_blur(ink, 1))[..., None]
    return np.where(is_dark[..., None], color + 0.3 * strength, color * (1 - 0.72 * strength))
