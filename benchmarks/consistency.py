"""How steady the frames are, and what that costs: per-frame ControlNet against the method, on equal terms.

    python benchmarks/consistency.py
    python benchmarks/consistency.py --methods per-frame post-only generative --seeds 0 1 --pictures sheets
    python benchmarks/consistency.py --scene fox.glb --animation Run --prompt "a white and orange striped fox"

The methods are those of `genrender/methods/table.py`, by the same names; `--help` lists them. Two are
baselines, and nothing makes their frames agree but the depth pictures: `per-frame`, whose frames start from
noise of their own each, and `fixed-noise`, whose frames all start from the same noise, as when a ControlNet
renders every frame with one seed.

All methods get the same weights, scene, prompt, seeds, sampler and steps. Surface error is the mean RGB
difference of pixels that show the same surface point in frames 1, 4 and 8 apart; less is steadier. "of
per-frame" and "of fixed noise" are the error 1 apart as a fraction of that baseline's. Sharpness is the
variance of the Laplacian on the foreground, in 1e-3: a blurred clip would be steady, too. Each method runs in
a process of its own, so that its peak memory is its own; "before" is what that process had needed when its
first step began. Seconds count diffusion and decoding; other work on the machine makes them longer, so the
load average is printed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rich.box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from shared import WALKING_BIPED, new_parser

from genrender.config import PER_FRAME
from genrender.errors import GenRenderError
from genrender.gbuffer.preview import to_picture
from genrender.media.images import contact_sheet, write_png
from genrender.methods.table import EVERY_METHOD
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_errors
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.storage.memory import gpu_peak_memory_mb, peak_memory_mb

STRIDES = (1, 4, 8)
DEFAULT_PROMPT = "a red and white striped biped on a blue background"


# Those that the pipeline makes: a baked clip takes `genrender render`.
METHODS = {name: method for name, method in EVERY_METHOD.items() if not method.is_baked}
BASELINES = {"per-frame": "of per-\nframe", "fixed-noise": "of fixed\nnoise"}


@dataclass(frozen=True)
class Job:
    """What one process does: one method on every scene and seed."""

    method: str
    scenes: list[str]
    prompts: list[str]
    model: str
    animation: str | None
    camera: str | None
    frames: int
    size: int
    steps: int
    guidance: float | None
    alpha: float | None
    seeds: list[int]
    folder: str


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", action="append", help="may be given several times")
    parser.add_argument("--prompt", action="append", help="one per scene; the last one serves the rest")
    parser.add_argument("--animation", help="default: each scene's first")
    parser.add_argument("--camera", help="orbit, turntable, static, scene:NAME or a JSON file")
    parser.add_argument("--model", default="pocket")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["per-frame", "fixed-noise", "surface-noise", "generative"],
        choices=METHODS,
        metavar="NAME",
        help=f"default: %(default)s; of {', '.join(METHODS)}",
    )
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, help="default: the model's")
    parser.add_argument("--alpha", type=float, help="instead of the method's, where it is not 0")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="save contact sheets, methods side by side"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prompt and len(args.prompt) > len(args.scene or [WALKING_BIPED]):
        parser.error("there are more prompts than scenes")
    try:
        if args.worker:
            work(Job(**json.loads(args.worker)))
            return
        report = compare(args)
    except GenRenderError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the worker has said what went wrong
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print_tables(report)


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Runs every method and measures what it made."""
    scenes = [str(scene) for scene in args.scene or [WALKING_BIPED]]
    prompts = list(args.prompt or [DEFAULT_PROMPT])
    prompts += prompts[-1:] * (len(scenes) - len(prompts))
    clips = [render_clip(load_scene(scene), shot_config(args)) for scene in scenes]
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(args, name) for name in ("model", "animation", "camera", "frames", "size")}
    settings |= {name: getattr(args, name) for name in ("steps", "guidance", "alpha", "seeds")}
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as root, progress_bar() as progress:
        total = len(args.methods) * len(scenes) * len(args.seeds) * args.steps
        task = progress.add_task("", total=total)
        for method in args.methods:
            folder = Path(root) / method
            folder.mkdir()
            progress.update(task, description=method)
            job = Job(method, scenes, prompts, folder=str(folder), **settings)
            costs = run_worker(job, lambda: progress.advance(task))
            for cost in costs:
                clip = clips[cost["scene"]]
                frames = np.load(folder / cost.pop("file"))
                name = Path(scenes[cost["scene"]]).stem
                runs.append({**cost, "scene": name, "method": method, **quality(frames, clip)})
        if args.pictures:
            save_sheets(Path(root), args, [Path(scene).stem for scene in scenes])
    return {
        **settings,
        "scenes": scenes,
        "prompts": prompts,
        "strides": STRIDES,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "machine": platform.platform(),
        "runs": runs,
        "summary": summary(runs, args.methods),
    }


def shot_config(args: argparse.Namespace | Job) -> ShotConfig:
    return ShotConfig(
        size=(args.size, args.size), animation=args.animation, n_frames=args.frames, camera=args.camera
    )


def run_worker(job: Job, on_step: Callable[[], None]) -> list[dict[str, Any]]:
    """Runs a job in a fresh process, which prints a line per diffusion step and at last its costs."""
    command = [sys.executable, __file__, "--worker", json.dumps(asdict(job))]
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | quiet) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line
            if line.strip() == "step":
                on_step()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:2])
    return json.loads(last)


def work(job: Job) -> None:
    """The other end of `run_worker`."""
    # Only here: the measuring process needs no diffusion library.
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from genrender.pipeline import load_pipeline

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    method = METHODS[job.method].settings
    if job.alpha is not None and method.injection.alpha > 0:
        method = replace(method, injection=replace(method.injection, alpha=job.alpha))
    pipe = load_pipeline(job.model)
    pipe.set_progress_bar_config(disable=True)

    def on_step(*_: Any) -> None:
        print("step", flush=True)

    costs = []
    for index, (scene, prompt) in enumerate(zip(job.scenes, job.prompts, strict=True)):
        clip = render_clip(load_scene(scene), shot_config(job))
        gbuffers = clip.gbuffers
        if not costs:
            # The first call of any library is slow. One step of one frame needs less memory than the rest.
            pipe(prompt, gbuffers[:1], config=PER_FRAME, num_inference_steps=1)
        for seed in job.seeds:
            before_mb = peak_memory_mb()
            started = time.perf_counter()
            frames = pipe(
                prompt,
                gbuffers,
                config=method,
                tracker=clip.tracker,
                num_inference_steps=job.steps,
                guidance_scale=job.guidance,
                seed=seed,
                callback_on_step_end=on_step,
            ).frames
            seconds = time.perf_counter() - started
            file = f"{index}_{seed}.npy"
            np.save(Path(job.folder) / file, frames)
            costs.append(
                {
                    "scene": index,
                    "seed": seed,
                    "file": file,
                    "seconds_per_frame": seconds / len(gbuffers),
                    "before_mb": before_mb,
                    "peak_mb": peak_memory_mb(),
                    "gpu_peak_mb": gpu_peak_memory_mb(),
                }
            )
    print(json.dumps(costs), flush=True)


def quality(frames: np.ndarray, clip: Clip) -> dict[str, Any]:
    """Surface errors, None where the clip has no such pair of frames, and sharpness."""
    errors = [surface_errors(frames, clip.tracker, stride).surface for stride in STRIDES]
    return {"surface_error": errors, "sharpness": sharpness(frames, clip.gbuffers)}


def summary(runs: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Means over the seeds, per scene and method; `ratio`: surface error over each baseline's, per stride."""
    rows = []
    for scene in dict.fromkeys(run["scene"] for run in runs):
        of = {m: [run for run in runs if run["scene"] == scene and run["method"] == m] for m in methods}
        errors = {
            method: [mean([run["surface_error"][i] for run in mine]) for i in range(len(STRIDES))]
            for method, mine in of.items()
        }
        for method, mine in of.items():
            row = {"scene": scene, "method": method, "seeds": len(mine), "surface_error": errors[method]}
            row["ratio"] = {
                baseline: [
                    a / b if a is not None and b else None
                    for a, b in zip(errors[method], errors[baseline], strict=True)
                ]
                for baseline in BASELINES
                if baseline in errors
            }
            for name in ("sharpness", "seconds_per_frame"):
                row[name] = mean([run[name] for run in mine])
            row["before_mb"] = mine[0]["before_mb"]
            row["peak_mb"] = max(run["peak_mb"] for run in mine)
            row["gpu_peak_mb"] = mine[-1]["gpu_peak_mb"]
            rows.append(row)
    return rows


def mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def save_sheets(root: Path, args: argparse.Namespace, names: Sequence[str]) -> None:
    for index, name in enumerate(names):
        for seed in args.seeds:
            rows = {
                method: [to_picture(frame) for frame in np.load(root / method / f"{index}_{seed}.npy")]
                for method in args.methods
            }
            write_png(args.pictures / f"{name}_{seed}.png", contact_sheet(rows))


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description:12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # A step may take longer than the 30 seconds from which rich would estimate the time left.
        speed_estimate_period=3600,
    )


def print_tables(report: Mapping[str, Any]) -> None:
    console = Console()
    setting = f"{report['frames']} frames of {report['size']} px, {report['steps']} steps"
    setting += f", seeds {', '.join(map(str, report['seeds']))}, model {Path(report['model']).name}"
    baselines = {name: title for name, title in BASELINES.items() if name in report["summary"][0]["ratio"]}
    for scene in dict.fromkeys(row["scene"] for row in report["summary"]):
        table = Table(title=f"{scene}: {setting}", box=rich.box.SIMPLE_HEAD, padding=0)
        table.add_column("method", no_wrap=True)
        headings = [f"error\n{stride}" for stride in STRIDES]
        headings += [*baselines.values(), "sharp", "s per\nframe", "peak\nMB", "MB\nbefore"]
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in report["summary"]:
            if row["scene"] != scene:
                continue
            table.add_row(
                row["method"],
                *("-" if error is None else f"{error:.4f}" for error in row["surface_error"]),
                *("-" if (of := row["ratio"][name][0]) is None else f"{of:.2f}" for name in baselines),
                f"{row['sharpness']:.2f}",
                f"{row['seconds_per_frame']:.2f}",
                f"{row['peak_mb']:.0f}",
                f"{row['before_mb']:.0f}",
            )
        console.print(table)
    console.print(f"{report['cores']} cores, load average {report['load_average']}", highlight=False)


if __name__ == "__main__":
    main()
