"""What the surface stabiliser gains and costs: flicker taken out, sharpness and true light kept.

    python benchmarks/stabiliser.py [--size 160] [--frames 20] [--flicker 1] [--cost-size 512] [--json]

A ball turns behind a pillar that slides over a floor, seen from an orbit; waves down to a few pixels' length
are painted on the surfaces. In the clip `fade` the light falls to 65 % from the first to the last frame; in
`shadow` the edge of a shadow wanders across besides. Flicker is independent from frame to frame: of the whole
picture (standard deviation 0.02), of blotches as large as a sixth of the picture (0.03) and of single details
(0.03).

Error 1 and 4 are surface errors that many frames apart; the clean clip's own are what light alone makes. PSNR
is against the clean clip, inside the silhouettes; "ends" are the first and last two frames. Fine error is the
RMS difference from the clean clip's Laplacian, in 1e-2: both blur and left-over noise add to it. Sharpness is
relative to the clean clip's. The last columns say what the stabiliser does to the clean clip, which it should
leave alone. The cost is measured last, on frames in the middle of a clip.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from shared import new_parser

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_error
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import box, rotation_about, sphere
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.stabiliser import StabiliserConfig, stabilised
from genrender.surface.tracking import SurfaceTracker

OVERSAMPLING = 3
BACKGROUND = (0.1, 0.15, 0.3)
BASE_COLOURS = np.array([[0, 0, 0], [0.55, 0.4, 0.35], [0.35, 0.5, 0.6], [0.45, 0.5, 0.4]])

DEFAULT = StabiliserConfig()
VARIANTS: dict[str, tuple[float, StabiliserConfig]] = {
    "default": (1.0, DEFAULT),
    "strength 0.5": (0.5, DEFAULT),
    "catmull-rom": (1.0, replace(DEFAULT, sampling="catmull-rom")),
    "bilinear": (1.0, replace(DEFAULT, sampling="bilinear")),
    "radius 4, sigma 2": (1.0, replace(DEFAULT, radius=4, sigma_frames=2.0)),
    "radius 8, sigma 4": (1.0, replace(DEFAULT, radius=8, sigma_frames=4.0)),
    "colour 0.2": (1.0, replace(DEFAULT, colour_tolerance=0.2)),
    "colour 0.4": (1.0, replace(DEFAULT, colour_tolerance=0.4)),
    "slope per pixel": (1.0, replace(DEFAULT, slope_radius_px=0)),
}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--flicker", type=float, default=1.0, help="factor on all three kinds")
    parser.add_argument("--cost-size", type=int, default=512)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    args = parser.parse_args()

    scene = Scene(args.frames, args.size)
    rows: list[dict[str, Any]] = []
    for light_name, light in (("fade", fade), ("shadow", shadow)):
        clean = scene.paint(light)
        noisy = np.clip(clean + args.flicker * scene.flicker(), 0, 1).astype(np.float32)
        for name in ("clean", "before", *args.variants):
            if name in VARIANTS:
                out, out_clean = (scene.stabilise(clip, *VARIANTS[name]) for clip in (noisy, clean))
            else:
                out, out_clean = {"clean": clean, "before": noisy}[name], clean
            rows.append({"light": light_name, "name": name, **scene.compare(out, out_clean, clean)})
            if not args.json:
                print_row(rows[-1], with_header=name == "clean")
    cost = measure_cost(args.cost_size)
    if args.json:
        print(json.dumps({"rows": rows, "cost": cost}, indent=2))
        return
    print(
        f"\n{cost['size']}x{cost['size']}, {cost['coverage']:.0%} of the pixels on surfaces, "
        f"{cost['neighbours']} neighbours: {cost['ms']:.0f} ms per frame, of that "
        f"{cost['processor_ms']:.0f} ms of processor time; load average {cost['load_average']}"
    )


def print_row(row: dict[str, Any], with_header: bool) -> None:
    columns = ("error_1", "error_4", "sharpness", "psnr", "psnr_ends", "fine_error")
    clean_columns = ("clean_psnr", "clean_sharpness")
    if with_header:
        names = [f"{name.replace('_', ' '):>10s}" for name in columns] + ["|"]
        print(f"\n{row['light']:18s}", *names, *(f"{name.replace('_', ' '):>15s}" for name in clean_columns))
    cells = [f"{row[name]:10.4f}" if name.startswith("error") else f"{row[name]:10.2f}" for name in columns]
    print(f"{row['name']:18s}", *cells, "|", *(f"{row[name]:15.2f}" for name in clean_columns), flush=True)


def fade(_: np.ndarray, when: float) -> np.ndarray:
    """How much light falls on points at a moment from 0 to 1."""
    return np.array(1 - 0.35 * when)


def shadow(points: np.ndarray, when: float) -> np.ndarray:
    """Likewise: the fade, and a shadow that uncovers the scene from one side."""
    return (0.5 + 0.5 * np.clip((points[..., :1] - 1.2 * (1.6 * when - 1)) / 0.08, 0, 1)) * (1 - 0.35 * when)


class Scene:
    """The test scene's geometry, its painted clips, and what they are compared by."""

    def __init__(self, n_frames: int, size: int):
        step = 0.04
        ball = sphere(0.7, segments=60)
        pillar = box((0.35, 1.2, 0.35))
        floor = box((4.0, 0.1, 4.0)).moved((0.0, -0.9, 0.0))
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
            turned = ball.turned(rotation_about([0.0, 1.0, 0.0], 1.5 * step * frame)).verts
            slid = pillar.moved((-0.3 + step * frame, 0.0, 0.9)).verts
            self.verts.append(np.concatenate([turned, slid, floor.verts]).astype(np.float32))
            angle = 0.5 * step * frame
            self.cameras.append(
                Camera.look_at(np.array([3 * np.sin(angle), 0.8, 3 * np.cos(angle)]), np.zeros(3))
            )
        self.gbuffers = [self.render(frame, size) for frame in range(n_frames)]
        self.inside = np.stack([erode(gbuffer.visible, EROSION_PX) for gbuffer in self.gbuffers])

    @cached_property
    def tracker(self) -> SurfaceTracker:
        return SurfaceTracker(self.gbuffers, self.tris, self.verts, self.cameras)

    def render(self, frame: int, size: int) -> GBuffer:
        return render_gbuffer(
            self.verts[frame], self.tris, self.uvs, self.object_id, self.cameras[frame], size, size
        )

    def points(self, gbuffer: GBuffer, frame: int) -> np.ndarray:
        """Where the surface points of a G-buffer lie in another frame's world."""
        weights = np.concatenate([1 - gbuffer.bary.sum(axis=-1, keepdims=True), gbuffer.bary], axis=-1)
        corners = self.verts[frame][self.tris[gbuffer.tri_id]]
        return np.einsum("hwk,hwkc->hwc", weights.astype(np.float64), corners.astype(np.float64))

    def paint(self, light: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
        """The clean clip: waves painted on the surfaces in the first frame, under a changing light."""
        frames = []
        for frame in range(self.n_frames):
            fine = self.render(frame, OVERSAMPLING * self.size)
            albedo = BASE_COLOURS[fine.object_id] + 0.22 * waves(self.points(fine, 0))
            lit = np.clip(albedo, 0.02, 0.98) * light(
                self.points(fine, frame), frame / max(self.n_frames - 1, 1)
            )
            picture = np.where(fine.visible[..., None], lit, BACKGROUND)
            cells = picture.reshape(self.size, OVERSAMPLING, self.size, OVERSAMPLING, 3)
            frames.append(cells.mean(axis=(1, 3)))
        return np.stack(frames).astype(np.float32)

    def flicker(self) -> np.ndarray:
        """What differs from frame to frame without a reason; 0 on the background."""
        rng = np.random.default_rng(5)
        frames = []
        for gbuffer in self.gbuffers:
            noise = np.full((self.size, self.size, 3), 0.02 * rng.normal())
            for radius_px in (self.size // 20, 1):
                blurred = blur(rng.normal(size=noise.shape), radius_px)
                noise += 0.03 * blurred / blurred.std()
            frames.append(np.where(gbuffer.visible[..., None], noise, 0))
        return np.stack(frames)

    def stabilise(self, frames: np.ndarray, strength: float, config: StabiliserConfig) -> np.ndarray:
        return np.stack(list(stabilised(frames, self.tracker, strength, config)))

    def compare(self, out: np.ndarray, out_clean: np.ndarray, clean: np.ndarray) -> dict[str, float]:
        ends = [0, 1, -2, -1]
        fine = (laplacian(out) - laplacian(clean))[self.inside]
        return {
            "error_1": surface_error(out, self.tracker, stride=1),
            "error_4": surface_error(out, self.tracker, stride=4),
            "sharpness": sharpness(out, self.gbuffers) / sharpness(clean, self.gbuffers),
            "psnr": psnr(out[self.inside], clean[self.inside]),
            "psnr_ends": psnr(out[ends][self.inside[ends]], clean[ends][self.inside[ends]]),
            "fine_error": 100 * float(np.sqrt(np.mean(fine**2))),
            "clean_psnr": psnr(out_clean[self.inside], clean[self.inside]),
            "clean_sharpness": sharpness(out_clean, self.gbuffers) / sharpness(clean, self.gbuffers),
        }


def measure_cost(size: int, n_timed: int = 3) -> dict[str, Any]:
    """Milliseconds per frame in the middle of a clip, where all neighbours exist."""
    radius = DEFAULT.radius
    n_frames = 2 * radius + n_timed
    scene = Scene(n_frames, size)
    picture = np.random.default_rng(0).uniform(0, 1, (size, size, 3)).astype(np.float32)
    wall, processor = [], []
    stream = stabilised([picture] * n_frames, scene.tracker, 1.0)
    for _ in range(radius + n_timed):
        started, used = time.perf_counter(), time.process_time()
        next(stream)
        wall.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - used))
    return {
        "size": size,
        "neighbours": 2 * radius,
        "coverage": float(np.mean([gbuffer.visible.mean() for gbuffer in scene.gbuffers])),
        "ms": float(np.median(wall[radius:])),
        "processor_ms": float(np.median(processor[radius:])),
        "load_average": round(os.getloadavg()[0], 2),
    }


def waves(points: np.ndarray) -> np.ndarray:
    """Waves through space, three directions each of five lengths; the colours' mean is about 0."""
    rng = np.random.default_rng(0)
    total = np.zeros(points.shape)
    for frequency in (6, 12, 25, 45, 70):
        for _ in range(3):
            direction = rng.normal(size=3)
            phase, height = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.3, 1, 3) / np.sqrt(frequency)
            along = points @ (direction / np.linalg.norm(direction))
            total += height * np.sin(frequency * along[..., None] + phase)
    return total


def blur(picture: np.ndarray, radius_px: int) -> np.ndarray:
    """Two moving averages along each axis, around the picture's borders."""
    for axis in (0, 0, 1, 1):
        picture = np.mean([np.roll(picture, k, axis) for k in range(-radius_px, radius_px + 1)], axis=0)
    return picture


def laplacian(frames: np.ndarray) -> np.ndarray:
    padded = np.pad(frames.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return neighbours - 4 * padded[:, 1:-1, 1:-1]


def psnr(out: np.ndarray, clean: np.ndarray) -> float:
    error = float(np.mean((out.astype(np.float64) - clean) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


if __name__ == "__main__":
    main()
