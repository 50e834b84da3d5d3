"""How surfaces of the training world look: patterns between two colours.

Patterns are flat: each part of a surface is painted as seen along that axis of the pattern's space which it
faces most, as with a projector from six sides. So checks are squares and spots are discs on every limb, which
a pattern in space that a surface cuts through is not. The space of a free look is the object at rest; that of
a named one is the object as it stands, turned towards the camera, so that the depth picture gives the
pattern's place away without class, heading and pose. All sizes are in units in which objects at rest are
`OBJECT_SIZE` long; an object that fills a picture of 256 pixels has some 150 pixels a unit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from genrender.scene.procedural.primitives import rotation_about
from genrender.train.vocabulary import COLORS

OBJECT_SIZE = 1.3
# Distance in RGB of the two colours of most patterns.
CONTRAST = 0.6
GLOSSY_LOOKS = ("plain", "marble")

Plane = Float32[np.ndarray, "N"]


@dataclass(frozen=True)
class Look:
    """How a surface is painted: a pattern between two colours (sRGB), and where it lies.

    Attributes:
        pattern: one of `LOOKS`.
        first: main colour.
        second: the pattern's other colour.
        rotation: from the object's axes to the pattern's, in which stripes follow each other along y.
        scale: size of the pattern, 1 for a named one.
        phase: where it begins, in periods; 0.5 is the object's centre.
        gloss: strength of highlights.
        as_it_stands: whether the pattern lies on the posed object as the camera sees it (x to the right, y
            up, z towards the camera), instead of on the object at rest.
    """

    pattern: str
    first: Float64[np.ndarray, "3"]
    second: Float64[np.ndarray, "3"]
    rotation: Float64[np.ndarray, "3 3"]
    scale: float = 1.0
    phase: float = 0.5
    gloss: float = 0.0
    as_it_stands: bool = False


def _bands(x: Plane, period: float) -> Plane:
    """Signed distance to bands of half a period: positive in the second colour."""
    return (np.abs(x / period % 1 - 0.5) - 0.25) * period


def _hash(a: Plane, b: Plane) -> Plane:
    """A number in [0, 1) for each pair of whole numbers."""
    return np.sin(a * 12.9898 + b * 78.233) * np.float32(437.585) % 1


def _checkered(u: Plane, v: Plane) -> Plane:
    a, b = _bands(u + 0.075, 0.34), _bands(v + 0.075, 0.34)
    return np.sign(a * b) * np.minimum(np.abs(a), np.abs(b))


def _spotted(u: Plane, v: Plane) -> Plane:
    side = 0.21
    row = np.floor(v / (0.87 * side))
    along = (u / side + 0.5 * (row % 2)) % 1 - 0.5
    return 0.32 * side - np.hypot(along * side, v - (row + 0.5) * 0.87 * side)


def _brick(u: Plane, v: Plane) -> Plane:
    height, width, mortar = 0.17, 0.36, 0.036
    row = np.floor(v / height)
    to_side = (0.5 - np.abs((u / width + 0.5 * (row % 2)) % 1 - 0.5)) * width
    to_row = (0.5 - np.abs(v / height % 1 - 0.5)) * height
    return mortar / 2 - np.minimum(to_side, to_row)


def _wooden(u: Plane, v: Plane) -> Plane:
    """Planks along y with oval rings that are dark on one side and soft on the other."""
    plank_width = 0.4
    plank = np.floor(u / plank_width + 0.5)
    across = u - plank * plank_width
    ring = np.sqrt((across / 0.2) ** 2 + ((v + 0.5 * _hash(plank, plank)) / 0.55) ** 2 + 0.04)
    grain = (ring / 0.42 % 1) ** 2 * 0.11 - 0.05
    return np.maximum(grain, 0.016 - (0.5 * plank_width - np.abs(across)))


def _scaly(u: Plane, v: Plane) -> Plane:
    """Round scales in staggered rows, the upper ones over the lower ones, with an outline."""
    width = 0.24
    radius, height = 0.56 * width, 0.36 * width
    distance = np.full_like(v, np.inf)
    top = np.floor((v + radius) / height)
    for below in range(4):
        row = top - below
        along = ((u / width + 0.5 * (row % 2)) % 1 - 0.5) * width
        own = np.hypot(along, v - row * height)
        distance = np.where(np.isfinite(distance) | (own > radius), distance, own)
    return np.where(np.isfinite(distance), distance, radius) - (radius - 0.042)


def _furry(u: Plane, v: Plane) -> Plane:
    """Tapered strokes that point down, side by side and overlapping."""
    width, length = 0.08, 0.24
    result = np.full_like(v, -1.0)
    for layer in (0.0, 0.35, 0.7):
        column = np.floor(u / width + layer)
        t = v / length + _hash(column, np.full_like(column, 3 + layer))
        row = np.floor(t)
        sway = 0.25 * width * (2 * _hash(row, column) - 1) * (1 - t % 1)
        across = (u / width + layer - column - 0.5) * width - sway
        result = np.maximum(result, 0.34 * width * (t % 1) - np.abs(across))
    return result


_FLAT: dict[str, Callable[[Plane, Plane], Plane]] = {
    "checkered": _checkered,
    "spotted": _spotted,
    "brick": _brick,
    "wooden": _wooden,
    "scaly": _scaly,
    "furry": _furry,
}


def _field(p: Float32[np.ndarray, "N 3"], phase: float) -> Plane:
    """Smooth noise: a few sine waves that cross each other."""
    axes = np.array([[0.8, 0.5, 0.33], [-0.4, 0.9, 0.2], [0.3, -0.25, 0.92]], np.float32)
    a, b, c = (p @ axes.T).T
    wave = np.sin(9 * a + 2 * np.sin(5 * b + phase) + np.sin(11 * c))
    return 0.6 * wave + 0.4 * np.sin(13 * c + 6 * b + 1.5 * wave + phase)


def _marble(p: Float32[np.ndarray, "N 3"], phase: float) -> Plane:
    """Veins of one width, where a smooth field crosses zero."""
    value = _field(p, phase)
    slope = np.zeros_like(value)
    for step in 0.01 * np.eye(3, dtype=np.float32):
        slope += np.square((_field(p + step, phase) - value) / 0.01)
    return 0.024 - np.abs(value) / np.sqrt(np.maximum(slope, 4))


def paint(
    look: Look,
    points: Float32[np.ndarray, "N 3"],
    normal: Float32[np.ndarray, "N 3"],
    footprint: Float32[np.ndarray, "N"],
) -> Float32[np.ndarray, "N 3"]:
    """Albedo (sRGB) at points in the space that the look lies in.

    Args:
        look: what to paint.
        points: relative to the object's centre.
        normal: unit normals there.
        footprint: side of a pixel there, in the same units; finer patterns fade to their mean.
    """
    first, second = look.first.astype(np.float32), look.second.astype(np.float32)
    if look.pattern == "plain":
        return np.broadcast_to(first, points.shape)
    rotation = look.rotation.astype(np.float32)
    p = points @ rotation.T / np.float32(look.scale)
    p[:, 1] += np.float32((look.phase - 0.5) * 0.3)
    if look.pattern == "marble":
        signed = _marble(p, look.phase)
    elif look.pattern == "striped":
        signed = _bands(p[:, 1], 0.3)
    else:
        facing = np.abs(normal @ rotation.T).argmax(axis=1)
        u = np.where(facing == 0, p[:, 2], p[:, 0])
        v = np.where(facing == 1, p[:, 2], p[:, 1])
        signed = _FLAT[look.pattern](u, v)
    soft = footprint / np.float32(look.scale)
    mix = np.clip(signed / np.maximum(soft, 0.008) + 0.5, 0, 1)
    if look.pattern == "wooden":
        mix = np.clip(signed / 0.1 + 0.5, 0, 1) * 0.85
    fade = np.clip(soft / 0.1 - 1, 0, 1)
    mix = mix + (0.4 - mix) * fade
    return first + (second - first) * mix[:, None]


def named_color(rng: np.random.Generator, name: str) -> Float64[np.ndarray, "3"]:
    """A colour of the palette, slightly varied."""
    return np.clip(np.array(COLORS[name]) + rng.normal(0, 0.02, 3), 0, 1)


def choose_colors(rng: np.random.Generator, pattern: str) -> tuple[str, ...]:
    """One colour of the palette, two that contrast for a pattern."""
    names = list(COLORS)
    first = names[int(rng.integers(len(names)))]
    if pattern == "plain":
        return (first,)
    distant = [o for o in names if np.linalg.norm(np.subtract(COLORS[o], COLORS[first])) > CONTRAST]
    return first, distant[int(rng.integers(len(distant)))]


def random_look(
    rng: np.random.Generator,
    pattern: str,
    names: tuple[str, ...],
    axis: Int[np.ndarray, "3"] | Float[np.ndarray, "3"],
    glossy: bool = False,
) -> Look:
    """A look in the named colours, or a free one: free in its colours, direction, size and place.

    A named look is the same on every object: of one size and upright, and it begins in the middle of the
    object as it stands. What prompt and depth determine is learned as fast as a silhouette; where a pattern
    may begin anywhere, or where only heading and pose tell its place, chance has to decide that for the
    whole object, which took more pictures than two cores can learn from. Free looks keep
    the variety that only attention can carry, in colours as clean as the named ones.

    Args:
        rng: source of chance.
        pattern: one of `LOOKS`.
        names: colours that the caption names; none for a free look.
        axis: direction in rest space along which a free look's stripes follow each other and wood grows.
        glossy: whether the object shines where its look allows that.
    """
    is_free = not names
    names = names or choose_colors(rng, pattern)
    if is_free and pattern == "wooden" and rng.random() < 0.5:
        names = ("beige", "brown") if rng.random() < 0.5 else ("orange", "brown")
    if is_free and pattern == "brick" and rng.random() < 0.5:
        names = ("red", "beige")
    first, second = named_color(rng, names[0]), named_color(rng, names[-1])
    along = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    if not is_free or pattern not in ("striped", "wooden"):  # rows of bricks and scales lie level
        along = np.array([0.0, 1.0, 0.0])
    scale, phase = 1.0, 0.5
    rotation = np.stack([side := _side(along), along, np.cross(side, along)])
    if is_free:
        scale, phase = rng.uniform(0.8, 1.6), rng.uniform(0, 1)
        tilt = rng.normal(0, 0.25) if rng.random() < 0.8 else rng.uniform(0, np.pi)
        rotation = rotation @ rotation_about(rng.normal(size=3), tilt)
    gloss = 0.35 if glossy and pattern in GLOSSY_LOOKS else 0.0
    return Look(pattern, first, second, rotation, float(scale), float(phase), gloss, not is_free)


def _side(along: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """A unit vector across `along`, +X where it can be."""
    across = np.array([1.0, 0.0, 0.0]) if abs(along[0]) < 0.9 else np.array([0.0, 0.0, 1.0])
    across = across - along * (across @ along)
    return across / np.linalg.norm(across)
