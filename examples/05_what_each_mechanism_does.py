"""The three mechanisms, added one after the other, on the same weights, prompt and seed.

    python examples/05_what_each_mechanism_does.py

Prints the surface error of each: how much the colour of a point of the surface changes from one frame to the
next, where both show it. Less is steadier. What to look at: out/05/contact_sheet.png, row by row;
`benchmarks/evidence.py` measures such rows over seeds and scenes, together with sharpness and cost.
"""

import time
from pathlib import Path

import tyro

from genrender.gbuffer.preview import to_picture
from genrender.media.images import contact_sheet, write_png
from genrender.methods.table import METHODS
from genrender.metrics.surface import surface_error
from genrender.pipeline import load_pipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

SCENES = Path(__file__).parent / "scenes"

# What the picture calls them, and their names in `genrender.methods.table`, which says what each sets.
SHOWN = {
    # Every frame on its own, as any image model would.
    "per frame": "per-frame",
    # 1. The initial noise lives on the surface.
    "+ noise": "surface-noise",
    # 3, first half. Every frame's attention looks at the keyframes, too.
    "+ keyframes": "extended-attention",
    # 2 and 3, second half. The keyframes' features, blended on the surface, are mixed in: the whole method.
    "+ features": "generative",
}


def main(
    prompt: str = "a red and white striped biped on a blue background",
    model: str = "pocket",
    frames: int = 8,
    size: int = 128,
    steps: int = 12,
    seed: int = 0,
    out: Path = Path("out/05"),
) -> None:
    scene = load_scene(SCENES / "walking_biped.glb")
    clip = render_clip(scene, ShotConfig(size=(size, size), animation="Walk", n_frames=frames))
    pipe = load_pipeline(model)
    pipe.set_progress_bar_config(disable=True)

    rows = {}
    print("method        surface error   seconds")
    for name, method in SHOWN.items():
        started = time.perf_counter()
        config = METHODS[method].settings
        made = pipe(prompt, clip.gbuffers, config=config, num_inference_steps=steps, seed=seed).frames
        seconds = time.perf_counter() - started
        error = surface_error(made, clip.tracker)
        print(f"{name:14}{error:10.4f}{seconds:13.1f}")
        rows[name] = [to_picture(frame) for frame in made]

    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "contact_sheet.png", contact_sheet(rows))
    print(out / "contact_sheet.png")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
