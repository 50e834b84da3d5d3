"""What a helper does with finished runs: figures, known faults, passes as EXR files."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from genrender.errors import ConfigError
from genrender.evaluation.diagnose import measure, symptoms
from genrender.evaluation.evaluate import evaluate, write_metrics
from genrender.evaluation.remedies import remedies
from genrender.gbuffer.exr.frame import write_exr
from genrender.jobs.job import job_from_json
from genrender.metrics.table import METRICS, look_up
from genrender.runs.finished import open_run
from genrender.server.scene_tasks import stage_of
from genrender.shots.clip import Shot
from genrender.storage.scratch import gbuffer_file


def metrics(folder: str) -> tuple[Any, bytes]:
    """All figures of a run, which stay in its folder as `metrics.json`."""
    with gbuffer_file() as file:
        run = open_run(folder, gbuffer_file=file)
        found = evaluate(run)
        write_metrics(run, found)
    return {"metrics": found, "table": metrics_table(found)}, b""


def metrics_table(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures with what they mean, in the order of the table."""
    rows = []
    for metric in METRICS:
        for part, called in metric.parts.items():
            key = metric.key_of(part)
            try:
                value = look_up(found, key)
            except (KeyError, IndexError, TypeError):
                continue  # of a run that was measured by an earlier version
            title = f"{metric.title}, {called}" if called else metric.title
            text = "-" if value is None else f"{value:.3g}"
            about = {"key": key, "title": title, "meaning": metric.meaning, "better": metric.better}
            rows.append({**about, "unit": metric.unit, "value": value, "text": text})
    return rows


def table(found: dict[str, Any]) -> tuple[Any, bytes]:
    """As `metrics_table`."""
    return metrics_table(found), b""


def diagnose(folder: str) -> tuple[Any, bytes]:
    """Known faults of a run, and what to try against those that it has."""
    with gbuffer_file() as file:
        run = open_run(folder, gbuffer_file=file)
        if len(run.frames) < 2:
            raise ConfigError("the run holds one frame, expected at least two to compare")
        found = symptoms(measure(run.frames, run.clip))
    return [
        {
            "name": one.name,
            "value": None if np.isnan(one.value) else float(one.value),
            "limit": one.limit,
            "better": one.better,
            "is_present": one.is_present,
            "meaning": one.meaning,
            "remedy": one.remedy,
            "changes": [
                {"about": remedy.about, "words": remedy.words, "settings": dict(remedy.settings)}
                for remedy in remedies(one.name, run.record)
            ],
        }
        for one in found
    ], b""


def exr_zip(job: dict[str, Any], size: list[int], file: str) -> tuple[Any, bytes]:
    """Writes what the model was given as a zip of EXR files: depth, UV and objects.

    Args:
        job: what the run shows.
        size: its width and height.
        file: where the zip goes.
    """
    shot = stage_of(job_from_json(job), (size[0], size[1])).with_uvs
    names = None
    if isinstance(shot, Shot):
        names = {index: thing.name for index, thing in enumerate(shot.scene.objects, start=1)}
    with TemporaryDirectory(prefix="genrender-") as scratch, zipfile.ZipFile(file, "w") as packed:
        for frame in range(shot.n_frames):
            one = Path(scratch) / f"frame_{frame:04d}.exr"
            write_exr(one, shot.gbuffer(frame), names)
            packed.write(one, one.name)
            one.unlink()
    return None, b""
