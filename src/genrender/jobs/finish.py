"""What compositors take, made of a finished run."""

import shlex
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from genrender.errors import MediaError
from genrender.gbuffer.exr.frame import write_channels
from genrender.gbuffer.exr.mattes import object_mattes
from genrender.gbuffer.preview import to_picture
from genrender.jobs.also import read_kinds
from genrender.jobs.finishing import Finishing, Wish, kept_wish
from genrender.jobs.upscale import Upscaler
from genrender.media.images import write_png, write_rgba
from genrender.media.prores import write_prores
from genrender.media.video import write_video
from genrender.passes.samples import N_SAMPLES, object_alpha, sampled_ids
from genrender.passes.targets import object_names
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.folder import Frames, RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.storage.checked_file import DamagedFile
from genrender.storage.frame_file import FrameFile
from genrender.storage.run_files import (
    ALPHA_DIR,
    EXR_DIR,
    MATTES_DIR,
    PRORES_FILE,
    UPSCALED_DIR,
    UPSCALED_FILE,
    frame_file,
)


def finish(
    folder: Path,
    kinds: Collection[str],
    upscaler: Upscaler | None = None,
    hooks: RunHooks = SILENT,
) -> list[Path]:
    """Adds files to a finished run; each kind is there as a whole or not at all.

    Whoever is stopped keeps the frames that are made: the same call, or `go_on`, makes those that are left.

    Args:
        folder: the run folder.
        kinds: of `genrender.jobs.also.KINDS`.
        upscaler: enlarges the frames; None: they stay as they are.
        hooks: told about every frame.

    Returns:
        What was written.

    Raises:
        MediaError: it is no finished run, or another process is at work there.
        SceneError: the scene has gone.
    """
    if not folder.is_dir():
        raise MediaError(f"no run folder {folder}: expected the folder that `genrender render` printed")
    run_folder = RunFolder(folder)
    with Finishing(run_folder, wish_of(kinds, upscaler)) as kept, _resume_hint(kept, folder, hooks):
        written = []
        if kinds:
            run = open_run(folder, hooks.report, gbuffer_file=kept.gbuffer_file)
            kept.check_clip()
            work = _Work(run, kept, hooks)
            written += [_WRITERS[kind](work) for kind in kinds]
        if upscaler is not None:
            kept.check_network(upscaler.digest)
            written += _upscaled(run_folder, upscaler, kept, hooks)
    return written


def wish_of(kinds: Collection[str], upscaler: Upscaler | None) -> Wish:
    """What a call of `finish` asks for."""
    if upscaler is None:
        return Wish(list(kinds))
    return Wish(list(kinds), upscaler.source, upscaler.device)


def go_on(folder: Path, hooks: RunHooks = SILENT) -> list[Path]:
    """Adds what a finished run was to get when that was stopped.

    Returns:
        What was written; empty: nothing was left to do.

    Raises:
        GenRenderError: as `finish`.
    """
    wish = kept_wish(folder)
    if wish is None:
        return []
    upscaler = None if wish.upscale is None else Upscaler.load(wish.upscale, wish.device)
    return finish(folder, read_kinds(",".join(wish.also) or None), upscaler, hooks)


@contextmanager
def _resume_hint(kept: Finishing, folder: Path, hooks: RunHooks) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if kept.has_frames:
            hooks.note(f"go on from the last frame with: genrender resume {shlex.quote(str(folder))}")
        raise


class _Work:
    """A finished run, and the frames that are made beside its own."""

    def __init__(self, run: FinishedRun, kept: Finishing, hooks: RunHooks) -> None:
        self.run = run
        self.kept = kept
        self.hooks = hooks
        shape = run.clip.gbuffers[0].depth.shape
        self._alphas = FrameFile(kept.alpha_file, len(run.frames), shape, is_sparse=True)

    def alpha(self, frame: int) -> Float32[np.ndarray, "H W"]:
        """Several kinds want it, and it takes sixteen rays a pixel."""
        with suppress(DamagedFile):  # as those count that never were written
            return self._alphas.read([frame])[0]
        found = object_alpha(self.run.clip, frame)
        self._alphas.write([frame], found[None])
        return found

    def rgba(self, frame: int) -> UInt8[np.ndarray, "H W 4"]:
        """A frame with straight alpha."""
        alpha = np.round(255 * self.alpha(frame)).astype(np.uint8)
        return np.dstack([to_picture(self.run.frames[frame]), alpha])

    def files(self, kind: str, suffix: str, write: Callable[[Path, int], None]) -> Path:
        """A file for every frame, of which those that are kept stay."""
        place = self.kept.place(kind)
        place.mkdir(exist_ok=True)
        for frame in _counted(kind, len(self.run.frames), self.hooks):
            path = place / f"{frame:05d}{suffix}"
            if not path.exists():
                write(path, frame)
        return self.kept.show(kind)


def _alpha(work: _Work) -> Path:
    return work.files(ALPHA_DIR, ".png", lambda path, frame: write_rgba(path, work.rgba(frame)))


def _exr(work: _Work) -> Path:
    """Linear light with the primaries of sRGB, multiplied by alpha, as OpenEXR and compositors have it."""

    def write(path: Path, frame: int) -> None:
        alpha = work.alpha(frame)
        linear = linear_light(work.run.frames[frame]) * alpha[..., None]
        channels = {letter: linear[..., index] for index, letter in enumerate("RGB")} | {"A": alpha}
        write_channels(path, {name: values.astype(np.float16) for name, values in channels.items()})

    return work.files(EXR_DIR, ".exr", write)


def _mattes(work: _Work) -> Path:
    clip = work.run.clip
    names = object_names(clip)

    def write(path: Path, frame: int) -> None:
        header, channels = object_mattes(sampled_ids(clip, frame), N_SAMPLES, names)
        picture = work.run.frames[frame]
        # Readers show the picture and pick in it.
        channels |= {letter: picture[..., index] for index, letter in enumerate("RGB")}
        write_channels(path, channels, header)

    return work.files(MATTES_DIR, ".exr", write)


def _prores(work: _Work) -> Path:
    path = work.run.folder.path / PRORES_FILE
    frames = _counted("prores", len(work.run.frames), work.hooks)
    write_prores(path, (work.rgba(frame) for frame in frames), work.run.clip.fps)
    return path


def _upscaled(folder: RunFolder, upscaler: Upscaler, kept: Finishing, hooks: RunHooks) -> list[Path]:
    frames, place = folder.frames(), kept.place(UPSCALED_DIR)
    place.mkdir(exist_ok=True)
    for frame in _counted("upscaled", len(frames), hooks):
        path = place / frame_file(frame)
        if not path.exists():
            write_png(path, to_picture(upscaler(frames[frame].astype(np.float32) / 255)))
    video = folder.path / UPSCALED_FILE
    write_video(video, Frames(kept.files(UPSCALED_DIR)), folder.read_record().shot.fps)
    return [kept.show(UPSCALED_DIR), video]


_WRITERS: dict[str, Callable[[_Work], Path]] = {
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


def _counted(what: str, n_frames: int, hooks: RunHooks) -> Iterator[int]:
    hooks.report(what, 0, n_frames)
    for frame in range(n_frames):
        yield frame
        hooks.report(what, frame + 1, n_frames)
