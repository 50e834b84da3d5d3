"""How well a pocket model paints, in figures and in a picture, on shapes, poses and prompts it never saw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from rich.progress import track

from genrender.backbones.sources import read_guidance_scale
from genrender.media.images import write_png
from genrender.metrics.clip_score import ClipScorer
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.surface.flow import erode
from genrender.train.appearance import injection_effect, paint_seeds, spread_ratio
from genrender.train.data import PROGRESS
from genrender.train.judge import FILE as JUDGE_FILE
from genrender.train.judge import Judge, score
from genrender.train.shots import typical_clip, typical_colors_right
from genrender.train.subjects import (
    Subject,
    character_clip,
    character_subjects,
    held_out_samples,
    parse_character,
    rendered_subjects,
    world_subjects,
)
from genrender.train.vocabulary import COLORS, LOOKS
from genrender.train.words import word_distances

FOREGROUND_DISTANCE = 0.12
N_RETRIEVAL_PAIRS = 100
N_RENDERS = 200
# Colours are judged inside an object: its outline is half background.
OUTLINE_PX = 2
# Second differences of the depth picture, of 255, from which there is an edge; rounding alone makes up to 2.
EDGE_STEP = 8


@dataclass(frozen=True)
class ReportConfig:
    """What the report paints.

    Attributes:
        guidance_scale: weight of classifier-free guidance; None: what the model was made for.
        n_steps: diffusion steps.
        n_pictures: unseen shapes of the training world.
        n_open_prompts: shapes on which attention is tested, with prompts that leave the look open.
        characters: scene files that are no part of training, each as `FILE=NOUN`.
        n_per_character: pictures of each.
        n_frames: frames of each character's clip.
        n_typical: clips of each character beside a box on a ground, each with colours of its own.
    """

    guidance_scale: float | None = None
    n_steps: int = 20
    n_pictures: int = 64
    n_open_prompts: int = 6
    characters: tuple[str, ...] = ()
    n_per_character: int = 8
    n_frames: int = 16
    n_typical: int = 2


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


def relate_inner_edges(figures: dict[str, float], groups: Sequence[str]) -> None:
    """Each group's inner edges relative to those of real renders; none where the renders hold none."""
    in_renders = figures.get("renders_inner_edges")
    for name in [f"{group}_inner_edges" for group in groups]:
        if name in figures:
            if in_renders:
                figures[name] /= in_renders
            else:
                del figures[name]


def inner_edges(picture: Float[np.ndarray, "H W 3"], depth: UInt8[np.ndarray, "H W"]) -> float:
    """Brightness gradient at edges of the depth inside the silhouette, over that elsewhere inside it.

    Returns:
        1 where the picture shows nothing of the edges; NaN where there are none, or no slope elsewhere.
    """
    inside = erode(depth > 0, OUTLINE_PX + 1)
    inverse = np.pad(depth.astype(np.int32), 1, mode="edge")
    across = np.abs(2 * inverse - np.roll(inverse, 1, 1) - np.roll(inverse, -1, 1))
    along = np.abs(2 * inverse - np.roll(inverse, 1, 0) - np.roll(inverse, -1, 0))
    edge = np.maximum(across, along)[1:-1, 1:-1] > EDGE_STEP
    slope = np.hypot(*np.gradient(picture.mean(axis=2)))
    at_edge, elsewhere = inside & edge, inside & erode(~edge, OUTLINE_PX)
    if at_edge.sum() < 20 or not elsewhere.any() or not slope[elsewhere].any():
        return float("nan")
    return float(slope[at_edge].mean() / slope[elsewhere].mean())


@torch.no_grad()
def reconstruction_psnr_db(pipeline: GenerativeRenderingPipeline, images: np.ndarray) -> float:
    """Mean PSNR of the autoencoder on unseen pictures, N H W 3 uint8."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    pixels = pixels.to(pipeline.device)
    decoded = pipeline.vae.decode(pipeline.vae.encode(pixels, return_dict=False)[0], return_dict=False)[0]
    error = ((decoded.clamp(-1, 1) - pixels) ** 2).mean((1, 2, 3)) / 4
    return float((-10 * torch.log10(error)).mean())


def retrieval_top1(scorer: ClipScorer, images: np.ndarray, captions: Sequence[str]) -> float:
    """How often the nearest caption of a picture and the nearest picture of a caption is its own."""
    similarity = scorer.embed_images(images / 255) @ scorer.embed_texts(captions).T
    truth = torch.arange(len(captions))
    found = [(similarity.argmax(axis) == truth).float().mean() for axis in (0, 1)]
    return float(torch.stack(found).mean())


def recognised_look(scorer: ClipScorer, picture: Float[np.ndarray, "H W 3"], subject: Subject) -> str:
    """The look whose prompt the CLIP finds nearest to the picture, everything else being said alike."""
    texts = scorer.embed_texts([subject.prompt(look) for look in LOOKS])
    best = int((scorer.embed_images(picture[None])[0] @ texts.T).argmax())
    return list(LOOKS)[best]


def _inside(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask without its outline, or as it is where nothing else would be left."""
    inner = erode(mask, OUTLINE_PX)
    return inner if inner.any() else mask


def judge_pictures(
    pictures: Sequence[Float[np.ndarray, "H W 3"]],
    subjects: Sequence[Subject],
    scorer: ClipScorer,
    judge: Judge | None = None,
) -> dict[str, float]:
    """How far pictures show what was asked for.

    Colours count as obeyed where the named colour is the palette's nearest to the region's median pixel.
    Renders of what was asked for do not reach 1 either (a shaded orange is close to brown, the CLIP errs);
    the report judges some, too, as the figures `renders_*`.

    Returns:
        With a judge also what it sees, as `judged_*`: the look, the object's one or two colours, the
        background's colour.
    """
    right: dict[str, list[float]] = {}

    def count(name: str, value: float) -> None:
        right.setdefault(name, []).append(float(value))

    masks = [subject.depth > 0 for subject in subjects]
    for picture, subject, mask in zip(pictures, subjects, masks, strict=True):
        count("silhouette_iou", silhouette_iou(picture, mask))
        look = recognised_look(scorer, picture, subject)
        count("look", look == subject.look)
        if not mask.all():
            count("background_color", nearest_color(picture[_inside(~mask)]) == subject.background)
        if subject.look != "plain":
            count("look_where_patterned", look == subject.look)
        elif mask.any():
            count("object_color", nearest_color(picture[_inside(mask)]) == subject.color)
            edges = inner_edges(picture, subject.depth)
            if not np.isnan(edges):  # an object without steps in its depth has none
                count("inner_edges", edges)
    verdicts = judge.look_at(pictures, masks) if judge is not None else []
    for verdict, subject in zip(verdicts, subjects, strict=judge is not None):
        count("judged_look", verdict.look == subject.look)
        if subject.look != "plain":
            count("judged_look_where_patterned", verdict.look == subject.look)
        asked = subject.colors
        count("judged_colors", set(verdict.colors[: len(asked)]) == set(asked))
        count("judged_background_color", verdict.background == subject.background)
    return {name: float(np.mean(values)) for name, values in right.items()}


def report(model: Path, out: Path, config: ReportConfig, device: str = "cpu") -> dict[str, float]:
    """Paint unseen shapes, write `report.json` and `samples.png` to `out`, and return the figures.

    Raises:
        ConfigError: a character is not of the form FILE=NOUN.
        SceneError: a character's file cannot be used.
    """
    pipeline = load_pipeline(str(model), device=device, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scorer = ClipScorer.load(model / "clip", device)
    judge = Judge.load(model / JUDGE_FILE, device) if (model / JUDGE_FILE).exists() else None
    size = pipeline.vae_scale_factor * pipeline.unet.config.sample_size
    characters = [parse_character(text) for text in config.characters]
    clips = [(character_clip(path, size, config.n_frames), noun) for path, noun in characters]
    subjects = {"shapes": list(islice(world_subjects(size), config.n_pictures))}
    if clips:
        subjects["characters"] = [
            subject
            for index, (clip, noun) in enumerate(clips)
            for subject in character_subjects(clip, noun, config.n_per_character, index)
        ]

    guidance_scale = config.guidance_scale
    if guidance_scale is None:
        guidance_scale = read_guidance_scale(model)
    figures: dict[str, float] = {"guidance_scale": guidance_scale}
    pictures: dict[str, list[Float32[np.ndarray, "H W 3"]]] = {}
    for group, chosen in subjects.items():
        pictures[group] = [
            paint_seeds(pipeline, subject.depth, subject.prompt(), guidance_scale, [index], config.n_steps)[0]
            for index, subject in enumerate(track(chosen, description=group, console=PROGRESS))
        ]
        figures[f"{group}_painted"] = float(len(chosen))
        judged = judge_pictures(pictures[group], chosen, scorer, judge)
        figures |= {f"{group}_{name}": value for name, value in judged.items()}

    renders = list(islice(rendered_subjects(size), N_RENDERS))
    images = [image / 255 for image, _ in renders]
    judged = judge_pictures(images, [subject for _, subject in renders], scorer, judge)
    figures |= {f"renders_{name}": value for name, value in judged.items()}
    relate_inner_edges(figures, list(subjects))
    if judge is not None:
        seen = score(judge, held_out_samples(size), N_RENDERS)
        figures |= {f"judge_right_{name}": value for name, value in seen.items()}

    real = list(islice(held_out_samples(size), N_RETRIEVAL_PAIRS))
    images = np.stack([sample.image for sample in real])
    figures["vae_psnr_db"] = reconstruction_psnr_db(pipeline, images)
    patterned = [any(group.look not in (None, "plain") for group in sample.groups) for sample in real]
    figures["vae_psnr_patterned_db"] = reconstruction_psnr_db(pipeline, images[patterned])
    figures["clip_retrieval_top1"] = retrieval_top1(scorer, images, [sample.caption for sample in real])
    figures["least_word_distance"] = min(word_distances(pipeline.text_encoder, pipeline.tokenizer).values())
    figures["shared_keys_spread_ratio"] = spread_ratio(
        pipeline,
        [(subject.depth, subject.open_prompt) for subject in subjects["shapes"][: config.n_open_prompts]],
        guidance_scale,
        config.n_steps,
    )
    if clips:
        figures |= injection_effect(pipeline, clips, guidance_scale, config.n_steps)
        typical = [(typical_clip(path, size), noun) for path, noun in characters]
        shown = typical_colors_right(
            pipeline, typical, nearest_color, guidance_scale, config.n_steps, config.n_typical
        )
        figures["typical_three_colors"], pictures["typical"] = shown
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    for group, painted in pictures.items():
        write_png(out / f"{group}.png", _sheet(painted))
    return figures


def _sheet(pictures: Sequence[Float[np.ndarray, "H W 3"]]) -> np.ndarray:
    """All pictures side by side in a square, white where none is left."""
    across = max(1, round(len(pictures) ** 0.5))
    height, width = pictures[0].shape[:2]
    sheet = np.ones((-(-len(pictures) // across), across, height, width, 3), np.float32)
    sheet.reshape(-1, height, width, 3)[: len(pictures)] = pictures
    sheet = sheet.swapaxes(1, 2).reshape(-1, across * width, 3)
    return np.round(sheet * 255).astype(np.uint8)
