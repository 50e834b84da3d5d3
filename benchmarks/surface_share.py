"""How much of a run goes into surface work: noise, splatting, sampling and visibility, against the networks.

    python benchmarks/surface_share.py [--frames 24] [--steps 20] [--engines texture reproject] [--json]

Renders a clip with default settings and measures, inside the same run, the time spent on drawing surface
noise, on finding and splatting correspondences, and on carrying features over the surface. Prints their share
of the run from the prompt to the decoded frames; the target is at most 15 %.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from shared import WALKING_BIPED, new_parser, now

import genrender.sampling.surface as surface_module
from genrender.config import OURS, CorrespondenceConfig, Engine
from genrender.correspondence.engines import Blend, SurfaceEngine, make_engine
from genrender.noise.initial import surface_noise
from genrender.pipeline import load_pipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip

TARGET = 0.15


class Stopwatch:
    """Seconds per kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = now()
            result = work(*args, **kwargs)
            self.seconds[kind] = self.seconds.get(kind, 0.0) + now() - started
            return result

        return call


class TimedEngine:
    """An engine whose every call is timed."""

    def __init__(self, engine: SurfaceEngine, watch: Stopwatch) -> None:
        self._engine, self._watch = engine, watch
        self.grid = engine.grid

    def blend(self, *args: Any) -> Blend:
        return TimedBlend(self._watch.timed("correspondence", self._engine.blend)(*args), self._watch)


class TimedBlend:
    """A blend whose every call is timed."""

    def __init__(self, blend: Blend, watch: Stopwatch) -> None:
        self.surface = blend.surface
        self.shows = watch.timed("correspondence", blend.shows)
        self._carry = watch.timed("features", blend)

    def __call__(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._carry(features)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", type=Path, default=WALKING_BIPED)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--engines", nargs="+", choices=["texture", "reproject"], default=["texture"])
    args = parser.parse_args()
    clip = render_clip(load_scene(args.scene), ShotConfig((args.size, args.size), n_frames=args.frames))
    pipe = load_pipeline(args.model)
    pipe.set_progress_bar_config(disable=True)
    pipe("a biped", clip.gbuffers[:1], num_inference_steps=1)  # the first call of any library is slow
    report: dict[str, Any] = {
        "frames": args.frames,
        "steps": args.steps,
        "size": args.size,
        "model": args.model,
        "target_share": TARGET,
        "threads": torch.get_num_threads(),
        "engines": {engine: measure(pipe, clip, engine, args.steps) for engine in args.engines},
        "load_average": round(os.getloadavg()[0], 2),
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{args.frames} frames of {args.size} px, {args.steps} steps, {report['threads']} threads")
    for engine, figures in report["engines"].items():
        parts = ", ".join(f"{kind} {seconds:.2f} s" for kind, seconds in figures["seconds"].items())
        share = f"{figures['share']:6.1%} of {figures['total_s']:.1f} s"
        print(f"{engine:10} {share} (target {TARGET:.0%}): {parts}")
    print(f"load average {report['load_average']}")


def measure(pipe: Any, clip: Clip, engine: Engine, n_steps: int) -> dict[str, Any]:
    watch = Stopwatch()

    def make_timed(*args: Any) -> TimedEngine:
        return TimedEngine(watch.timed("correspondence", make_engine)(*args), watch)

    config = replace(OURS, correspondence=CorrespondenceConfig(engine))
    noise = watch.timed("noise", surface_noise)
    with (
        patch.object(surface_module, "make_engine", make_timed),
        patch.object(surface_module, "surface_noise", noise),
    ):
        started = now()
        pipe("a biped", clip.gbuffers, config=config, tracker=clip.tracker, num_inference_steps=n_steps)
        total_s = now() - started
    return {
        "seconds": watch.seconds,
        "total_s": total_s,
        "share": sum(watch.seconds.values()) / total_s,
    }


if __name__ == "__main__":
    main()
