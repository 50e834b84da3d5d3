"""`genrender passes`: what the camera sees, as other programs and models take it."""

import tempfile
from dataclasses import replace
from pathlib import Path

from genrender.cli.console import Bars, hooks, note, say
from genrender.errors import ConfigError
from genrender.jobs.clips import plan_clip, refuse_without_geometry, with_all_uvs
from genrender.options.commands import Passes
from genrender.options.job import clip_job
from genrender.passes.targets import TARGETS, Target
from genrender.shots.clip import Shot, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.atomic import atomic_folder, check_can_hold_files
from genrender.storage.limits import GBUFFER_BYTES, check_disk
from genrender.storage.scratch import gbuffer_file


def passes(options: Passes) -> None:
    """Writes the files of one target or none."""
    target = TARGETS[options.target]
    check_can_hold_files(options.out)
    shot = _fitting(_planned(options, target), options, target)
    check_disk(GBUFFER_BYTES * shot.width * shot.height * shot.n_frames, Path(tempfile.gettempdir()))
    if isinstance(shot, Shot):
        shot = with_all_uvs(shot, hooks())
    elif target.needs_geometry:
        refuse_without_geometry(f"passes for {options.target}")
    with gbuffer_file() as file, Bars() as bars, atomic_folder(options.out) as part:
        clip = render_shot(shot, bars, file)
        target.write(clip, part, bars, options.seed)
    say(f"passes for {options.target}: {shot.n_frames} frames of {shot.width}x{shot.height} in {options.out}")


def _planned(options: Passes, target: Target) -> Shot | ExrShot:
    job = clip_job(options)
    if job.size is not None:
        sides = job.size if isinstance(job.size, tuple) else (job.size, job.size)
        if any(side % target.multiple for side in sides):
            raise ConfigError(
                f"size is {options.size}, expected multiples of {target.multiple} for {options.target}: "
                f"leave it out for {target.size[0]}x{target.size[1]}"
            )
    elif target.fps is not None and not job.is_exr:
        job = replace(job, size=target.size)
    if options.moments.fps is None and target.fps is not None:
        job = replace(job, shot=replace(job.shot, fps=target.fps))
    return plan_clip(job, target.size, target.multiple, hooks())


def _fitting(shot: Shot | ExrShot, options: Passes, target: Target) -> Shot | ExrShot:
    """As many of a shot's frames as the target takes."""
    form, n_frames = target.frames_form, shot.n_frames
    if options.view.frames is None and target.n_frames is not None:
        n_frames = min(n_frames, target.n_frames)
    n_frames -= (n_frames - 1) % form
    if n_frames < shot.n_frames:
        if options.view.frames is not None:
            raise ConfigError(
                f"frames is {shot.n_frames}, expected 1 more than a multiple of {form} for {options.target}: "
                f"try {n_frames} or {n_frames + form}"
            )
        note(f"the first {n_frames} of {shot.n_frames} frames, as {options.target} takes them")
        shot = shot.only(range(n_frames))
    return shot
