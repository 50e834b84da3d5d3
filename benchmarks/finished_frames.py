"""What works on finished frames, on clips of known light: flicker taken out, sharpness and light kept.

    python benchmarks/finished_frames.py [--size 160] [--frames 20] [--lights fade lamp]
    python benchmarks/finished_frames.py --variants before lock --pictures OUT

The clips, their lights and the two kinds of flicker are told in `painted_clips.py`. A variant is an entry in
`VARIANTS`: a function from frames and the clip's tracker to frames.

| column | meaning |
|---|---|
| error 1, 4, first | surface error so many frames apart, or to the first; light alone makes that of `clean` |
| low, high | the error between neighbours, in the two bands of `genrender evaluate` |
| sharp | sharpness relative to the clean clip |
| light | share of the known change of light that survives: 1 all of it, 0 it is frozen |
| PSNR, ends | against the clean clip, inside the silhouettes, in dB; ends: the first and last two frames |
| clean: PSNR, sharp, light | what is done to the clip without flicker, which should be left alone |
| ms | per frame |

Light is measured in the difference of two clips with the same flicker, one under the light that changes and
one under a steady one: flicker cancels out.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from painted_clips import LIGHTS, STEADY, FlickerKind, PaintedClip, PaintedScene
from PIL import Image
from shared import new_parser

from genrender.gbuffer.preview import to_picture
from genrender.injection.keyframes import covering_frames
from genrender.metrics.light import surviving_light
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_errors
from genrender.surface.light import LightConfig
from genrender.surface.lock import MAX_VIEWS, LockConfig, SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings
from genrender.surface.tracking import SurfaceTracker

# From finished frames "F H W 3" and the clip's geometry to frames.
Variant = Callable[[np.ndarray, SurfaceTracker], Iterable[np.ndarray]]


def lock(
    strength: float = 1.0, n_views: int = MAX_VIEWS, power: float = LockConfig.power, **light: Any
) -> Variant:
    def locked(frames: np.ndarray, tracker: SurfaceTracker) -> Iterable[np.ndarray]:
        views = covering_frames(tracker.gbuffers, n_views, seed=0)
        config = LockConfig(power=power, light=replace(LightConfig(), **light))
        made = SurfaceLock(GeometrySightings(tracker), {view: frames[view] for view in views}, config)
        return locked_frames(frames, made, strength)

    return locked


VARIANTS: dict[str, Variant] = {
    "before": lambda frames, _: frames,
    "lock": lock(),
    "lock 0.5": lock(0.5),
    "lock, 4 views": lock(n_views=4),
    "lock, power 4": lock(power=4.0),
    "lock, radius 1/24": lock(radius=1 / 24),
    "lock, radius 1/6": lock(radius=1 / 6),
    "lock, edge 0.2": lock(edge=0.2),
    "lock, edge 0.03": lock(edge=0.03),
    "lock, light alone": lock(frames=0),
    "lock, 4 frames": lock(frames=4),
    "lock, tolerance 0.1": lock(tolerance=0.1),
    "lock, tolerance 0.4": lock(tolerance=0.4),
}
SHORT = ("before", "lock", "lock, light alone")

# The columns of figures, and with how many digits.
COLUMNS = {
    "error 1": 4,
    "error 4": 4,
    "error first": 4,
    "low": 4,
    "high": 4,
    "sharp": 2,
    "light": 2,
    "PSNR": 1,
    "ends": 1,
    "clean: PSNR": 1,
    "clean: sharp": 2,
    "clean: light": 2,
    "ms": 0,
}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--flicker", type=float, default=1.0, help="factor of all that flickers")
    parser.add_argument("--lights", nargs="+", default=list(LIGHTS), choices=list(LIGHTS))
    parser.add_argument("--kinds", nargs="+", default=get_args(FlickerKind), choices=get_args(FlickerKind))
    parser.add_argument("--variants", nargs="+", default=list(SHORT), choices=list(VARIANTS))
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write every clip's frames here")
    args = parser.parse_args()

    scene = PaintedScene(args.frames, args.size)
    painted = scene.paint([name for name in args.lights if name != STEADY], args.flicker)
    steady = {name: Outcome.of(name, scene, painted[STEADY], args.kinds) for name in args.variants}
    rows: list[dict[str, Any]] = []
    for light in args.lights:
        clip = painted[light]
        made = {name: Outcome.of(name, scene, clip, args.kinds) for name in args.variants}
        for kind in args.kinds:
            if not args.json:
                print_header(light, kind, scene, clip)
            for name in args.variants:
                figures = measure(scene, clip, kind, made[name], steady[name])
                rows.append({"clip": light, "flicker": kind, "variant": name, **finite(figures)})
                if not args.json:
                    print_row(name, figures)
            if args.pictures is not None:
                outs = {name: made[name].flickering[kind] for name in args.variants}
                write_strips(args.pictures / f"{light}-{kind}", {"clean": clip.clean, **outs})
    if args.json:
        print(json.dumps(rows, indent=2))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a variant makes of a clip.

    Attributes:
        clean: of the clip without flicker.
        flickering: of those with it.
        ms: per frame.
    """

    clean: np.ndarray
    flickering: dict[FlickerKind, np.ndarray]
    ms: float

    @classmethod
    def of(cls, name: str, scene: PaintedScene, clip: PaintedClip, kinds: Sequence[FlickerKind]) -> "Outcome":
        started = time.perf_counter()
        clean, *flickering = (
            np.stack(list(VARIANTS[name](frames, scene.tracker)))
            for frames in (clip.clean, *(clip.flickering[kind] for kind in kinds))
        )
        seconds = (time.perf_counter() - started) / ((1 + len(kinds)) * scene.n_frames)
        return cls(clean, dict(zip(kinds, flickering, strict=True)), 1000 * seconds)


def measure(
    scene: PaintedScene, clip: PaintedClip, kind: FlickerKind, made: Outcome, steady: Outcome
) -> dict[str, float]:
    def relative_sharpness(frames: np.ndarray) -> float:
        return sharpness(frames, scene.gbuffers) / sharpness(clip.clean, scene.gbuffers)

    def light_left(lit: np.ndarray, unlit: np.ndarray) -> float:
        return surviving_light(lit - unlit, clip.light, scene.tracker) if clip.light.any() else float("nan")

    inside, out, ends = scene.inside, made.flickering[kind], [0, 1, -2, -1]
    figures = errors_of(scene, out) | {
        "sharp": relative_sharpness(out),
        "light": light_left(out, steady.flickering[kind]),
        "clean: PSNR": psnr(made.clean[inside], clip.clean[inside]),
        "clean: sharp": relative_sharpness(made.clean),
        "clean: light": light_left(made.clean, steady.clean),
        "ms": made.ms,
    }
    if kind == "noise":  # patterns of a frame's own have nothing to be equal to
        figures["PSNR"] = psnr(out[inside], clip.clean[inside])
        figures["ends"] = psnr(out[ends][inside[ends]], clip.clean[ends][inside[ends]])
    return {name: float(value) for name, value in figures.items()}


def errors_of(scene: PaintedScene, frames: np.ndarray) -> dict[str, float]:
    nearest, distant, first = (surface_errors(frames, scene.tracker, stride) for stride in (1, 4, "first"))
    found = {
        "error 1": nearest.surface,
        "error 4": distant.surface,
        "error first": first.surface,
        "low": nearest.low,
        "high": nearest.high,
    }
    return {name: float("nan") if value is None else value for name, value in found.items()}


def finite(figures: dict[str, float]) -> dict[str, float | None]:
    """As JSON has it: what cannot be measured, or has no limit, is null."""
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def print_header(light: str, kind: str, scene: PaintedScene, clip: PaintedClip) -> None:
    print(f"\n{light}, {kind:12s}"[:20].ljust(20), *(f"{name:>{width(name)}s}" for name in COLUMNS))
    print_row("clean", errors_of(scene, clip.clean))


def print_row(name: str, figures: dict[str, float]) -> None:
    cells = [
        f"{figures[column]:{width(column)}.{digits}f}"
        if np.isfinite(figures.get(column, np.nan))
        else f"{'-':>{width(column)}s}"
        for column, digits in COLUMNS.items()
    ]
    print(f"{name:20s}", *cells, flush=True)


def width(column: str) -> int:
    return max(len(column), 6)


def write_strips(folder: Path, strips: dict[str, np.ndarray]) -> None:
    """The frames of each variant side by side, at their full size."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in strips.items():
        pictures = [to_picture(frame) for frame in frames]
        Image.fromarray(np.concatenate(pictures, axis=1)).save(folder / f"{name}.png")


def psnr(out: np.ndarray, clean: np.ndarray) -> float:
    error = float(np.mean((out.astype(np.float64) - clean) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


if __name__ == "__main__":
    main()
