"""What a job looks at of its clip: all frames, or those that a part of it needs."""

from pathlib import Path

import numpy as np

from genrender.config import RunConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.injection.keyframes import covering_frames
from genrender.jobs.job import RenderJob
from genrender.jobs.part_checks import KEYFRAMES, note_partners, read_range
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.runs.part import ClipPart
from genrender.sampling.appearance import Appearance, read_appearance
from genrender.scene.names import partners
from genrender.shots.clip import Clip, Shot, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.shots.objects import clip_atlas_ids, clip_objects
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.run_files import APPEARANCE_FILE

# Of the pixels of a keyframe so many may show something else: machines round edges differently.
_OTHER_PIXELS = 1e-3


def read_keyframes(job: RenderJob) -> Appearance | None:
    """What a job's frames are made against; None: keyframes of its own.

    Raises:
        MediaError: it cannot be read.
    """
    if job.keyframes_from is None:
        return None
    return read_appearance(job.keyframes_from / APPEARANCE_FILE).as_keyframes()


def rendered_part(
    job: RenderJob,
    keyframes: Appearance | None,
    shot: Shot | ExrShot,
    config: RunConfig,
    hooks: RunHooks,
    file: Path,
) -> tuple[Clip, ClipPart | None]:
    """The clip with the G-buffers that a job needs, and which part of it is made; None: all.

    Args:
        job: what was asked for.
        keyframes: as `read_keyframes` gives them.
        shot: the whole clip, with texture coordinates on every object.
        config: resolved.
        hooks: told about every G-buffer.
        file: where the G-buffers go.

    Raises:
        ConfigError: the keyframes show another clip.
    """
    if job.keyframes_from is None or keyframes is None:
        clip = render_shot(shot, hooks.report, file)
        n_keyframes = config.method.injection.n_keyframes
        assert n_keyframes is not None
        if job.only != KEYFRAMES:
            return clip, None
        return clip, ClipPart(tuple(covering_frames(clip.gbuffers, n_keyframes, config.seed)))
    part = ClipPart(tuple(read_range(job, shot.n_frames)), keyframes)
    needed = sorted({*part.sampled(config, shot.n_frames), *keyframes.frames})
    if isinstance(shot, ExrShot):
        needed = list(range(shot.n_frames))  # objects are named by all frames that show them
    looked_at = render_shot(shot.only(needed), hooks.report, file).gbuffers
    row_of = {frame: row for row, frame in enumerate(needed)}

    def gbuffer(frame: int) -> GBuffer:
        return looked_at[row_of[frame]] if frame in row_of else shot.gbuffer(frame)

    clip = Clip(shot, PerFrame(gbuffer, shot.n_frames))
    for frame, kept in zip(keyframes.frames, keyframes.gbuffers, strict=True):
        _check_same(clip.gbuffers[frame], kept, frame, job.keyframes_from)
    return clip, part


def sampled_frames(job: RenderJob, keyframes: Appearance | None, config: RunConfig, n_frames: int) -> int:
    """How many frames of a clip go through the networks.

    Args:
        job: what was asked for.
        keyframes: as `read_keyframes` gives them.
        config: resolved.
        n_frames: of the clip.
    """
    if job.only == KEYFRAMES:
        assert config.method.injection.n_keyframes is not None
        return config.method.injection.n_keyframes
    if keyframes is None:
        return n_frames
    part = ClipPart(tuple(read_range(job, n_frames)), keyframes)
    return len({*part.sampled(config, n_frames), *keyframes.frames})


def lent_appearance(path: Path, clip: Clip, hooks: RunHooks) -> Appearance:
    """The appearance that a run has kept, with the texture ids of this clip."""
    theirs, ours = RunFolder(path).read_record().shot.atlas_ids, clip_atlas_ids(clip)
    if not clip.has_geometry:
        note_partners(path, theirs, ours, hooks)
    theirs = {our: theirs[their] for our, their in partners(ours, theirs).items()}
    return read_appearance(path / APPEARANCE_FILE).matched(theirs, ours, clip_objects(clip))


def _check_same(found: GBuffer, kept: GBuffer, frame: int, path: Path) -> None:
    """Raises ConfigError where a keyframe shows something else than when it was made."""
    is_other = (found.object_id != kept.object_id) | (found.tri_id != kept.tri_id)
    with np.errstate(invalid="ignore"):
        is_other |= np.abs(found.depth - kept.depth) > 1e-3 * kept.depth
    if is_other.mean() > _OTHER_PIXELS:
        raise ConfigError(
            f"keyframe {frame} of {path} shows something else than this clip ({is_other.mean():.0%} of its "
            "pixels): give the same scene, camera and moments to every part, or make the keyframes again"
        )
