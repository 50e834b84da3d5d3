"""A job made once, however often it is asked for: for whoever asks again after a stop."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from genrender.jobs.also import missing_kinds
from genrender.jobs.job import RenderJob
from genrender.jobs.plan import Plan, plan
from genrender.jobs.reuse import is_begun, is_done
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.runs.unfinished import read_request, tidy_finished_run
from genrender.storage.atomic import atomic_write


def make_once(
    job: RenderJob, folder: RunFolder, hooks: RunHooks = SILENT, command: Sequence[str] | None = None
) -> Plan | list[Path]:
    """Makes a job's run unless it is there; where an earlier attempt at it stopped, it goes on from there.

    Args:
        command: the words that ask for it; None: the command line that asks for the job.

    Returns:
        What was made; the files that a finished run got, of which there may be none.

    Raises:
        Cancelled: the hooks say so.
        GenRenderError: something is wrong with the job, or with the place of its files.
    """
    if is_done(job, folder, command):
        return _completed(job, folder, hooks)
    planned = plan(job, folder, hooks)
    # Only here: PyTorch takes seconds to import.
    from genrender.jobs.make import make

    goes_on = is_begun(job, folder) and _is_device_the_same(job, folder)
    if goes_on:
        hooks.note("going on where an earlier attempt stopped")
    make(planned, hooks, command, resume=goes_on)
    return planned


def _is_device_the_same(job: RenderJob, folder: RunFolder) -> bool:
    """Whether a begun run computes where it did; elsewhere its frames would be others."""
    import torch

    from genrender.backbones.loading import default_device

    before = torch.device(read_request(folder.path)["request"].get("device", "cpu"))
    now = torch.device(job.recipe.device or default_device())
    return (before.type, before.index or 0) == (now.type, now.index or 0)


def is_complete(job: RenderJob, folder: RunFolder) -> bool:
    """Whether everything that a job makes is on the disk, of the files as they are now."""
    is_out = job.out is None or job.out.exists()
    return is_out and missing_kinds(job, folder.path) == ((), None) and is_done(job, folder)


def _completed(job: RenderJob, folder: RunFolder, hooks: RunHooks) -> list[Path]:
    """Adds to a finished run what its job asks for beside the video, and tells which files these are."""
    tidy_finished_run(folder.path)
    written = []
    if job.out is not None and not job.out.exists():
        with atomic_write(job.out) as part:
            shutil.copyfile(folder.video_file, part)
        written.append(job.out)
    kinds, upscale = missing_kinds(job, folder.path)
    if kinds or upscale is not None:
        from genrender.jobs.finish import finish
        from genrender.jobs.upscale import Upscaler

        upscaler = None if upscale is None else Upscaler.load(upscale, job.recipe.device)
        written += finish(folder.path, kinds, upscaler, hooks)
    return written
