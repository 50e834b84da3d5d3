"""Runs that a comparison or a study needs: made where they are missing, kept where they are there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import Judges, metrics_text, write_metrics
from genrender.jobs.job import RenderJob
from genrender.jobs.reuse import is_done
from genrender.jobs.worker import Worker
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.shots.clip import Clip


def load_judges(clip_model: str | None, depth: str | None, hooks: RunHooks) -> Judges:
    """The networks that look at runs; says at once which figures there will be none of."""
    judges = Judges.load(clip_model, depth)
    for error in judges.missing:
        hooks.note(f"{error}; the other figures will be measured")
    return judges


def keep_metrics(run: FinishedRun, metrics: Mapping[str, Any], hooks: RunHooks) -> str:
    """Metrics as JSON, stored in the run's folder, too; where nothing can be written there, that is said."""
    try:
        return write_metrics(run, metrics)
    except MediaError as error:
        hooks.note(f"the figures are not stored: {error}")
        return metrics_text(metrics)


def note_missing_geometry(has_geometry: bool, hooks: RunHooks) -> None:
    """Says why figures are missing."""
    if not has_geometry:
        hooks.note("surface errors need the scene's triangles and cameras; this clip was read from EXR files")


def finished_run(
    job: RenderJob,
    folder: RunFolder,
    label: str,
    worker: Worker,
    file: Path,
    clip: Clip | None = None,
    hooks: RunHooks = SILENT,
) -> FinishedRun:
    """The run of a job, in that folder.

    Args:
        job: what was asked for.
        folder: where the run is or will be.
        label: what it is called in notes.
        worker: makes it where it is missing.
        file: where the clip's G-buffers go, unless it is known.
        clip: what it shows, where that is known.

    Raises:
        Cancelled: the hooks say so.
        ConfigError: the run fails.
    """
    hooks.check()
    is_made = is_done(job, folder)
    hooks.note(f"{label}{' is there already' if is_made else ''}")
    if not is_made:
        try:
            worker.make(job, folder, hooks)
        except ConfigError as error:
            raise ConfigError(f"the run {label} failed: {error}") from error
    return open_run(folder.path, clip=clip, gbuffer_file=file)
