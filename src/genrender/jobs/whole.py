"""Parts of a clip made one run: the same files as of a run that makes the clip at once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from genrender.backbones.sources import video_scale
from genrender.gbuffer.preview import depth_picture, uv_picture
from genrender.jobs.clips import with_all_uvs
from genrender.jobs.join import read_parts
from genrender.jobs.plan import Plan
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.runs.record import Cost, Making, RunRecord
from genrender.runs.told import KEY, told_of
from genrender.sampling.appearance import read_appearance
from genrender.shots.clip import Shot
from genrender.storage.atomic import link_or_copy
from genrender.storage.lazy_frames import PerFrame


def write_whole(
    plan: Plan,
    keyframes: Path,
    parts: Sequence[Path],
    command: Sequence[str],
    seconds: float,
    hooks: RunHooks,
) -> list[int]:
    """Fills the plan's run folder with the frames of parts that are all of its clip.

    Args:
        keyframes: run folder of what they were made against, which the whole keeps for other shots.
        parts: run folders.
        command: the words that asked for the whole.
        seconds: that everything took.
        hooks: told about every frame.

    Returns:
        The frames that the model's safety checker blackened.

    Raises:
        ConfigError: the parts do not belong together.
        MediaError: a part is no finished run, or a file cannot be written.
    """
    runs, frames = read_parts(parts, hooks)
    source, shot = RunFolder(keyframes), plan.shot
    records = [record for _, record in runs]
    flagged = sorted(frame for record in records for frame in record.flagged_frames)
    making = _making(records[0].making, source.read_record().making, frames, plan.config.repeat)
    costs = [record.cost for record in [*records, source.read_record()]]
    cost = Cost(
        seconds / len(frames),
        max((one.peak_memory_mb for one in costs if one.peak_memory_mb is not None), default=None),
        max((one.gpu_peak_memory_mb for one in costs if one.gpu_peak_memory_mb is not None), default=None),
    )
    record = RunRecord.now(making, cost, records[0].seed, command, flagged, records[0].n_threads)
    with plan.folder.replaced() as draft:
        hooks.report("joining", 0, len(frames))
        for folder, of_part in runs:
            for file in RunFolder(folder).frame_files():
                link_or_copy(file, draft.frames_dir / file.name)
            hooks.report("joining", of_part.shot.shown[-1] + 1, len(frames))
        draft.write_record(record)
        scale = video_scale(plan.source.location, shot.width, shot.height)
        draft.write_video(shot.fps, scale, plan.config.repeat, told_of(record))
        link_or_copy(source.appearance_file, draft.appearance_file)
        inverse_range = read_appearance(source.appearance_file).inverse_range
        shown = with_all_uvs(shot) if isinstance(shot, Shot) else shot
        draft.write_contact_sheet(
            {
                "UV": PerFrame(lambda frame: uv_picture(shown.gbuffer(frame)), len(frames)),
                "depth": PerFrame(
                    lambda frame: depth_picture(shown.gbuffer(frame), inverse_range), len(frames)
                ),
            },
            {KEY: told_of(record)},
        )
    return flagged


def _making(of_part: Making, of_keyframes: Making, frames: range, repeat: int) -> Making:
    """What the whole was made of: that of its parts, and the G-buffers of all frames."""
    settings = replace(of_part.settings, others={**of_part.settings.others, "repeat": repeat})
    origin = of_part.origin
    if origin is not None and of_keyframes.origin is not None:
        origin = replace(origin, gbuffers=of_keyframes.origin.gbuffers)
    shot = replace(of_part.shot, clip_frames=tuple(frames))
    return replace(of_part, shot=shot, settings=settings, origin=origin)
