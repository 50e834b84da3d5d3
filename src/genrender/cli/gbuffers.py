"""`genrender gbuffers`: what the camera sees, as EXR files."""

from pathlib import Path

import numpy as np

from genrender.cli.console import Bars, hooks, say
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import depth_picture, object_picture, uv_picture
from genrender.jobs.clips import plan_clip, with_all_uvs
from genrender.media.images import write_png
from genrender.options.commands import Gbuffers
from genrender.options.job import clip_job
from genrender.scene.backdrop_ids import BACKDROP_NAMES
from genrender.shots.clip import Shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.atomic import atomic_folder, check_can_hold_files
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.limits import EXR_BYTES, check_disk

USUAL_SIZE = (512, 512)
# What an earlier clip leaves in a folder. If it was longer, its last frames must not follow this one.
FRAME_FILES = tuple(
    f"frame_{digits}.{suffix}" for digits in ("[0-9]" * 4, "[0-9]" * 5) for suffix in ("exr", "png")
)


def gbuffers(options: Gbuffers) -> None:
    """Writes frame_0000.exr, frame_0000.png (depth, UV and objects side by side) and so on, all or none."""
    check_can_hold_files(options.out)
    shot = plan_clip(clip_job(options), USUAL_SIZE, 1, hooks())
    check_disk(EXR_BYTES * shot.width * shot.height * shot.n_frames, options.out)
    if isinstance(shot, Shot):
        shot = with_all_uvs(shot, hooks())
    with atomic_folder(options.out, replaces=FRAME_FILES) as part:
        _write(shot, part)
    say(f"{shot.n_frames} frames of {shot.width}x{shot.height} in {options.out}")


def _write(shot: Shot | ExrShot, folder: Path) -> None:
    names = None
    if isinstance(shot, Shot):  # those of EXR files may be another order of numbers
        names = {index: thing.name for index, thing in enumerate(shot.scene.objects, start=1)}
        own = set(np.unique(shot.scene.object_id).tolist())
        backdrops = {index: name.removeprefix("\0") for index, name in BACKDROP_NAMES.items()}
        names = {index: name for index, name in {**names, **backdrops}.items() if index in own}
    with Bars() as bars:
        bars("G-buffers", 0, shot.n_frames)
        for frame in range(shot.n_frames):
            write_exr(_file(folder, frame, "exr"), shot.gbuffer(frame), names)
            bars("G-buffers", frame + 1, shot.n_frames)
        # The previews need the clip's range of depths, so the files are read again: only the depths of what
        # is visible are in memory for all frames at once.
        written: PerFrame[GBuffer] = PerFrame(
            lambda frame: read_exr(_file(folder, frame, "exr")), shot.n_frames
        )
        bars("previews", 0, shot.n_frames)
        inverse_range = inverse_depth_range(written)
        for frame, gbuffer in enumerate(written):
            pictures = (depth_picture(gbuffer, inverse_range), uv_picture(gbuffer), object_picture(gbuffer))
            write_png(_file(folder, frame, "png"), np.concatenate(pictures, axis=1))
            bars("previews", frame + 1, shot.n_frames)


def _file(folder: Path, frame: int, suffix: str) -> Path:
    return folder / f"frame_{frame:04d}.{suffix}"
