"""What compositors take, made of a finished run."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from genrender.gbuffer.exr.frame import write_channels
from genrender.gbuffer.exr.mattes import object_mattes
from genrender.gbuffer.preview import to_picture
from genrender.jobs.upscale import Upscaler
from genrender.media.images import write_png, write_rgba
from genrender.media.prores import write_prores
from genrender.media.video import write_video
from genrender.passes.samples import N_SAMPLES, object_alpha, sampled_ids
from genrender.passes.targets import object_names
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.hooks import SILENT, RunHooks
from genrender.storage.atomic import atomic_folder
from genrender.storage.frame_file import FrameCache
from genrender.storage.run_files import (
    ALPHA_DIR,
    EXR_DIR,
    MATTES_DIR,
    PRORES_FILE,
    UPSCALED_DIR,
    UPSCALED_FILE,
    frame_file,
)
from genrender.storage.scratch import gbuffer_file


def finish(
    folder: Path,
    kinds: Collection[str],
    upscaler: Upscaler | None = None,
    hooks: RunHooks = SILENT,
) -> list[Path]:
    """Adds files to a finished run; each kind is there as a whole or not at all.

    Args:
        folder: the run folder.
        kinds: of `genrender.jobs.also.KINDS`.
        upscaler: enlarges the frames; None: they stay as they are.
        hooks: told about every frame.

    Returns:
        What was written.

    Raises:
        MediaError: it is no finished run.
        SceneError: the scene has gone.
    """
    with gbuffer_file() as file:
        run = open_run(folder, hooks.report, gbuffer_file=file)
        # Several kinds want it, and it takes sixteen rays a pixel.
        alpha = FrameCache(partial(object_alpha, run.clip), len(run.frames), file.with_name("alpha.bin"))
        written = [_WRITERS[kind](run, alpha, hooks) for kind in kinds]
        if upscaler is not None:
            written += _upscaled(run, upscaler, hooks)
    return written


def _alpha(run: FinishedRun, alphas: FrameCache, hooks: RunHooks) -> Path:
    with atomic_folder(run.folder.path / ALPHA_DIR, replaces=("*.png",)) as part:
        for frame in _counted("alpha", run, hooks):
            write_rgba(part / frame_file(frame), _rgba(run, alphas, frame))
    return run.folder.path / ALPHA_DIR


def _exr(run: FinishedRun, alphas: FrameCache, hooks: RunHooks) -> Path:
    """Linear light with the primaries of sRGB, multiplied by alpha, as OpenEXR and compositors have it."""
    with atomic_folder(run.folder.path / EXR_DIR, replaces=("*.exr",)) as part:
        for frame in _counted("exr", run, hooks):
            alpha = alphas[frame]
            linear = linear_light(run.frames[frame]) * alpha[..., None]
            channels = {letter: linear[..., index] for index, letter in enumerate("RGB")} | {"A": alpha}
            halves = {name: values.astype(np.float16) for name, values in channels.items()}
            write_channels(part / f"{frame:05d}.exr", halves)
    return run.folder.path / EXR_DIR


def _mattes(run: FinishedRun, _alphas: FrameCache, hooks: RunHooks) -> Path:
    names = object_names(run.clip)
    with atomic_folder(run.folder.path / MATTES_DIR, replaces=("*.exr",)) as part:
        for frame in _counted("mattes", run, hooks):
            header, channels = object_mattes(sampled_ids(run.clip, frame), N_SAMPLES, names)
            picture = run.frames[frame]
            # Readers show the picture and pick in it.
            channels |= {letter: picture[..., index] for index, letter in enumerate("RGB")}
            write_channels(part / f"{frame:05d}.exr", channels, header)
    return run.folder.path / MATTES_DIR


def _prores(run: FinishedRun, alphas: FrameCache, hooks: RunHooks) -> Path:
    path, frames = run.folder.path / PRORES_FILE, _counted("prores", run, hooks)
    write_prores(path, (_rgba(run, alphas, frame) for frame in frames), run.clip.fps)
    return path


def _upscaled(run: FinishedRun, upscaler: Upscaler, hooks: RunHooks) -> list[Path]:
    folder, video = run.folder.path / UPSCALED_DIR, run.folder.path / UPSCALED_FILE
    with atomic_folder(folder, replaces=("*.png",)) as part:

        def pictures() -> Iterator[UInt8[np.ndarray, "rows columns 3"]]:
            for frame in _counted("upscaled", run, hooks):
                picture = to_picture(upscaler(run.frames[frame]))
                write_png(part / frame_file(frame), picture)
                yield picture

        write_video(video, pictures(), run.clip.fps)
    return [folder, video]


_WRITERS: dict[str, Callable[[FinishedRun, FrameCache, RunHooks], Path]] = {
    "alpha": _alpha,
    "exr": _exr,
    "mattes": _mattes,
    "prores": _prores,
}


def linear_light(picture: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
    """What sRGB values in [0, 1] mean as light.

    Source: IEC 61966-2-1.
    """
    return np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def _rgba(run: FinishedRun, alphas: FrameCache, frame: int) -> UInt8[np.ndarray, "H W 4"]:
    alpha = np.round(255 * alphas[frame]).astype(np.uint8)
    return np.dstack([to_picture(run.frames[frame]), alpha])


def _counted(what: str, run: FinishedRun, hooks: RunHooks) -> Iterator[int]:
    n_frames = len(run.frames)
    hooks.report(what, 0, n_frames)
    for frame in range(n_frames):
        yield frame
        hooks.report(what, frame + 1, n_frames)
