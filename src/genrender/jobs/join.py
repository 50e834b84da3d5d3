"""Runs that hold parts of one clip, joined to one video."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from genrender.backbones.recipe import Recipe
from genrender.backbones.recipe_files import recipe_sources
from genrender.backbones.sources import video_scale
from genrender.errors import ConfigError, MediaError
from genrender.media.images import enlarged
from genrender.media.video import write_video
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.runs.record import RunRecord, differences
from genrender.runs.told import told_of
from genrender.storage.atomic import check_writable
from genrender.storage.run_files import CONFIG_FILE

# Entries of `config.json` in which parts of one clip may differ.
_OF_PARTS = ("clip_frames", "device", "flagged_frames")


def join(folders: Sequence[Path], out: Path, hooks: RunHooks = SILENT) -> range:
    """Writes the frames of parts as one video.

    Args:
        folders: run folders in any order, whose frames follow each other when they are sorted; or a folder
            that holds them.
        out: the video.
        hooks: told about every frame.

    Returns:
        The frames' numbers in the clip.

    Raises:
        ConfigError: there are none, they are parts of different clips, or frames are missing or there twice.
        MediaError: a folder is no finished run, or the video cannot be written.
    """
    if not folders:
        raise ConfigError("no run folder is given, expected those of parts, or the folder that holds them")
    if out.suffix.lower() != ".mp4":
        raise MediaError(f"cannot write {out}: expected the name of an MP4 file, for instance {out.stem}.mp4")
    check_writable(out.parent)
    runs, frames = read_parts(tuple(_run_folders(folders)), hooks)
    first = runs[0][1]

    def pictures() -> Iterator[np.ndarray]:
        repeat, done = first.making.settings.others.get("repeat", 1), 0
        for _ in range(repeat):
            for folder, _record in runs:
                for picture in RunFolder(folder).frames():
                    yield enlarged(picture, scale)
                    done += 1
                    hooks.report("video", done, repeat * len(frames))

    scale = _scale(first)
    write_video(out, pictures(), first.shot.fps, told_of(replace(first, command=_of_whole(first.command))))
    return frames


def read_parts(
    folders: Sequence[Path], hooks: RunHooks = SILENT
) -> tuple[list[tuple[Path, RunRecord]], range]:
    """Runs that are parts of one clip, in order, and which frames they hold together; raises as `join`."""
    read = [(folder, RunFolder(folder).read_record()) for folder in folders]
    runs = sorted(read, key=lambda run: run[1].shot.shown)
    _check_one_clip(runs)
    frames = _check_follow(runs)
    for folder, record in runs:
        if len(found := RunFolder(folder).frame_files()) != len(record.shot.shown):
            raise MediaError(
                f"{folder} holds {len(found)} of {len(record.shot.shown)} frames: render it again"
            )
    numbers = {record.n_threads for _, record in runs} - {None}
    if len(numbers) > 1:
        told = " and ".join(map(str, sorted(filter(None, numbers))))
        hooks.warn(
            f"parts were made with OMP_NUM_THREADS={told}: frames may differ in their last bit from those "
            "of one run; set it alike for all parts"
        )
    return runs, frames


def _run_folders(folders: Sequence[Path]) -> Iterator[Path]:
    """The folders, and instead of one that holds run folders those."""
    for folder in folders:
        held = sorted(folder.glob(f"*/{CONFIG_FILE}"))
        if held and not (folder / CONFIG_FILE).exists():
            yield from (file.parent for file in held)
        else:
            yield folder


def _check_one_clip(runs: Sequence[tuple[Path, RunRecord]]) -> None:
    folder, record = runs[0]
    for other, its_record in runs[1:]:
        found = differences(record.making.entries(), its_record.making.entries())
        found = [one for one in found if one[0] not in _OF_PARTS and not one[0].startswith("gbuffers")]
        if found:
            name, one, another = found[0]
            raise ConfigError(
                f"{folder} and {other} are no parts of one clip: {name} is {one!r} and {another!r}; make all "
                "parts with the same settings against the same keyframes"
            )


def _check_follow(runs: Sequence[tuple[Path, RunRecord]]) -> range:
    """The frames of all runs, which must follow each other."""
    shown = [(folder, frame) for folder, record in runs for frame in record.shot.shown]
    for (folder, frame), (other, following) in pairwise(shown):
        if following <= frame:
            raise ConfigError(f"frame {following} is in {folder} and in {other}: give one of them")
        if following > frame + 1:
            missing = f"{frame + 1}" if following == frame + 2 else f"{frame + 1} to {following - 1}"
            raise ConfigError(
                f"after frame {frame} of {folder} comes {following} of {other}, and {missing} is in none "
                "of the folders: render that part, too; keyframes are no part of a video"
            )
    return range(shown[0][1], shown[-1][1] + 1)


def _scale(record: RunRecord) -> int:
    recipe = Recipe() if record.making.origin is None else record.making.origin.recipe
    return video_scale(recipe_sources(recipe)[0].location, record.shot.width, record.shot.height)


def _of_whole(command: Sequence[str]) -> tuple[str, ...]:
    """The words of a part's command line that are about the whole clip."""
    words, rest = [], iter(command)
    for word in rest:
        if word == "--only":
            next(rest, None)
        elif not word.startswith("--only="):
            words.append(word)
    return tuple(words)
