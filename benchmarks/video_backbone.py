"""What motion modules add to an image model, with our surface noise and injections and without.

    genrender train motion --work-dir runs/train-motion
    python benchmarks/video_backbone.py --motion-adapter runs/train-motion/adapter --pictures sheets

Every scene and seed is painted by the image model and by the same with motion modules, each in the ways of
`--methods`, by the names of `genrender/methods/table.py`. The figures are those of `genrender evaluate`,
means over scenes and seeds; in brackets the mean of the ratios to the image model's runs in the first of
these ways, and their standard deviation. Seconds count diffusion and decoding; other work on the machine
makes them longer.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from shared import SCENES, new_parser, now

from genrender.backbones.families import backbone_of
from genrender.backbones.loading import load_networks
from genrender.backbones.protocol import Backbone, Conditions
from genrender.backbones.recipe import Recipe
from genrender.backbones.sources import POCKET_FOLDER, read_guidance_scale
from genrender.gbuffer.preview import to_picture
from genrender.media.images import contact_sheet, write_png
from genrender.methods.table import METHODS
from genrender.metrics.clip_score import ClipScorer
from genrender.metrics.table import FIGURES, Subject, look_up, measure
from genrender.sampling.loop import SamplingConfig, decode_frames, sample
from genrender.sampling.surface import ClipSurface
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip

SHOTS = {
    "walking_biped": "a red and white striped biped on a green background",
    "trotting_quadruped": "a blue and yellow quadruped on a gray background",
}
SHOWN = (
    "surface_error.1",
    "surface_error.4",
    "surface_error.first",
    "background_error.1",
    "sharpness",
    "clip_prompt_fidelity",
    "seconds_per_frame",
)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--motion-adapter", type=Path, required=True, help="folder of a MotionAdapter")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    # Baked frames are made of a few painted ones.
    painted = [name for name, method in METHODS.items() if not method.is_baked]
    parser.add_argument("--methods", nargs="+", default=["per-frame", "generative"], choices=painted)
    parser.add_argument("--pictures", type=Path, help="folder for a contact sheet of every scene and seed")
    args = parser.parse_args()

    models = load_models(args.motion_adapter)
    scorer = ClipScorer.load()
    runs: list[dict[str, Any]] = []
    for name, prompt in SHOTS.items():
        shot = ShotConfig((128, 128), n_frames=args.frames, camera="dolly")
        clip = render_clip(load_scene(SCENES / f"{name}.glb"), shot)
        for seed in args.seeds:
            rows = {}
            for model, backbone in models.items():
                for way in args.methods:
                    started = now()
                    frames = paint(backbone, clip, prompt, way, args.steps, seed)
                    seconds = (now() - started) / len(frames)
                    figures = measure(Subject(frames, clip, prompt, scorer)) | {"seconds_per_frame": seconds}
                    runs.append({"scene": name, "seed": seed, "model": model, "way": way, **figures})
                    print(name, seed, model, way, f"{seconds:.2f} s a frame", file=sys.stderr, flush=True)
                    rows[f"{model}, {way}"] = [to_picture(frame) for frame in frames]
            if args.pictures is not None:
                args.pictures.mkdir(parents=True, exist_ok=True)
                write_png(args.pictures / f"{name}-{seed}.png", contact_sheet(rows))
    print(json.dumps(runs, indent=2) if args.json else table(runs))


def load_models(adapter: Path) -> dict[str, Backbone]:
    """Pocket, and pocket with motion modules."""
    image = Recipe("pocket")
    motion = replace(image, motion_adapter=str(adapter))
    return {
        "pocket": backbone_of(load_networks(image)),
        "pocket + motion": backbone_of(load_networks(motion)),
    }


def paint(backbone: Backbone, clip: Clip, prompt: str, way: str, n_steps: int, seed: int) -> np.ndarray:
    """The frames of a clip, float32 in [0, 1]."""
    chosen = METHODS[way]
    method = chosen.settings
    surface = ClipSurface(clip.gbuffers, backbone.vae_factor, method, seed, backbone.device, clip.tracker)
    asked = Conditions(prompt, guidance_scale=read_guidance_scale(POCKET_FOLDER))
    sampling = SamplingConfig(n_steps, seed, attention=chosen.attention)
    final = sample(backbone, asked, surface, method, sampling)
    return np.stack(list(decode_frames(backbone, final)))


def table(runs: list[dict[str, Any]]) -> str:
    """Means as rows of Markdown."""
    titles = [FIGURES[key].title for key in SHOWN]
    lines = ["| | | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(SHOWN)]
    for model in dict.fromkeys(run["model"] for run in runs):
        for way in dict.fromkeys(run["way"] for run in runs):
            own = [run for run in runs if (run["model"], run["way"]) == (model, way)]
            first = [run for run in runs if (run["model"], run["way"]) == (runs[0]["model"], runs[0]["way"])]
            cells = []
            for key in SHOWN:
                values, base = (np.array([look_up(run, key) for run in some]) for some in (own, first))
                cells.append(
                    f"{values.mean():.3g} ({(values / base).mean():.2f} ± {(values / base).std():.2f})"
                )
            lines.append(f"| {model} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
