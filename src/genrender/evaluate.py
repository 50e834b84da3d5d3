"""`genrender evaluate`: the metrics of one run, measured from its frames and its scene's geometry.

Example:
    >>> from genrender.evaluate import evaluate
    >>> from genrender.finished_run import open_run
    >>> evaluate(open_run("runs/fox"))["surface_error"]["1"]
    0.041
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from genrender.atomic import atomic_write
from genrender.finished_run import FinishedRun
from genrender.metrics.clip import ClipScorer, frame_consistency, prompt_fidelity
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import surface_errors
from genrender.metrics.texel_std import texel_std
from genrender.render import Clip

STRIDES = (1, 4, 16, "first")
METRICS_FILE = "metrics.json"


def evaluate(run: FinishedRun, scorer: ClipScorer | None = None) -> dict[str, Any]:
    """All metrics of a run, ready for JSON; None stands where a clip is too short for a figure.

    Args:
        run: a finished run.
        scorer: judges frames and prompt; None: the pocket CLIP.
    """
    frames = np.stack(list(run.frames))
    return {
        **measure_surface(frames, run.clip),
        **measure_clip(frames, run.config["prompt"], scorer or ClipScorer.load()),
        "sharpness": sharpness(frames, run.clip.gbuffers),
        "n_frames": len(frames),
    }


def write_metrics(run: FinishedRun, metrics: Mapping[str, Any]) -> str:
    """Keep metrics as `metrics.json` in the run's folder; returns the text.

    Raises:
        MediaError: the file cannot be written.
    """
    text = json.dumps(metrics, indent=2)
    with atomic_write(run.folder.path / METRICS_FILE) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return text


def measure_surface(frames: np.ndarray, clip: Clip) -> dict[str, Any]:
    """Surface error at all strides, and temporal standard deviation of surface points."""
    errors = surface_errors(frames, clip.gbuffers, clip.tris, clip.verts, clip.cameras, STRIDES)
    std = texel_std(frames, clip.gbuffers)
    return {
        "surface_error": dict(zip(map(str, STRIDES), errors, strict=True)),
        "texel_std": std.total if std.n_points else None,
        "texel_std_without_frame_mean": std.texture if std.n_points else None,
    }


def measure_clip(frames: np.ndarray, prompt: str, scorer: ClipScorer) -> dict[str, float | None]:
    """How much neighbouring frames look alike to a CLIP, and how much all look like the prompt."""
    images = scorer.embed_images(frames)
    return {
        "clip_frame_consistency": frame_consistency(images) if len(frames) > 1 else None,
        "clip_prompt_fidelity": prompt_fidelity(images, scorer.embed_texts([prompt])[0]),
    }
