"""`genrender evaluate`: the metrics of one run, measured from its frames and its scene's geometry.

Example:
    >>> from genrender.evaluation.evaluate import evaluate
    >>> from genrender.runs.finished import open_run
    >>> evaluate(open_run("runs/fox"))["surface_error"]["1"]
    0.041
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genrender.errors import ModelError
from genrender.metrics.clip_score import POCKET_CLIP, ClipScorer, frame_consistency, prompt_fidelity
from genrender.metrics.depth import DepthEstimator, depth_agreement
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import SurfaceErrors, surface_errors
from genrender.metrics.texel_std import texel_std
from genrender.runs.finished import FinishedRun
from genrender.shots.clip import Clip
from genrender.storage.atomic import atomic_write
from genrender.storage.lazy_frames import Pictures
from genrender.storage.run_files import METRICS_FILE
from genrender.storage.untrusted import json_text

STRIDES = (1, 4, 16, "first")
NOTHING_COMPARED = SurfaceErrors(None, None, None)


@dataclass(frozen=True)
class Judges:
    """The networks that look at frames. What one that is None would measure is not measured.

    Attributes:
        clip: judges frames and prompt.
        depth: estimates the depth that frames show.
        missing: why networks that were asked for are not there.
    """

    clip: ClipScorer | None = None
    depth: DepthEstimator | None = None
    missing: tuple[ModelError, ...] = ()

    @classmethod
    def load(cls, clip: str | None = None, depth: str | None = None) -> "Judges":
        """Load them from folders or hub ids, as far as they are there; no CLIP means pocket's."""
        missing: list[ModelError] = []
        scorer = estimator = None
        try:
            scorer = ClipScorer.load(clip or POCKET_CLIP)
        except ModelError as error:
            missing.append(error)
        try:
            estimator = DepthEstimator.load(depth) if depth else None
        except ModelError as error:
            missing.append(error)
        return cls(scorer, estimator, tuple(missing))

    def check(self) -> None:
        """Raises ModelError where a network that was asked for is not there."""
        if self.missing:
            raise ModelError("; ".join(map(str, self.missing)))


def evaluate(
    run: FinishedRun, judges: Judges | None = None, reference: FinishedRun | None = None
) -> dict[str, Any]:
    """All metrics of a run, ready for JSON; None stands for a figure that could not be measured.

    Args:
        run: a finished run.
        judges: None: the pocket CLIP alone.
        reference: a run of the same shot, to which the run's sharpness is related.
    """
    judges = judges or Judges.load()
    frames = run.frames
    sharp = sharpness(frames, run.clip.gbuffers)
    return {
        **measure_surface(frames, run.clip),
        **measure_clip(frames, run.record.making.settings.prompt, judges.clip),
        "depth_agreement": _depth_agreement(frames, run.clip, judges.depth),
        "sharpness": sharp,
        "relative_sharpness": None if reference is None else _relative(sharp, reference),
        "n_frames": len(frames),
    }


def _depth_agreement(frames: Pictures, clip: Clip, estimator: DepthEstimator | None) -> float | None:
    return None if estimator is None else depth_agreement(estimator.inverse_depth(frames), clip.gbuffers)


def _relative(sharp: float, reference: FinishedRun) -> float | None:
    theirs = sharpness(reference.frames, reference.clip.gbuffers)
    return sharp / theirs if theirs > 0 else None


def write_metrics(run: FinishedRun, metrics: Mapping[str, Any]) -> str:
    """Keep metrics as `metrics.json` in the run's folder, where they are not there already; returns the text.

    Raises:
        MediaError: the file cannot be written.
    """
    text, file = metrics_text(metrics), run.folder.path / METRICS_FILE
    if not file.is_file() or file.read_bytes() != (text + "\n").encode():
        with atomic_write(file) as part:
            part.write_bytes((text + "\n").encode())
    return text


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Metrics as JSON."""
    return json_text(metrics)


def measure_surface(frames: Pictures, clip: Clip) -> dict[str, Any]:
    """Surface error at all strides and over the clip's quarters, and temporal deviation of surface points.

    Without geometry there are no surface errors: all are None.
    """
    errors = {str(stride): NOTHING_COMPARED for stride in STRIDES}
    if clip.has_geometry:
        errors = {
            str(stride): surface_errors(frames, clip.gbuffers, clip.tris, clip.verts, clip.cameras, stride)
            for stride in STRIDES
        }
    std = texel_std(frames, clip.gbuffers)
    return {
        f"{part}_error": {stride: getattr(error, part) for stride, error in errors.items()}
        for part in ("surface", "foreground", "background")
    } | {
        "surface_error_by_quarter": {stride: list(errors[stride].quarters) for stride in ("1", "first")},
        "texel_std": std.total if std.n_points else None,
        "texel_std_without_frame_mean": std.texture if std.n_points else None,
    }


def measure_clip(frames: Pictures, prompt: str, scorer: ClipScorer | None) -> dict[str, float | None]:
    """How much neighbouring frames look alike to a CLIP, and how much all look like the prompt."""
    if scorer is None:
        return {"clip_frame_consistency": None, "clip_prompt_fidelity": None}
    images = scorer.embed_images(frames)
    return {
        "clip_frame_consistency": frame_consistency(images) if len(frames) > 1 else None,
        "clip_prompt_fidelity": prompt_fidelity(images, scorer.embed_texts([prompt])[0]),
    }
