"""What a front end asks for, as plain data that can be written as JSON and read again.

Example:
    >>> job = RenderJob(ClipJob(Path("fox.glb"), ShotConfig(n_frames=16)), prompt="a red fox", preset="fast")
    >>> job_from_json(job_to_json(job)) == job
    True
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genrender.backbones.recipe import Recipe
from genrender.config import Engine, NoiseMode, PresetName, UnifyRule
from genrender.errors import ConfigError
from genrender.gbuffer.exr.channels import AUTOMATIC, ExrMap, read_exr_map
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.methods.table import MethodName
from genrender.shots.clip import ShotConfig
from genrender.storage.json_kinds import from_json, misfit


@dataclass(frozen=True)
class ClipJob:
    """What is to be seen.

    Attributes:
        scene: a scene file, a sequence of them, or EXR files.
        shot: moments, camera, objects. Its `size` is not looked at.
        size: width and height in pixels; or one side, the longer one where a camera of the file has a shape;
            None: what is usual, such as the model's own.
        exr_map: file with channels and conventions of EXR files.
        allow_folder: where files of the scene may lie beside its own folder.
    """

    scene: Path
    shot: ShotConfig = field(default_factory=ShotConfig)
    size: tuple[int, int] | int | None = None
    exr_map: Path | None = None
    allow_folder: tuple[Path, ...] = ()

    @property
    def is_exr(self) -> bool:
        """Whether the scene is a sequence of EXR files."""
        return is_exr_sequence(self.scene)

    def read_exr_map(self) -> ExrMap:
        """What is said about the channels of EXR files.

        Raises:
            ConfigError: the file cannot be used, or the scene is no sequence of EXR files.
        """
        if self.exr_map is None:
            return AUTOMATIC
        if not self.is_exr:
            raise ConfigError(f"--exr-map is about EXR files, and {self.scene} is none; leave it out")
        return read_exr_map(self.exr_map)


@dataclass(frozen=True)
class RenderJob:
    """A video that is to be made. None takes what the preset, the model or the device says.

    Attributes:
        clip: what is to be seen.
        prompt: what the video shows.
        negative_prompt: what it does not show.
        object_prompts: names or patterns with what these objects show.
        background_color: RGB, 0 to 255, of pixels without a surface.
        prompts_at: frames with what the video shows from there on; in between it changes evenly.
        recipe: what paints.
        preset: settings to start from; the others override them.
        method: one of `genrender.methods.table.METHODS`.
        steps: diffusion steps.
        guidance: weight of classifier-free guidance.
        guidance_rescale: see `RunConfig`.
        guess_mode: likewise.
        clip_skip: likewise.
        keyframes: number of keyframes of each step.
        noise: where the initial noise comes from.
        engine: how surface points are found again in other frames.
        alpha: weight of the blended surface features, 0 to 1.
        unify: how keyframes that show the same surface point are combined.
        settings: any settings of the method, as `genrender.jobs.settings` reads them.
        seed: of everything that is drawn by chance.
        lock: see `RunConfig`; None: the preset's, but 0 for other methods and for prompts that change.
        repeat: how often the video shows the clip.
        chunk: frames that go through the networks at once.
        appearance_from: folder of a run whose look this one takes over.
        only: the part of the clip that is made: `keyframes`, or numbers from 0 as `0-49`; None: all.
        keyframes_from: folder of the run with the keyframes that the frames are made against.
        workers: how many processes make parts of the clip side by side; None: one makes it as a whole.
        ray: address of the Ray cluster that they are in; None: they are on this machine.
        out: where the video goes beside the run folder.
        also: what a compositor takes as well, see `genrender.jobs.also.KINDS`, separated by commas.
        upscale: network that enlarges the finished frames, a folder or a hub id.
    """

    clip: ClipJob
    prompt: str
    negative_prompt: str | None = None
    object_prompts: tuple[tuple[str, str], ...] = ()
    background_color: tuple[int, int, int] | None = None
    prompts_at: tuple[tuple[int, str], ...] = ()
    recipe: Recipe = field(default_factory=Recipe)
    preset: PresetName = "balanced"
    method: MethodName = "generative"
    steps: int | None = None
    guidance: float | None = None
    guidance_rescale: float = 0.0
    guess_mode: bool = False
    clip_skip: int | None = None
    keyframes: int | None = None
    noise: NoiseMode | None = None
    engine: Engine | None = None
    alpha: float | None = None
    unify: UnifyRule | None = None
    settings: tuple[str, ...] = ()
    seed: int = 0
    lock: float | None = None
    repeat: int = 1
    chunk: int = 8
    appearance_from: Path | None = None
    only: str | None = None
    keyframes_from: Path | None = None
    workers: int | None = None
    ray: str | None = None
    out: Path | None = None
    also: str | None = None
    upscale: str | None = None


def job_to_json(job: RenderJob) -> dict[str, Any]:
    """The job as nested plain values."""
    return _plain(asdict(job))


def job_from_json(stored: Any) -> RenderJob:
    """The job of which `job_to_json` made these values.

    Raises:
        ConfigError: an entry is missing or of another kind; it says which.
    """
    wrong = misfit(stored, RenderJob, "job")
    # Earlier versions named the model elsewhere, and the default must not stand for it.
    if wrong is None and "recipe" not in stored:
        wrong = "job.recipe is missing"
    if wrong is not None:
        raise ConfigError(f"{wrong}: this is no job of this version, expected what it writes")
    return from_json(RenderJob, stored)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
