"""Clips whose light is known: painted on the surfaces of a small scene, with and without flicker.

A ball turns behind a pillar that slides over a floor, seen from an orbit; waves down to a few pixels' length
are painted on the surfaces, and a light that changes falls on them:

| light | what changes |
|---|---|
| steady | nothing |
| fade | it falls to 65 % from the first to the last frame |
| shadow | the edge of a shadow wanders across besides |
| lamp | a lamp is switched on from one frame to the next, half way |
| walker | somebody walks past behind the scene, and the shadow crosses floor and objects |
| gloss | the ball is glossy: a highlight stays where it is while the surface turns under it |

Flicker is of two kinds. `noise` is added, anew in every frame: of the whole picture (standard deviation
0.02), of blotches as large as a sixth of the picture (0.03) and of single details (0.03). `patterns` are how
a diffusion model flickers: in every frame objects have somewhat other colours, their details lie somewhat
elsewhere, and a quarter of the variance is a pattern that no other frame has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import box, rotation_about, sphere
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.tracking import SurfaceTracker

FlickerKind = Literal["noise", "patterns"]

OVERSAMPLING = 3
BACKGROUND = (0.1, 0.15, 0.3)
BASE_COLOURS = np.array([[0, 0, 0], [0.55, 0.4, 0.35], [0.35, 0.5, 0.6], [0.45, 0.5, 0.4]])
BALL = 1
FLOOR_HEIGHT = -0.85
STEP = 0.04


@dataclass(frozen=True, eq=False)
class Shown:
    """What a picture shows of the world, at a moment from 0 to 1 of the clip."""

    points: np.ndarray
    object_id: np.ndarray
    eye: np.ndarray
    when: float


# How bright surfaces are under a light, as a factor of their colours, and what it adds to them.
Light = Callable[[Shown], tuple[np.ndarray, np.ndarray | float]]


def steady(shown: Shown) -> tuple[np.ndarray, float]:
    return np.ones((*shown.object_id.shape, 1)), 0.0


def fade(shown: Shown) -> tuple[np.ndarray, float]:
    return np.full((*shown.object_id.shape, 1), 1 - 0.35 * shown.when), 0.0


def shadow(shown: Shown) -> tuple[np.ndarray, float]:
    edge = 1.2 * (1.6 * shown.when - 1)
    uncovered = 0.5 + 0.5 * np.clip((shown.points[..., :1] - edge) / 0.08, 0, 1)
    return uncovered * fade(shown)[0], 0.0


def lamp(shown: Shown) -> tuple[np.ndarray, float]:
    distance = np.linalg.norm(shown.points - (1.0, 0.8, 1.2), axis=-1, keepdims=True)
    return 0.6 + (shown.when >= 0.5) * 0.55 / (1 + (distance / 0.9) ** 2), 0.0


def walker(shown: Shown) -> tuple[np.ndarray, float]:
    # From each point towards the light, to the plane in which somebody walks.
    towards_light, plane = np.array([0.25, 0.8, -1.0]), -0.9
    way = (plane - shown.points[..., 2]) / towards_light[2]
    there = shown.points + np.maximum(way, 0)[..., None] * towards_light
    across, up = there[..., 0] - 3.4 * (shown.when - 0.5) - 0.3, there[..., 1] - FLOOR_HEIGHT
    swing = 0.22 * np.sin(2 * np.pi * 3 * shown.when)
    limbs = (
        ((0.0, 0.5), (0.0, 0.82), 0.13),
        ((0.0, 1.06), (0.0, 1.08), 0.1),
        ((0.0, 0.5), (swing, 0.0), 0.06),
        ((0.0, 0.5), (-swing, 0.0), 0.06),
        ((0.0, 0.85), (-swing, 0.5), 0.045),
        ((0.0, 0.85), (swing, 0.5), 0.045),
    )
    distance = np.min([_distance_to_limb(across, up, *limb) for limb in limbs], axis=0)
    return 1 - 0.5 * ((way > 0) * np.clip(0.5 - distance / 0.03, 0, 1))[..., None], 0.0


def gloss(shown: Shown) -> tuple[np.ndarray, np.ndarray]:
    normal = shown.points / np.linalg.norm(shown.points, axis=-1, keepdims=True)  # of the ball
    to_eye = shown.eye - shown.points
    half = to_eye / np.linalg.norm(to_eye, axis=-1, keepdims=True) + np.array([1.3, 0.9, 0.3])
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    shine = 0.5 * np.maximum((normal * half).sum(-1, keepdims=True), 0) ** 60
    return np.ones_like(shine), shine * (shown.object_id == BALL)[..., None]


STEADY = "steady"
LIGHTS: dict[str, Light] = {
    STEADY: steady,
    "fade": fade,
    "shadow": shadow,
    "lamp": lamp,
    "walker": walker,
    "gloss": gloss,
}


@dataclass(frozen=True, eq=False)
class PaintedClip:
    """Frames "F H W 3" in [0, 1] under one light.

    Attributes:
        clean: without flicker.
        light: what the light's change adds to `clean`; in the clip `steady` it is 0.
        flickering: by the kind of flicker.
    """

    clean: np.ndarray
    light: np.ndarray
    flickering: dict[FlickerKind, np.ndarray]


class PaintedScene:
    """The scene's geometry, and its clips.

    Args:
        n_frames: how many.
        size: a picture's side in pixels.
    """

    def __init__(self, n_frames: int, size: int):
        ball = sphere(0.7, segments=60)
        pillar = box((0.35, 1.2, 0.35))
        floor = box((4.0, 0.1, 4.0)).moved((0.0, FLOOR_HEIGHT - 0.05, 0.0))
        parts = (ball, pillar, floor)
        starts = np.cumsum([0] + [len(part.verts) for part in parts])
        self.size, self.n_frames = size, n_frames
        self.tris = np.concatenate(
            [part.tris + start for part, start in zip(parts, starts, strict=False)]
        ).astype(np.int32)
        self.uvs = np.concatenate([part.uvs[part.tris] for part in parts]).astype(np.float32)
        self.object_id = np.repeat([1, 2, 3], [len(part.tris) for part in parts]).astype(np.int32)
        self.verts: list[np.ndarray] = []
        self.cameras: list[Camera] = []
        for frame in range(n_frames):
            turned = ball.turned(rotation_about([0.0, 1.0, 0.0], 1.5 * STEP * frame)).verts
            slid = pillar.moved((-0.3 + STEP * frame, 0.0, 0.9)).verts
            self.verts.append(np.concatenate([turned, slid, floor.verts]).astype(np.float32))
            angle = 0.5 * STEP * frame
            self.cameras.append(
                Camera.look_at(np.array([3 * np.sin(angle), 0.8, 3 * np.cos(angle)]), np.zeros(3))
            )
        self.gbuffers = [self._render(frame, size) for frame in range(n_frames)]
        self.inside = np.stack([erode(gbuffer.visible, EROSION_PX) for gbuffer in self.gbuffers])

    @cached_property
    def tracker(self) -> SurfaceTracker:
        return SurfaceTracker(self.gbuffers, self.tris, self.verts, self.cameras)

    def paint(self, lights: list[str], flicker: float = 1.0) -> dict[str, PaintedClip]:
        """A clip under each light, and under the steady one.

        Args:
            lights: names in `LIGHTS`.
            flicker: factor of all that flickers.
        """
        clips: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in (STEADY, *lights)}
        for frame in range(self.n_frames):
            fine = self._render(frame, OVERSAMPLING * self.size)
            points = self._points(fine, 0)
            common = _albedo(points, fine.object_id)
            own = _albedo_of_frame(points, fine.object_id, frame, flicker)
            when = frame / max(self.n_frames - 1, 1)
            shown = Shown(
                self._points(fine, frame), fine.object_id, self.cameras[frame].world_from_camera[:3, 3], when
            )
            noise = flicker * self._noise(frame)
            for name, frames in clips.items():
                factor, added = LIGHTS[name](shown)
                lit, redrawn = (self._picture(fine, albedo * factor + added) for albedo in (common, own))
                frames.append((lit, np.clip(lit + noise, 0, 1), redrawn))
        painted: dict[str, PaintedClip] = {}
        for name, frames in clips.items():
            clean, noisy, redrawn = (np.stack(each).astype(np.float32) for each in zip(*frames, strict=True))
            unchanged = painted[STEADY].clean if name != STEADY else clean
            painted[name] = PaintedClip(clean, clean - unchanged, {"noise": noisy, "patterns": redrawn})
        return painted

    def _render(self, frame: int, size: int) -> GBuffer:
        return render_gbuffer(
            self.verts[frame], self.tris, self.uvs, self.object_id, self.cameras[frame], size, size
        )

    def _points(self, gbuffer: GBuffer, frame: int) -> np.ndarray:
        """Where the surface points of a G-buffer lie in another frame's world."""
        weights = np.concatenate([1 - gbuffer.bary.sum(axis=-1, keepdims=True), gbuffer.bary], axis=-1)
        corners = self.verts[frame][self.tris[gbuffer.tri_id]]
        return np.einsum("hwk,hwkc->hwc", weights.astype(np.float64), corners.astype(np.float64))

    def _picture(self, fine: GBuffer, colours: np.ndarray) -> np.ndarray:
        picture = np.where(fine.visible[..., None], np.clip(colours, 0, 1), BACKGROUND)
        return picture.reshape(self.size, OVERSAMPLING, self.size, OVERSAMPLING, 3).mean(axis=(1, 3))

    def _noise(self, frame: int) -> np.ndarray:
        """What is added to a frame without a reason; 0 on the background."""
        rng = np.random.default_rng((5, frame))
        noise = np.full((self.size, self.size, 3), 0.02 * rng.normal())
        for radius_px in (self.size // 20, 1):
            blurred = _blur(rng.normal(size=noise.shape), radius_px)
            noise += 0.03 * blurred / blurred.std()
        return np.where(self.gbuffers[frame].visible[..., None], noise, 0)


def _albedo(points: np.ndarray, object_id: np.ndarray) -> np.ndarray:
    return np.clip(BASE_COLOURS[object_id] + 0.22 * _waves(points), 0.02, 0.98)


def _albedo_of_frame(points: np.ndarray, object_id: np.ndarray, frame: int, flicker: float) -> np.ndarray:
    """As if the frame had been painted by itself: other colours, details elsewhere, a pattern of its own."""
    rng = np.random.default_rng((6, frame))
    colours = BASE_COLOURS + 0.04 * flicker * rng.normal(size=BASE_COLOURS.shape)
    bent = points + 0.03 * flicker * np.sin(3 * points[..., [1, 2, 0]] + rng.uniform(0, 2 * np.pi, 3))
    share = min(0.5 * flicker, 1)
    pattern = (1 - share**2) ** 0.5 * _waves(bent) + share * _waves(points, seed=100 + frame)
    return np.clip(colours[object_id] + 0.22 * pattern, 0.02, 0.98)


def _waves(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """Waves through space, three directions each of five lengths; the colours' mean is about 0."""
    rng = np.random.default_rng(seed)
    total = np.zeros(points.shape)
    for frequency in (6, 12, 25, 45, 70):
        for _ in range(3):
            direction = rng.normal(size=3)
            phase, height = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.3, 1, 3) / np.sqrt(frequency)
            along = points @ (direction / np.linalg.norm(direction))
            total += height * np.sin(frequency * along[..., None] + phase)
    return total


def _distance_to_limb(
    x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float], radius: float
) -> np.ndarray:
    """How far points lie outside of a line with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy) - radius


def _blur(picture: np.ndarray, radius_px: int) -> np.ndarray:
    """Two moving averages along each axis, around the picture's borders."""
    for axis in (0, 0, 1, 1):
        picture = np.mean([np.roll(picture, k, axis) for k in range(-radius_px, radius_px + 1)], axis=0)
    return picture
