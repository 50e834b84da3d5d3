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
from genrender.metrics.clip_score import POCKET_CLIP, ClipScorer
from genrender.metrics.depth import DepthEstimator
from genrender.metrics.table import Subject, measure
from genrender.runs.finished import FinishedRun
from genrender.storage.atomic import atomic_write
from genrender.storage.run_files import METRICS_FILE
from genrender.storage.untrusted import json_text


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
    subject = Subject(
        run.frames,
        run.clip,
        run.record.making.settings.prompt,
        judges.clip,
        judges.depth,
        None if reference is None else Subject(reference.frames, reference.clip),
    )
    return {**measure(subject), "n_frames": len(run.frames)}


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
