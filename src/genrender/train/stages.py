"""Where the objects of a training picture stand: alone before a backdrop, or on a stage with a ground."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64

from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import MeshPart, merge
from genrender.train.looks import Look
from genrender.train.objects import Prop

# The ground reaches so far that its end lies a tenth of a pixel below the horizon.
GROUND_RADIUS = 3000.0


@dataclass(frozen=True)
class Piece:
    """A mesh in place. Objects are painted where their look lies, ground and walls in the world's axes."""

    prop: Prop
    look: Look
    verts: Float64[np.ndarray, "V 3"]
    is_object: bool = True


@dataclass(frozen=True)
class Stage:
    """All pieces in place, objects first, and the camera that sees them."""

    pieces: tuple[Piece, ...]
    camera: Camera

    @property
    def n_objects(self) -> int:
        return sum(piece.is_object for piece in self.pieces)


def view_axes(azimuth: float, elevation_rad: float) -> Float64[np.ndarray, "3 3"]:
    """Right, up and back of a camera that looks at the origin from there, as columns."""
    flat = np.cos(elevation_rad)
    eye = np.array([np.sin(azimuth) * flat, np.sin(elevation_rad), np.cos(azimuth) * flat])
    return Camera.look_at(eye, np.zeros(3)).world_from_camera[:3, :3]


def view_upright(camera: Camera) -> Float64[np.ndarray, "3 3"]:
    """The camera's right, the world's up and the level direction towards the camera, as columns."""
    up = np.array([0.0, 1.0, 0.0])
    right = camera.world_from_camera[:3, 0] * [1.0, 0.0, 1.0]
    right /= np.linalg.norm(right)
    return np.stack([right, up, np.cross(right, up)], axis=1)


def _framed(
    rng: np.random.Generator,
    verts: Float[np.ndarray, "V 3"],
    axes: Float[np.ndarray, "3 3"],
    share: float,
    yfov: float,
    drift: float,
) -> Camera:
    """A camera along `axes` in which the vertices fill a share of the picture, `drift` off its middle."""
    center = (verts.max(0) + verts.min(0)) / 2
    local = (verts - center) @ axes
    tan = np.tan(np.deg2rad(yfov) / 2)
    extent = np.abs(local[:, :2]).max(axis=1)
    distance = float((extent / (tan * share) + local[:, 2]).max())
    room = tan * distance * drift
    shift = axes[:, 0] * rng.uniform(-room, room) + axes[:, 1] * rng.uniform(-room, room)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = axes
    world_from_camera[:3, 3] = center + shift + axes[:, 2] * distance
    return Camera(world_from_camera, yfov)


def sheet(rng: np.random.Generator, made: list[tuple[Prop, Look]]) -> Stage:
    """Objects side by side in cells that face the camera, in front of nothing.

    They mostly fill nearly all of the picture: on a small object a pattern is finer than latent pixels and
    cannot be learned.
    """
    axes = view_axes(rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(-8, 45)))
    centers = [(prop.posed.max(0) + prop.posed.min(0)) / 2 for prop, _ in made]
    size = max(float(np.linalg.norm(np.ptp(prop.posed, axis=0))) for prop, _ in made)
    size *= rng.uniform(0.75, 0.95)
    columns = 2 if len(made) != 3 or rng.random() < 0.4 else 3
    pieces = []
    for i, (prop, look) in enumerate(made):
        offset = axes[:, 0] * (i % columns) * size - axes[:, 1] * (i // columns) * size
        pieces.append(Piece(prop, look, prop.posed - centers[i] + offset))
    share = rng.uniform(0.35, 0.7) if rng.random() < 0.1 else rng.uniform(0.72, 0.98)
    verts = np.concatenate([piece.verts for piece in pieces])
    camera = _framed(rng, verts, axes, share, rng.uniform(25, 55), 0.8 * max(0.0, 1 - share))
    return Stage(tuple(pieces), camera)


def stand_on_ground(rng: np.random.Generator, made: list[tuple[Prop, Look]]) -> Stage:
    """Objects on y = 0, near and far, seen from low or high; some are cut off by the frame.

    The first stands in the middle, the others beside, behind or before it, none inside another.
    """
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = rng.uniform(2, 16) if rng.random() < 0.6 else rng.uniform(16, 48)
    axes = view_axes(azimuth, np.deg2rad(elevation))
    right, back = axes[:, 0], np.cross(axes[:, 0], [0.0, 1.0, 0.0])
    placed: list[Piece] = []
    taken: list[tuple[Float64[np.ndarray, "3"], float]] = []
    # The frame may be filled by the first alone: what is beside it is cut off, what is behind it small.
    is_mixed = len({id(prop.rest) for prop, _ in made}) > 1
    fills_frame = is_mixed and rng.random() < 0.3
    for index, (prop, look) in enumerate(made):
        low, high = prop.posed.min(0), prop.posed.max(0)
        base = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
        radius = float(np.hypot(high[0] - low[0], high[2] - low[2]) / 2)
        spot = np.zeros(3)
        for attempt in range(12 if index else 0):
            reach = (taken[0][1] + radius) * rng.uniform(0.85, 1.3) + 0.1 * attempt
            side = rng.choice([-1.0, 1.0])
            deep = -rng.uniform(0.8, 2.5) if fills_frame and rng.random() < 0.6 else rng.uniform(-0.5, 0.4)
            spot = right * side * reach + back * deep
            if all(np.linalg.norm(spot - other) > 0.8 * (radius + own) for other, own in taken):
                break
        taken.append((spot, radius))
        placed.append(Piece(prop, look, prop.posed - base + spot))
    seen = placed[:1] if fills_frame else placed
    verts = np.concatenate([piece.verts for piece in seen])
    share = rng.uniform(0.5, 0.75) if fills_frame or rng.random() < 0.15 else rng.uniform(0.8, 1.1)
    camera = _framed(rng, verts, axes, share, rng.uniform(28, 60), 0.16)
    eye = camera.world_from_camera.copy()
    eye[1, 3] = max(eye[1, 3], 0.12)  # never below the ground
    return Stage(tuple(placed), replace(camera, world_from_camera=eye))


def _slab(corners: list[tuple[float, float, float]]) -> MeshPart:
    uvs = np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])
    return MeshPart(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]), uvs)


def ground(look: Look) -> Piece:
    """The ground plane, to the horizon."""
    r = GROUND_RADIUS
    part = _slab([(-r, 0, -r), (-r, 0, r), (r, 0, r), (r, 0, -r)])
    return Piece(Prop(part.verts, part.verts, part.tris), look, part.verts, is_object=False)


def walls(rng: np.random.Generator, stage: Stage, look: Look) -> Piece:
    """A wall behind the objects, square to the view or turned a little, or the corner of a room."""
    verts = np.concatenate([piece.verts for piece in stage.pieces if piece.is_object])
    axes = stage.camera.world_from_camera[:3, :3]
    right, back = axes[:, 0], np.cross(axes[:, 0], [0.0, 1.0, 0.0])
    depth = float(-(verts @ back).min()) + rng.uniform(0.1, 3.0)
    up = np.array([0.0, 60.0, 0.0])
    panels = []
    turns = [rng.normal(0, 0.25)]
    if rng.random() < 0.4:  # a corner: two walls that meet at a right angle
        turn = rng.uniform(0.3, 1.25)
        turns = [turn, turn - np.pi / 2]
    corner = -back * depth + right * (rng.uniform(-0.8, 0.8) if len(turns) == 2 else 0.0)
    for turn in turns:
        along = right * np.cos(turn) + back * np.sin(turn)
        start = corner - along * 60 if len(turns) == 1 or turn < 0 else corner
        end = corner + along * 60 if len(turns) == 1 or turn > 0 else corner
        points = (start, end, end + up, start + up)
        panels.append(_slab([(float(x), float(y), float(z)) for x, y, z in points]))
    part = merge(panels)
    return Piece(Prop(part.verts, part.verts, part.tris), look, part.verts, is_object=False)
