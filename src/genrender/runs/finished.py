"""A finished run, opened again: its frames, and what they show, from the scene or from image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.channels import ExrMap
from genrender.gbuffer.exr.survey import open_sequence
from genrender.runs.folder import RunFolder
from genrender.runs.record import RunRecord, ShotRecord
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, Report, render_clip, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.lazy_frames import PerFrame


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What metrics need of a run.

    Attributes:
        folder: the run folder.
        record: what its `config.json` says.
        clip: the scene's geometry in every frame.
        frames: RGB in [0, 1], each read when it is looked at.
    """

    folder: RunFolder
    record: RunRecord
    clip: Clip
    frames: Sequence[Float32[np.ndarray, "H W 3"]]


def open_reference(run: FinishedRun, path: str | Path) -> FinishedRun:
    """Open a run of the same shot, to compare `run` with.

    Raises:
        ConfigError: it shows another shot.
        MediaError: it is no folder of a finished run.
    """
    reference = open_run(path, clip=run.clip)
    if (name := reference.record.shot.difference(run.record.shot)) is not None:
        raise ConfigError(
            f"the reference {path} shows another shot ({name} differs); render it with the same scene, "
            "camera, size and times"
        )
    return reference


def open_run(
    path: str | Path, report: Report | None = None, clip: Clip | None = None, gbuffer_file: Path | None = None
) -> FinishedRun:
    """Open a run folder and render the clip's G-buffers again.

    Args:
        path: the run folder.
        report: is told about every G-buffer.
        clip: what the run shows, where it is known to be that; None: rendered again.
        gbuffer_file: where the G-buffers go, to be read when they are looked at; None: in memory.

    Raises:
        MediaError: it is no folder of a finished run.
        SceneError: the scene has gone or cannot be read any more.
        ConfigError: the EXR files that the clip was read from are fewer than before.
    """
    if not Path(path).is_dir():
        raise MediaError(f"no run folder {path}: expected the folder that `genrender render` printed")
    folder = RunFolder(path)
    record = folder.read_record()
    shot, pictures = record.shot, folder.frames()
    if len(pictures) != len(shot.shown):
        raise MediaError(
            f"{path} holds {len(pictures)} frames, and its config.json tells of {len(shot.shown)}: "
            "render the run again"
        )
    if clip is None and shot.exr_map is not None:
        clip = _read_clip(shot, shot.exr_map, report, gbuffer_file)
    if clip is None:
        scene = load_scene(Path(shot.scene), tuple(map(Path, shot.allowed_folders)))
        clip = render_clip(scene, shot.shot_config(), report, gbuffer_file, shot.clip_frames)
    frames = PerFrame(lambda frame: pictures[frame].astype(np.float32) / 255, len(pictures))
    return FinishedRun(folder, record, clip, frames)


def _read_clip(shot: ShotRecord, passes: ExrMap, report: Report | None, gbuffer_file: Path | None) -> Clip:
    """The clip of a run whose G-buffers come from EXR files."""
    sequence = open_sequence(Path(shot.scene), passes)
    frames = list(shot.exr_frames or ())
    read = ExrShot.of(sequence, len(frames), shot.fps, (shot.width, shot.height), start=frames[0])
    shown = [sequence.numbers[frame] for frame in read.frames]
    if shown != frames:
        raise MediaError(
            f"{shot.scene} holds other frames ({shown[0]}..{shown[-1]}) than when the run was made; "
            "render it again"
        )
    return render_shot(read.only(shot.shown), report, gbuffer_file)
