"""Runs that are there already, whole or begun: whether a folder holds what a job would make."""

import datetime
import json
import math
from collections.abc import Sequence
from pathlib import Path

import genrender
from genrender.backbones.recipe_files import recipe_files
from genrender.errors import MediaError
from genrender.gbuffer.exr.files import exr_files
from genrender.jobs.job import ClipJob, RenderJob, job_to_json
from genrender.jobs.words import job_words, same_words
from genrender.runs.folder import RunFolder
from genrender.runs.record import versions
from genrender.runs.unfinished import read_request
from genrender.scene.load import scene_files
from genrender.storage.run_files import APPEARANCE_FILE, REQUEST_FILE
from genrender.storage.untrusted import json_text


def check_can_be_had(job: RenderJob, folder: RunFolder) -> None:
    """Raises MediaError unless the job's run is in that folder, or can be made there."""
    if not is_done(job, folder):
        folder.check_can_be_filled()


def inputs(job: RenderJob) -> list[Path]:
    """The files that runs depend on, as far as they are on this machine."""
    return [*clip_inputs(job), *recipe_files(job.recipe)]


def clip_inputs(job: RenderJob) -> list[Path]:
    """The same without the files of the model."""
    lenders = filter(None, (job.appearance_from, job.keyframes_from))
    lent = [lender / APPEARANCE_FILE for lender in lenders]
    return [*clip_files(job.clip), *filter(Path.exists, lent)]


def clip_files(clip: ClipJob) -> list[Path]:
    """The files that a clip is read from, as far as they are there."""
    camera = clip.shot.camera
    files = exr_files(clip.scene) if clip.is_exr else scene_files(clip.scene, clip.allow_folder)
    if clip.exr_map is not None:
        files.append(clip.exr_map)
    if camera is not None and Path(camera).is_file():
        files.append(Path(camera))
    return files


def file_stamps(files: Sequence[Path]) -> dict[str, str]:
    """What tells, of every file, that it is not what it was."""
    found = {str(file): file.stat() for file in files}
    return {name: f"{one.st_size} bytes of {one.st_mtime_ns / 1e9:.3f} s" for name, one in found.items()}


def is_done(job: RenderJob, folder: RunFolder, command: Sequence[str] | None = None) -> bool:
    """Whether the folder holds, complete, what this job makes of the files as they are now.

    Args:
        command: the words that ask for it; None: those that `make` finds for the job by itself.
    """
    try:
        record = folder.read_record()
    except MediaError:
        return False
    if len(folder.frame_files()) != len(record.shot.shown) or not folder.video_file.is_file():
        return False
    took_s = record.cost.seconds_per_frame * len(record.shot.shown)
    try:
        begun = datetime.datetime.fromisoformat(record.created).timestamp() - took_s
    except (ValueError, OverflowError):
        return False
    if command is None:
        is_asked = same_words(record.command, ["genrender", *job_words(job, folder.path)])
    else:  # as somebody typed them: options and values are words of their own
        is_asked = record.command == tuple(command)
    return (
        is_asked
        and Path(record.shot.scene) == job.clip.scene.resolve()
        and record.versions["genrender"] == genrender.__version__
        and _newest(job) <= begun
    )


def _newest(job: RenderJob) -> float:
    """When the last of the files changed that runs depend on; where one has gone, nothing is old enough."""
    try:
        return max(file.stat().st_mtime for file in inputs(job))
    except FileNotFoundError:
        return math.inf


def is_begun(job: RenderJob, folder: RunFolder) -> bool:
    """Whether an earlier attempt at this job stopped there, by this version and with the files of now."""
    try:
        stored = read_request(folder.path)
    except MediaError:
        return False
    begun = (folder.unfinished_dir / REQUEST_FILE).stat().st_mtime
    return (
        stored.get("job") == json.loads(json_text(job_to_json(job)))
        and stored["versions"] == versions()
        and stored["request"].get("scene") == str(job.clip.scene.resolve())
        and _newest(job) <= begun
    )
