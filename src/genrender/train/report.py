"""How well a pocket model paints, in figures and in a picture, on shapes, poses and prompts it never saw."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from rich.progress import track

from genrender.media.images import write_png
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.train.appearance import paint_seeds, spread_ratio
from genrender.train.data import PROGRESS
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS
from genrender.train.world import Sample, make_sample

# Training shards count from 0; these seeds lie beyond any number of them.
HELD_OUT = 10_000_000
N_STEPS = 20
FOREGROUND_DISTANCE = 0.12


def held_out_samples(size: int) -> Iterator[tuple[Sample, str, str, str]]:
    """Unseen single objects on a plain background, each with a prompt, its main colour and its background."""
    rng = np.random.default_rng(HELD_OUT)
    index = 0
    while True:
        sample = make_sample((size, HELD_OUT, index), size, size // 8)
        index += 1
        is_single = len(sample.groups) == 1 and sample.groups[0].count == 1
        if not is_single or sample.background[0] not in ("plain", "gradient"):
            continue
        color, other, background = (str(c) for c in rng.choice(list(COLORS), 3, replace=False))
        look = "plain" if rng.random() < 0.5 else str(rng.choice(list(LOOKS)))
        kind = OBJECTS[sample.groups[0].kind][0][0]
        words = f"{color} {kind}" if look == "plain" else f"{color} and {other} {look} {kind}"
        yield sample, f"a {words} on a {background} background", color if look == "plain" else "", background


def open_prompts(samples: list[Sample]) -> list[tuple[Sample, str]]:
    """Single objects, each with a prompt that leaves every colour to the model."""
    return [(sample, f"a {OBJECTS[sample.groups[0].kind][0][0]}") for sample in samples]


def nearest_color(pixels: Float[np.ndarray, "N 3"]) -> str:
    """The palette's colour nearest to the median of some pixels; light and shade change only brightness."""
    median = np.median(pixels, axis=0)
    return min(COLORS, key=lambda name: float(np.linalg.norm(np.array(COLORS[name]) - median)))


def silhouette_iou(picture: Float[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Overlap of the depth mask with the pixels that differ from the background's colours, row by row."""
    rows = np.stack(
        [
            np.median(row[~m], axis=0) if (~m).any() else np.zeros(3)
            for row, m in zip(picture, mask, strict=True)
        ]
    )
    found = np.linalg.norm(picture - rows[:, None], axis=2) > FOREGROUND_DISTANCE
    return float((found & mask).sum() / max((found | mask).sum(), 1))


@torch.no_grad()
def reconstruction_psnr_db(pipeline: GenerativeRenderingPipeline, samples: list[Sample]) -> float:
    """Mean PSNR of the autoencoder on unseen pictures."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2) / 127.5 - 1
    images = images.to(pipeline.device)
    decoded = pipeline.vae.decode(pipeline.vae.encode(images, return_dict=False)[0], return_dict=False)[0]
    error = ((decoded.clamp(-1, 1) - images) ** 2).mean((1, 2, 3)) / 4
    return float((-10 * torch.log10(error)).mean())


def report(
    model: Path,
    out: Path,
    device: str = "cpu",
    guidance_scale: float = 5.0,
    n_pictures: int = 64,
    n_open_prompts: int = 6,
) -> dict[str, float]:
    """Paint unseen shapes, write `report.json` and `samples.png` to `out`, and return the figures.

    Colours count as obeyed where the named colour is the palette's nearest to the region's median pixel. A
    figure for the real pictures of the same kind would not be 1 either: a shaded orange is close to brown.
    """
    pipeline = load_pipeline(str(model), device=device, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    size = 8 * pipeline.unet.config.sample_size
    chosen = held_out_samples(size)
    colors, backgrounds, overlaps, pictures, samples = [], [], [], [], []
    for index in track(range(n_pictures), description="report", console=PROGRESS):
        sample, prompt, color, background = next(chosen)
        picture = paint_seeds(pipeline, sample, prompt, guidance_scale, [index], N_STEPS)[0]
        mask = sample.depth > 0
        if color and mask.any():
            colors.append(nearest_color(picture[mask]) == color)
        if not mask.all():
            backgrounds.append(nearest_color(picture[~mask]) == background)
        overlaps.append(silhouette_iou(picture, mask))
        pictures.append(picture)
        samples.append(sample)
    figures = {
        "n_pictures": float(n_pictures),
        "guidance_scale": guidance_scale,
        "object_color_accuracy": float(np.mean(colors)),
        "background_color_accuracy": float(np.mean(backgrounds)),
        "silhouette_iou": float(np.mean(overlaps)),
        "vae_psnr_db": reconstruction_psnr_db(pipeline, samples),
        "shared_keys_spread_ratio": spread_ratio(
            pipeline, open_prompts(samples[:n_open_prompts]), guidance_scale, n_steps=N_STEPS
        ),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(figures, indent=2))
    across = max(1, round(n_pictures**0.5))
    sheet = np.ones((-(-n_pictures // across), across, size, size, 3), np.float32)
    sheet.reshape(-1, size, size, 3)[:n_pictures] = pictures
    sheet = sheet.swapaxes(1, 2).reshape(-1, across * size, 3)
    write_png(out / "samples.png", np.round(sheet * 255).astype(np.uint8))
    return figures
