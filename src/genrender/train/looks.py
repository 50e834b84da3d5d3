"""How surfaces of the training world look: patterns between two colours, fixed to the object at rest."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from genrender.scene.primitives import rotation_about
from genrender.train.vocabulary import COLORS


@dataclass(frozen=True)
class Look:
    """How a surface is painted: a pattern between two colours (sRGB), placed in rest space."""

    pattern: str
    first: Float64[np.ndarray, "3"]
    second: Float64[np.ndarray, "3"]
    rotation: Float64[np.ndarray, "3 3"]
    frequency: float
    phase: float


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
        mix = _edge(np.sin(2.5 * np.pi * f * p[:, 1] + phase), 12)
    elif look.pattern == "checkered":
        s = np.sin(2 * np.pi * f * p + phase + 0.4)
        mix = _edge(s[:, 0] * s[:, 1] * np.sign(s[:, 2]), 20)
    elif look.pattern == "spotted":
        q = 1.3 * f * p
        cell = np.floor(q)
        jitter = np.sin(cell @ np.array([12.9898, 78.233, 37.719]) + phase)[:, None] * [0.1, -0.1, 0.08]
        mix = _edge(0.42 - np.linalg.norm(q - cell - 0.5 + jitter, axis=1), 25)
    elif look.pattern == "marble":  # thin veins, where a smooth field crosses zero
        mix = np.exp(-((_ripple(p, 3.2 * f, phase) / 0.2) ** 2))
    elif look.pattern == "wooden":  # fine grain along y, far finer than stripes
        across = 0.8 * p[:, 0] + 0.6 * p[:, 2] + 0.05 * _ripple(p, 3.0, phase)
        mix = 0.75 * (0.5 + 0.5 * np.sin(2 * np.pi * 2.3 * f * across + phase))
    elif look.pattern == "brick":
        height = 1.7 * f * p[:, 1]
        across = 0.85 * f * (p[:, 0] + p[:, 2]) + 0.5 * (np.floor(height) % 2)
        border = np.maximum(np.abs(across % 1 - 0.5) - 0.39, np.abs(height % 1 - 0.5) - 0.31)
        mix = _edge(border, 40)
    else:
        mix = np.zeros(len(p))
    return look.first + (look.second - look.first) * mix[:, None]


def named_color(rng: np.random.Generator, name: str) -> Float64[np.ndarray, "3"]:
    """A colour of the palette, slightly varied."""
    return np.clip(np.array(COLORS[name]) + rng.normal(0, 0.025, 3), 0, 1)


def free_color(rng: np.random.Generator) -> Float64[np.ndarray, "3"]:
    """Any colour."""
    return rng.uniform(0.03, 0.98, 3)


def random_look(rng: np.random.Generator, pattern: str, names: tuple[str, ...], long_axis: int) -> Look:
    """A look with the named colours, or a free one: free in its colours, direction, width and place.

    A named look is nearly the same on every object: bands of one width around the body that begin in its
    middle. What prompt and depth determine is learned as fast as a silhouette; where a pattern may begin
    anywhere, chance has to decide that for the whole object, which took more pictures than two cores can
    learn from. Free looks keep the variety that only attention can carry.

    Args:
        rng: source of chance.
        pattern: one of `LOOKS`.
        names: colours that the caption names; none for a free look.
        long_axis: along which axis of rest space the object is longest; bands follow each other along it.
    """
    if names:
        first = named_color(rng, names[0])
        second = named_color(rng, names[-1])
    else:
        first, second = free_color(rng), free_color(rng)
        while np.abs(first - second).sum() < 0.7:
            second = free_color(rng)
        if pattern == "wooden" and rng.random() < 0.5:
            first, second = named_color(rng, "brown"), named_color(rng, "beige") * rng.uniform(0.7, 1.0)
        if pattern == "brick" and rng.random() < 0.5:
            first, second = np.array([0.65, 0.27, 0.2]) + rng.normal(0, 0.03, 3), named_color(rng, "beige")
    axis, tilt_rad, frequency, phase = long_axis, rng.normal(0, 0.03), 2.5, 0.6
    if not names:
        axis = int(rng.choice(3, p=[0.2, 0.6, 0.2]))
        tilt_rad = rng.normal(0, 0.2) if rng.random() < 0.85 else rng.uniform(0, np.pi)
        # Narrower bands than these blur in the latents, and of wider ones objects would show too few.
        frequency, phase = rng.uniform(2.1, 3.4), rng.uniform(0, 2 * np.pi)
    along = np.roll(np.eye(3), 1 - axis, axis=0)  # row 1, the direction of bands, points along the axis
    tilt = rotation_about(rng.normal(size=3), tilt_rad)
    return Look(pattern, first, np.clip(second, 0, 1), along @ tilt, frequency, phase)
