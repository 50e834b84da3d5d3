"""What a folder or pattern of EXR files holds, as plain data for people and for JSON."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import AUTOMATIC, ExrMap
from genrender.gbuffer.exr.files import missing_frames, say_frames
from genrender.gbuffer.exr.sequence import ExrSequence
from genrender.gbuffer.exr.survey import survey_files


def inspect_exr(path: Path, wanted: ExrMap = AUTOMATIC) -> dict[str, Any]:
    """Which channels were taken for what, sizes, frames and gaps, and what the first frame shows.

    Raises:
        MediaError: there are no files, or the first frame cannot be read.
        ConfigError: `wanted` has a value out of range.
    """
    survey = survey_files(path, wanted)
    problems, objects = list(survey.problems), []
    if survey.sequence is not None:
        try:
            objects = _objects(survey.sequence)
        except MediaError as error:
            problems.append(str(error))
    channels = None
    if survey.channels is not None:
        kind = "index" if survey.channels.cryptomatte is None else "cryptomatte"
        channels = asdict(survey.channels) | {"object_is": kind}
        del channels["cryptomatte"]
    return {
        "path": str(path),
        "passes": [series.name for series in survey.series if series.name],
        "frames": list(survey.numbers),
        "missing": say_frames(missing_frames(survey.numbers)),
        "size": list(survey.size),
        "channels": channels,
        "all_channels": sorted(survey.names),
        "objects": objects,
        "problems": problems,
        "notes": list(survey.notes),
    }


def _objects(sequence: ExrSequence) -> list[dict[str, Any]]:
    """The objects of the first frame."""
    gbuffer = sequence.gbuffer(0)
    ids = np.unique(gbuffer.object_id[gbuffer.visible]).tolist()
    names = sequence.object_names(ids)
    objects = []
    for object_id in ids:
        shown = gbuffer.object_id == object_id
        depth = gbuffer.depth[shown]
        objects.append(
            {
                "id": object_id,
                "name": names[object_id],
                "pixels %": 100 * float(shown.mean()),
                "depth from": float(depth.min()),
                "depth to": float(depth.max()),
            }
        )
    return objects
