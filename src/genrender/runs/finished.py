"""A finished run, opened again: its frames, and what they show, from the scene or from image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.channels import ExrMap
from genrender.gbuffer.exr.survey import open_sequence
from genrender.runs.folder import RunFolder
from genrender.runs.record import Passes
from genrender.scene.load import load_scene
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import Clip, Report, ShotConfig, render_clip, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.lazy_frames import PerFrame

# Two runs in which these are equal show the same surface points in the same pixels.
SHOT_SETTINGS = (
    "scene",
    "animation_index",
    "camera",
    "loop",
    "backdrop",
    "uv",
    "objects",
    "width",
    "height",
    "times_s",
)
# Likewise, in runs whose clip was read from EXR files.
EXR_SETTINGS = ("exr_map", "exr_frames")


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What metrics need of a run.

    Attributes:
        folder: the run folder.
        config: the resolved settings that its `config.json` holds.
        clip: the scene's geometry in every frame.
        frames: RGB in [0, 1], each read when it is looked at.
    """

    folder: RunFolder
    config: dict[str, Any]
    clip: Clip
    frames: Sequence[Float32[np.ndarray, "H W 3"]]


def open_reference(run: FinishedRun, path: str | Path) -> FinishedRun:
    """Open a run of the same shot, to compare `run` with.

    Raises:
        ConfigError: it shows another shot.
        MediaError: it is no folder of a finished run.
    """
    reference = open_run(path, clip=run.clip)
    for name in (*SHOT_SETTINGS, *EXR_SETTINGS):
        if reference.config.get(name) != run.config.get(name):
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
    config = folder.read_config()["config"]
    pictures = folder.frames()
    shot = ShotConfig(
        size=(config["width"], config["height"]),
        animation=None if config["animation_index"] is None else str(config["animation_index"]),
        times_s=tuple(config["times_s"]),
        fps=config["fps"],
        camera=config["camera"],
        loop=config["loop"],
        backdrop=config["backdrop"],
        uv=config["uv"],
        objects=_object_rule(config["objects"]),
    )
    scene = Path(config["scene"])
    if len(pictures) != len(shot.times_s or ()):
        raise MediaError(
            f"{path} holds {len(pictures)} frames, and its config.json tells of {len(shot.times_s or ())}: "
            "render the run again"
        )
    if clip is None and "exr_map" in config:
        clip = _read_clip(scene, config, report, gbuffer_file)
    clip = clip or render_clip(
        load_scene(scene, config.get("allowed_folders", ())), shot, report, gbuffer_file
    )
    frames = PerFrame(lambda frame: pictures[frame].astype(np.float32) / 255, len(pictures))
    return FinishedRun(folder, config, clip, frames)


def _object_rule(stored: dict[str, Any]) -> ObjectRule:
    merge = tuple((pattern, name) for pattern, name in stored["merge"])
    return ObjectRule(stored["by"], merge, tuple(stored["ignore"]))


def _read_clip(path: Path, config: dict[str, Any], report: Report | None, gbuffer_file: Path | None) -> Clip:
    """The clip of a run whose G-buffers come from EXR files."""
    sequence = open_sequence(
        path, ExrMap(**{name: config["exr_map"][name] for name in Passes.__annotations__})
    )
    size = config["width"], config["height"]
    frames = config["exr_frames"]
    shot = ExrShot.of(sequence, len(frames), config["fps"], size, start=frames[0])
    shown = [sequence.numbers[frame] for frame in shot.frames]
    if shown != frames:
        raise MediaError(
            f"{path} holds other frames ({shown[0]}..{shown[-1]}) than when the run was made; render it again"
        )
    return render_shot(shot, report, gbuffer_file)
