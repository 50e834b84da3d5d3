"""Does a character keep its look in another shot? Surface points compared between two shots' videos.

    python benchmarks/appearance.py [--frames 16] [--steps 20] [--seeds 0 1] [--json]

The first shot is a walk before a static camera, the second the same walk seen from an orbit. The second is
rendered three times: with the first one's appearance, on its own with the same seed (so with the same
noise on the surface), and on its own with another seed. Printed is the mean difference, in RGB from 0 to 1,
of the mean colours that a texel of the character has in the two videos.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from shared import WALKING_BIPED, new_parser

from genrender.runs.finished import FinishedRun, open_run
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.texels import texel_ids

TEXELS = 64


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", type=Path, default=WALKING_BIPED)
    parser.add_argument("--prompt", default="a striped biped on a gray background")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--model", default="pocket")
    args = parser.parse_args()
    differences: dict[str, list[float]] = {"appearance": [], "same seed": [], "other seed": []}
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = render(args, folder / "first", seed)
            second = {
                "appearance": ["--camera", "orbit", "--appearance-from", str(folder / "first")],
                "same seed": ["--camera", "orbit"],
                "other seed": ["--camera", "orbit"],
            }
            for kind, words in second.items():
                other = render(args, folder / "second", seed + 1000 * (kind == "other seed"), words)
                differences[kind].append(texel_difference(first, other))
    means = {kind: float(np.mean(values)) for kind, values in differences.items()}
    if args.json:
        print(json.dumps({"differences": differences, "means": means}, indent=2))
        return
    print(f"difference of texels between two shots, {args.frames} frames, seeds {args.seeds}")
    for kind, mean in means.items():
        print(f"{kind:12} {mean:.4f}, {mean / means['other seed']:.2f} of independent runs")


def render(args: argparse.Namespace, folder: Path, seed: int, words: Sequence[str] = ()) -> FinishedRun:
    command = ["render", str(args.scene), "--prompt", args.prompt, "--model", args.model]
    command += ["--frames", str(args.frames), "--steps", str(args.steps), "--seed", str(seed)]
    command += ["--run-dir", str(folder), *words]
    subprocess.run([sys.executable, "-m", "genrender", *command], stdout=subprocess.DEVNULL, check=True)
    return open_run(folder)


def texel_difference(run: FinishedRun, other: FinishedRun) -> float:
    """Mean absolute difference of the mean colours of all texels that both runs show."""
    (texels, colors), (others, other_colors) = mean_colors(run), mean_colors(other)
    _, mine, theirs = np.intersect1d(texels, others, return_indices=True)
    return float(np.abs(colors[mine] - other_colors[theirs]).mean())


def mean_colors(run: FinishedRun) -> tuple[np.ndarray, np.ndarray]:
    """Every texel that a run shows, and its mean colour over all pixels and frames."""
    texels, colors = [], []
    for frame, gbuffer in zip(run.frames, run.clip.gbuffers, strict=True):
        inside = erode(gbuffer.visible, EROSION_PX)
        texels.append(texel_ids(gbuffer, TEXELS)[inside])
        colors.append(frame[inside])
    unique, index = np.unique(np.concatenate(texels), return_inverse=True)
    count = np.bincount(index)[:, None]
    sums = np.stack([np.bincount(index, channel) for channel in np.concatenate(colors).T], axis=1)
    return unique, sums / count


if __name__ == "__main__":
    main()
