"""What each part buys: every figure and picture of docs/results.md, by one command.

    python benchmarks/evidence.py --fox Fox.glb --steps 10 --write docs/results.md
    python benchmarks/evidence.py --scenes orbit --seeds 0 --methods per-frame surface-noise balanced --long 0

Renders four scenes by many methods, with several seeds, with prompts that name the look and, by fewer
methods, with prompts that leave it open; and one long clip. Measures each run as `genrender evaluate` does,
and prints Markdown. Runs are kept in the work folder, so an interrupted command goes on where it stopped;
runs whose settings, scene, weights or version differ are made anew. All methods share weights, scene, prompt,
seeds and size, and all but the presets share sampler and steps.

Figures relative to per-frame rendering are means, over scenes and seeds, of the ratio to the per-frame run of
the same scene and seed. The brackets are 95 % percentile bootstrap intervals over these pairs.

Scenes, prompts and methods are told in `evidence_runs.py`, tables and plot in `evidence_tables.py`.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from evidence_runs import CONTENDERS, PER_FRAME_NAME, Cell, Laboratory, Wording, takes
from evidence_tables import long_report, plane, report
from PIL import Image
from shared import new_parser

from genrender.errors import GenRenderError
from genrender.media.images import contact_sheet
from genrender.storage.atomic import atomic_write

BEGIN, END = "<!-- evidence: begin -->", "<!-- evidence: end -->"
PLANE_FILE = "evidence_plane.svg"
PICTURE_FRAMES = 6
# What is run unless asked otherwise; all of `CONTENDERS` would take a day. See there.
METHODS = (
    PER_FRAME_NAME,
    "surface-noise",
    "half-alpha",
    "half-alpha-locked",
    "generative",
    "balanced",
    "unsynchronised-locked",
    "syncmvd",
    "static-texture",
)
OPEN_METHODS = (PER_FRAME_NAME, "surface-noise", "half-alpha", "balanced")
LONG_METHODS = ("half-alpha", "balanced")
LONG_SCENE = "orbit"


def main() -> None:
    parser = new_parser(__doc__, has_json=False)
    known = list(CONTENDERS)
    parser.add_argument("--fox", type=Path, help="an animated fox with an animation 'Run'")
    parser.add_argument("--scenes", nargs="+", choices=list(takes()), default=list(takes()))
    parser.add_argument("--methods", nargs="+", choices=known, default=list(METHODS))
    parser.add_argument("--open-methods", nargs="+", choices=known, default=list(OPEN_METHODS))
    parser.add_argument("--wordings", nargs="+", choices=get_args(Wording), default=list(get_args(Wording)))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--steps", type=int, help="diffusion steps, presets in proportion; default: theirs")
    parser.add_argument("--long", type=int, default=512, help="frames of the long clip; 0: none")
    parser.add_argument("--long-methods", nargs="+", choices=known, default=list(LONG_METHODS))
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--depth-model", help="network that judges depth; default: it is not judged")
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"), help="where runs are kept")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="replace the tables in this file")
    args = parser.parse_args()
    if args.write:
        split_at_marks(args.write)
    laboratory = Laboratory(args.model, args.work, args.frames, args.steps, args.fox, args.depth_model)
    started = time.perf_counter()
    try:
        text = make(args, laboratory)
    except GenRenderError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(text)
    print(f"{(time.perf_counter() - started) / 60:.0f} minutes", file=sys.stderr)


def make(args: argparse.Namespace, laboratory: Laboratory) -> str:
    """The tables; pictures and, where asked for, the file that they stand in are written."""
    methods: dict[Wording, list[str]] = {"named": args.methods, "open": args.open_methods}
    figures = laboratory.measure(
        [
            Cell(scene, wording, seed, method)
            for scene in args.scenes
            for wording in args.wordings
            for seed in args.seeds
            for method in with_reference(methods[wording])
        ]
    )
    text = report(figures, laboratory)
    if args.long:
        long = replace(laboratory, n_frames=args.long)
        scene = LONG_SCENE if LONG_SCENE in args.scenes else args.scenes[0]
        cells = [Cell(scene, "named", args.seeds[0], method) for method in args.long_methods]
        text = f"{text}\n{long_report(long.measure(cells), long)}"
    pictures = args.work if args.write is None else args.write.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with atomic_write(pictures / PLANE_FILE) as part:
        part.write_text(plane(figures), encoding="utf-8")
    if "named" in args.wordings:
        for scene in args.scenes:
            write_sheet(pictures / f"evidence_{scene}.png", args, laboratory, scene)
    if args.write:
        write_between_marks(args.write, text)
    return text


def with_reference(methods: list[str]) -> list[str]:
    """Everything is related to per-frame rendering."""
    return methods if PER_FRAME_NAME in methods else [PER_FRAME_NAME, *methods]


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


def write_sheet(file: Path, args: argparse.Namespace, laboratory: Laboratory, scene: str) -> None:
    """Some frames of every method with the first seed, one row each, in 128 colours."""
    shown = np.linspace(0, args.frames - 1, min(PICTURE_FRAMES, args.frames)).round().astype(int)
    rows = {}
    for method in with_reference(args.methods):
        pictures = laboratory.run_folder(Cell(scene, "named", args.seeds[0], method)).frames()
        rows[method] = [pictures[int(frame)] for frame in shown]
    with atomic_write(file) as part:
        Image.fromarray(contact_sheet(rows)).quantize(128).save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
