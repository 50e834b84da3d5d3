"""Does memory grow with the clip? Peak resident memory of a short and a long run of the same scene.

    python benchmarks/memory.py [--frames 100 1000] [--steps 2] [--size 128] [--json]

Each run is a `genrender render` in a process of its own, which tells its own peak. The target is that the
long run takes at most 5 % more than the short one. On a GPU the peak of its memory is told, too.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared import WALKING_BIPED, new_parser

TARGET = 1.05


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", type=Path, default=WALKING_BIPED)
    parser.add_argument("--prompt", default="a red and white striped biped on a green background")
    parser.add_argument("--frames", type=int, nargs=2, default=[100, 1000])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--model", default="pocket")
    args = parser.parse_args()
    runs = [peak(args, n_frames) for n_frames in args.frames]
    short, long = (run["peak_memory_mb"] for run in runs)
    report = {"runs": runs, "ratio": long / short, "target": TARGET}
    if args.json:
        print(json.dumps(report, indent=2))
        return
    for run in runs:
        on_gpu = run["gpu_peak_memory_mb"]
        gpu = "" if on_gpu is None else f", {on_gpu:.0f} MB on the GPU"
        print(
            f"{run['n_frames']:5d} frames: peak {run['peak_memory_mb']:.0f} MB{gpu}, "
            f"{run['seconds_per_frame']:.2f} s per frame"
        )
    print(f"ratio {report['ratio']:.3f} (target at most {TARGET})")


def peak(args: argparse.Namespace, n_frames: int) -> dict[str, Any]:
    """The costs of one run."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["render", str(args.scene), "--prompt", args.prompt, "--camera", "orbit"]
        words += ["--frames", str(n_frames), "--steps", str(args.steps), "--size", str(args.size)]
        words += ["--model", args.model, "--run-dir", f"{folder}/run"]
        subprocess.run([sys.executable, "-m", "genrender", *words], stdout=subprocess.DEVNULL, check=True)
        config = json.loads(Path(folder, "run", "config.json").read_text())["config"]
    return {"n_frames": n_frames, **config["cost"]}


if __name__ == "__main__":
    main()
