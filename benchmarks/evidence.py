"""What each mechanism buys: every figure and picture of docs/results.md, by one command.

    python benchmarks/evidence.py --fox Fox.glb --write docs/results.md
    python benchmarks/evidence.py --scenes orbit --seeds 0 --methods per-frame surface-noise balanced

Renders three scenes with every method and several seeds, measures each run as `genrender evaluate` does,
and prints Markdown tables. Runs are kept in the work folder, so an interrupted command goes on where it
stopped; runs whose settings, scene, weights or version differ are made anew. All methods share weights,
scene, prompt, seeds and size, and all but the presets share sampler and steps.

Figures relative to per-frame rendering are means, over scenes and seeds, of the ratio to the per-frame run of
the same scene and seed. The brackets are 95 % percentile bootstrap intervals over these pairs.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from shared import SCENES, WALKING_BIPED, new_parser

from genrender import __version__
from genrender.config import PER_FRAME, PRESETS, RunConfig
from genrender.errors import GenRenderError
from genrender.evaluation.evaluate import METRICS_FILE, Judges, evaluate, write_metrics
from genrender.media.images import contact_sheet
from genrender.methods.table import EVERY_METHOD
from genrender.metrics.table import FIGURES, look_up
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip
from genrender.storage.atomic import atomic_write
from genrender.train.diffusion import weights_hash

PER_FRAME_NAME = "per-frame"
BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"
PICTURE_FRAMES = 6
PICTURED = ("per-frame", "fixed-noise", "surface-noise", "generative", "synchronised", "fast", "paper")
# What the tables show, by key as in `genrender.metrics.table`, and with how many digits: relative, absolute.
SHOWN = {
    "surface_error.1": (2, 4),
    "surface_error.4": (2, 4),
    "surface_error.16": (2, 4),
    "surface_error.first": (2, 4),
    "sharpness": (2, 3),
    "clip_frame_consistency": (3, 3),
    "clip_prompt_fidelity": (3, 3),
    "seconds_per_frame": (2, 2),
}


@dataclass(frozen=True)
class Take:
    """A scene, how it is shown and what the prompt says."""

    scene: Path
    prompt: str
    animation: str | None = None
    camera: str | None = None


def takes(fox: Path | None) -> dict[str, Take]:
    """The scenes. Without a fox, the project's own quadruped runs in its place."""
    return {
        "running": (
            Take(fox, "a white and orange striped fox on a blue background", "Run")
            if fox
            else Take(
                SCENES / "trotting_quadruped.glb",
                "a white and orange striped quadruped on a blue background",
            )
        ),
        "orbit": Take(
            WALKING_BIPED,
            "a red and white striped biped on a green background",
            camera="orbit",
        ),
        "objects": Take(
            SCENES / "still_life.glb",
            "a purple vase and a yellow ball on a gray background",
            camera="scene:Dolly",
        ),
    }


# A run's settings, and what they are in half a sentence.
METHODS: dict[str, tuple[RunConfig, str]] = {
    **{
        name: (RunConfig(method=EVERY_METHOD[name].settings), EVERY_METHOD[name].summary)
        for name in (
            PER_FRAME_NAME,
            "fixed-noise",
            "surface-noise",
            "extended-attention",
            "post-only",
            "generative",
            "undeduplicated",
            "reproject",
            "normalised",
            "synchronised",
            "screen-noise",
        )
    },
    "stabilised": (RunConfig(stabilise=0.5), "ours, stabiliser at 0.5"),
    **{name: (preset, f"the preset `{name}`") for name, preset in PRESETS.items()},
}


def main() -> None:
    parser = new_parser(__doc__, has_json=False)
    parser.add_argument("--fox", type=Path, help="an animated fox with an animation 'Run'")
    parser.add_argument("--scenes", nargs="+", choices=list(takes(None)), default=list(takes(None)))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"), help="where runs are kept")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="replace the tables in this file")
    args = parser.parse_args()
    if PER_FRAME_NAME not in args.methods:
        args.methods = [PER_FRAME_NAME, *args.methods]
    if args.write:
        split_at_marks(args.write)
    try:
        figures = measure_all(args)
    except GenRenderError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    text = tables(figures, args)
    print(text)
    if args.write:
        write_between_marks(args.write, text)
        for name in args.scenes:
            write_sheet(args.write.parent / "pictures" / f"evidence_{name}.png", args, name)


def measure_all(args: argparse.Namespace) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Metrics of every run, by scene, seed and method."""
    from genrender.pipeline import load_pipeline

    pipeline = load_pipeline(args.model)
    pipeline.set_progress_bar_config(disable=True)
    weights = weights_hash(pipeline.unet)
    judges = Judges.load()
    figures = {}
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        total = len(args.scenes) * len(args.seeds) * len(args.methods)
        task = progress.add_task("", total=total)
        for name in args.scenes:
            take = takes(args.fox)[name]
            shot = ShotConfig(animation=take.animation, camera=take.camera, n_frames=args.frames)
            clip = render_clip(load_scene(take.scene), shot)
            # The first call of any library is slow.
            pipeline(take.prompt, clip.gbuffers[:1], config=PER_FRAME, num_inference_steps=1)
            for seed in args.seeds:
                for wanted in args.methods:
                    progress.update(task, description=f"{name}, seed {seed}, {wanted}")
                    config = replace(METHODS[wanted][0], prompt=take.prompt, seed=seed)
                    made_of = fingerprint(config, shot, take.scene, weights)
                    folder = RunFolder(run_folder(args, name, seed, wanted))
                    file = folder.path / METRICS_FILE
                    stored = json.loads(file.read_text()) if file.exists() else {}
                    if stored.get("made_of") != made_of:
                        make_video(pipeline, clip, config, folder)
                        run = open_run(folder.path, clip=clip)
                        stored = {**evaluate(run, judges), **asdict(run.record.cost), "made_of": made_of}
                        write_metrics(run, stored)
                    figures[name, seed, wanted] = stored
                    progress.advance(task)
    return figures


def fingerprint(config: RunConfig, shot: ShotConfig, scene: Path, weights: str) -> str:
    """A short name for everything that a run's frames depend on."""
    parts = (
        asdict(config),
        asdict(shot),
        hashlib.sha256(scene.read_bytes()).hexdigest(),
        weights,
        __version__,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def run_folder(args: argparse.Namespace, scene: str, seed: int, wanted: str) -> Path:
    """Where a run is kept. Two names of one configuration, as a preset may be, share their runs."""
    first = next(name for name, (config, _) in METHODS.items() if config == METHODS[wanted][0])
    return args.work / scene / str(seed) / first


def bootstrap_interval(values: Sequence[float], n_resamples: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of the mean."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values), (n_resamples, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def ratios(figures: Mapping[tuple[str, int, str], Mapping[str, Any]], wanted: str, key: str) -> list[float]:
    """A figure of one method over that of per-frame rendering, for every scene and seed that has both."""
    found = []
    for (scene, seed, name), measured in figures.items():
        value = look_up(measured, key)
        base = look_up(figures[scene, seed, PER_FRAME_NAME], key)
        if name == wanted and value is not None and base:
            found.append(value / base)
    return found


def cell(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "-"
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def tables(figures: Mapping[tuple[str, int, str], Mapping[str, Any]], args: argparse.Namespace) -> str:
    """Markdown: all scenes together, relative to per-frame rendering, then each scene in absolute figures."""
    n_runs = len(args.scenes) * len(args.seeds)
    heading = "| method | " + " | ".join(FIGURES[key].title for key in SHOWN) + " |"
    rule = "|---|" + "---|" * len(SHOWN)
    lines = [
        f"{len(args.scenes)} scenes, seeds {', '.join(map(str, args.seeds))}, {args.frames} frames of 128 x "
        f"128 pixels, model `{args.model}`; every cell is the mean over {n_runs} pairs of runs.",
        "",
        heading.replace(", 1e-3", ""),
        rule,
    ]
    for wanted in args.methods:
        row = [cell(ratios(figures, wanted, key), digits) for key, (digits, _) in SHOWN.items()]
        lines.append(f"| `{wanted}`: {METHODS[wanted][1]} | " + " | ".join(row) + " |")
    lines += ["", "All columns are relative to `per-frame`. The same runs scene by scene, absolute:", ""]
    for scene in args.scenes:
        take = takes(args.fox)[scene]
        lines += [f'**{scene}** ({take.scene.name}, "{take.prompt}")', "", heading, rule]
        for wanted in args.methods:
            runs = [figures[scene, seed, wanted] for seed in args.seeds]
            row = [mean_of(runs, key, f".{digits}f") for key, (_, digits) in SHOWN.items()]
            lines.append(f"| `{wanted}` | " + " | ".join(row) + " |")
        lines.append("")
    return "\n".join(lines)


def mean_of(runs: Sequence[Mapping[str, Any]], key: str, form: str) -> str:
    values = [value for run in runs if (value := look_up(run, key)) is not None]
    return format(float(np.mean(values)), form) if values else "-"


def split_at_marks(file: Path) -> tuple[str, str]:
    """What stands before and behind the tables of a Markdown file."""
    text = file.read_text() if file.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: {file} lacks the lines {BEGIN} and {END}, between which the tables go")
    return before, after


def write_between_marks(file: Path, text: str) -> None:
    """Replace what stands between the marks in a Markdown file; the prose around them stays."""
    before, after = split_at_marks(file)
    with atomic_write(file) as part:
        part.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def write_sheet(file: Path, args: argparse.Namespace, scene: str) -> None:
    """Some frames of the methods that differ most with the first seed, one row each, in 128 colours."""
    shown = np.linspace(0, args.frames - 1, min(PICTURE_FRAMES, args.frames)).round().astype(int)
    rows = {}
    for wanted in (name for name in PICTURED if name in args.methods):
        pictures = RunFolder(run_folder(args, scene, args.seeds[0], wanted)).frames()
        rows[wanted] = [pictures[int(frame)] for frame in shown]
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        Image.fromarray(contact_sheet(rows)).quantize(128).save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
