"""What keyframes that stay the same cost against those that every step draws anew.

    python benchmarks/fixed_keyframes.py [--frames 512] [--size 128] [--keyframes 8] [--folder DIR]

makes one clip both ways: `genrender render`, and `--workers 1`, whose keyframes were made first. Both are
measured as they are (lock 0) and locked to the views that each would be locked to (lock 1; here from their
8-bit pictures). Error: mean difference of the same surface points in frames 1 and 8 apart, and to the first;
sharpness: as `genrender evaluate` has it; both in 1e-3. `background` is the error of pixels that show
nothing. With `--folder` runs are kept, and those that are there are not made again.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shared import WALKING_BIPED, new_parser

from genrender.backbones.recipe import Recipe
from genrender.injection.keyframes import covering_frames
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.reuse import is_done
from genrender.jobs.worker import Worker
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_errors
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.folder import RunFolder
from genrender.sampling.appearance import read_appearance
from genrender.shots.clip import ShotConfig
from genrender.storage.run_files import APPEARANCE_FILE
from genrender.surface.lock import MAX_VIEWS, SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings

# Without a number of workers keyframes are drawn anew at every step.
KINDS = {"redrawn": None, "fixed": 1}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", type=Path, default=WALKING_BIPED)
    parser.add_argument("--prompt", default="a red and white striped biped on a green background")
    parser.add_argument("--frames", type=int, default=512)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--preset", choices=("preview", "fast", "balanced"), default="preview")
    parser.add_argument("--keyframes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = {kind: measured(made(args, kind, args.folder or Path(scratch))) for kind in KINDS}
    ratios = {
        lock: {
            name: found["fixed"][lock][name] / value
            for name, value in found["redrawn"][lock].items()
            if value and name != "seconds"
        }
        for lock in ("lock 0", "lock 1")
    }
    if args.json:
        print(json.dumps({**found, "fixed / redrawn": ratios}, indent=2))
        return
    for kind, of_kind in [*found.items(), ("fixed / redrawn", ratios)]:
        for lock, figures in of_kind.items():
            print(f"{kind}, {lock}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def made(args: argparse.Namespace, kind: str, folder: Path) -> Path:
    """The run folder of one kind."""
    clip = ClipJob(args.scene, ShotConfig(n_frames=args.frames, camera="orbit", loop=True), size=args.size)
    recipe = Recipe(precision="float32")
    job = RenderJob(
        clip,
        args.prompt,
        recipe=recipe,
        preset=args.preset,
        keyframes=args.keyframes,
        seed=args.seed,
        lock=0.0,
        workers=KINDS[kind],
    )
    run = RunFolder(folder / kind)
    if not is_done(job, run):
        with Worker() as worker:
            worker.make(job, run)
    return run.path


def measured(folder: Path) -> dict[str, dict[str, float]]:
    """The figures of a run, as it is and locked."""
    run = open_run(folder)
    views = covering_frames(run.clip.gbuffers, MAX_VIEWS, run.record.seed)
    if run.record.making.origin is not None and run.record.making.origin.keyframes is not None:
        views = list(read_appearance(folder / APPEARANCE_FILE).frames)
    pictures = {view: run.frames[view] for view in views}
    lock = SurfaceLock(GeometrySightings(run.clip.tracker), pictures)
    locked = list(locked_frames((run.frames[frame] for frame in range(len(run.frames))), lock, 1.0))
    return {"lock 0": figures(run, run.frames), "lock 1": figures(run, locked)}


def figures(run: FinishedRun, frames: Sequence[np.ndarray]) -> dict[str, float]:
    errors: dict[str, Any] = {
        "error 1": surface_errors(frames, run.clip.tracker, 1),
        "error 8": surface_errors(frames, run.clip.tracker, 8),
        "error first": surface_errors(frames, run.clip.tracker, "first"),
    }
    found = {name: 1e3 * (one.foreground or 0.0) for name, one in errors.items()}
    found["background"] = 1e3 * (errors["error 1"].background or 0.0)
    return found | {"sharpness": sharpness(frames, run.clip.gbuffers)}


if __name__ == "__main__":
    main()
