"""Mechanism 1: diffusion starts from noise, and here the noise sticks to the surface.

    python examples/03_surface_noise.py

Writes the initial noise of two frames of a camera flight, in four ways, and prints how well the noise of one
frame agrees with the other's where both show the same point of a surface. What to look at: out/03/noise.png.
Follow some bright spot of the table from the left picture to the right; "nearest" smears where a texel covers
several latent pixels. The background's noise is left out.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from genrender.config import NoiseConfig, NoiseMode
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import to_picture, uv_picture
from genrender.media.images import contact_sheet, write_png
from genrender.noise.initial import surface_noise
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.surface.flow import follow

SCENES = Path(__file__).parent / "scenes"
VAE_FACTOR = 8  # a latent pixel covers 8x8 pixels of the picture
MODES: tuple[NoiseMode, ...] = ("partition", "bridge", "nearest", "fixed", "independent")


def main(size: int = 320, seed: int = 0, out: Path = Path("out/03")) -> None:
    # 1. Two moments, an eighth of a second apart, while the camera glides past.
    scene = load_scene(SCENES / "still_life.glb")
    shot = ShotConfig(size=(size, size), camera="scene:Dolly", times_s=(1.0, 1.125))
    clip = render_clip(scene, shot)

    # 2. The same moments at the size of the latents: which latent pixels show the same point of a surface?
    side = size // VAE_FACTOR
    coarse = render_clip(scene, replace(shot, size=(side, side)))
    now, before = matching_pixels(coarse)

    # 3. The noise itself, as four channels of latents.
    rows = {"UV": [uv_picture(gbuffer) for gbuffer in clip.gbuffers]}
    print("mode         mean    std   agreement on the surface")
    for mode in MODES:
        noise = surface_noise(clip.gbuffers, 4, VAE_FACTOR, seed, NoiseConfig(mode=mode)).numpy()
        a, b = noise[1][:, now[0], now[1]], noise[0][:, before[0], before[1]]
        agreement = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        print(f"{mode:12}{noise.mean():+.2f}  {noise.std():5.2f}  {agreement:6.2f}")
        rows[mode] = [noise_picture(*pair) for pair in zip(noise, coarse.gbuffers, strict=True)]

    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "noise.png", contact_sheet(rows, cell_px=240))
    print(out / "noise.png")


def matching_pixels(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the second frame, and those of the first frame that show the same surface point."""
    flow = follow(clip.tracker, 1, 0)
    x, y = flow.xy[flow.visible].astype(int).T
    return np.array(np.nonzero(flow.visible)), np.array([y, x])


def noise_picture(noise: np.ndarray, gbuffer: GBuffer) -> np.ndarray:
    """Three channels of the noise as red, green and blue where the picture shows a surface, else gray."""
    colours = 0.5 + noise[:3].transpose(1, 2, 0) / 5
    return to_picture(np.where(gbuffer.visible[..., None], colours, 0.85).astype(np.float32))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
