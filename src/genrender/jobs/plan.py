"""Everything about a job that is quick to check, so that nothing slow begins which would fail for it.

Neither PyTorch nor diffusers is imported here: they alone take seconds.
"""

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from genrender.backbones.picture_size import PictureSize, read_picture_size
from genrender.backbones.prompt_weights import plain_text
from genrender.backbones.recipe_files import recipe_sources
from genrender.backbones.samplers import check_sampler_name
from genrender.backbones.sources import ModelSource, read_guidance_scale
from genrender.config import PRESETS, MethodConfig, RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.jobs.also import read_kinds
from genrender.jobs.clips import framed, picture_size, plan_exr_clip, refuse_without_geometry
from genrender.jobs.job import RenderJob
from genrender.jobs.part_checks import check_keyframes, check_lent, check_part, read_range
from genrender.jobs.settings import change_setting
from genrender.methods.table import METHOD_OPTIONS, METHODS
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.runs.words import warn_of_unknown_words
from genrender.scene.load import load_scene, scene_label
from genrender.shots.clip import Shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.atomic import check_writable
from genrender.storage.limits import RUN_BYTES, bytes_on_disk, check_disk

# Frames beside those of a range: keyframes, and what steadies the light at its ends.
_AROUND_RANGE = 24


@dataclass(frozen=True)
class Plan:
    """A job that can be made.

    Attributes:
        job: what was asked for.
        config: the settings that come of it.
        source: where the model's files are.
        shot: the frames that will be shown; objects may still lack texture coordinates.
        folder: where the run goes.
    """

    job: RenderJob
    config: RunConfig
    source: ModelSource
    shot: Shot | ExrShot
    folder: RunFolder

    @property
    def disk_bytes(self) -> int:
        """What the run takes on the disk while it goes on."""
        n_frames = self.shot.n_frames
        if self.job.keyframes_from is not None and self.job.workers is None:
            n_around = _AROUND_RANGE + 2 * self.job.chunk
            n_frames = min(n_frames, len(read_range(self.job, n_frames)) + n_around)
        return RUN_BYTES * self.shot.width * self.shot.height * n_frames


def plan(job: RenderJob, folder: RunFolder | None = None, hooks: RunHooks = SILENT) -> Plan:
    """Finds out what can be wrong, before any slow work and before anything is written.

    Args:
        folder: where the run goes; None: a new folder in `runs/`, named after the scene and the time.
        hooks: told about what may make the result worse.

    Raises:
        GenRenderError: something is wrong with a setting, the scene, the model or the places of files.
    """
    check_has_words(job)
    config = run_config(job)
    config.check()
    check_sampler_name(config.sampler)
    for text in (config.prompt, config.negative_prompt or "", *_other_texts(config)):
        plain_text(text)  # raises what is wrong with its weights
    job.recipe.check()
    read_kinds(job.also)
    source = recipe_sources(job.recipe)[0]
    folder = folder or new_folder(job)
    folder.check_can_be_filled()
    _check_out(job.out, folder)
    shot = _plan_shot(job, config, source, hooks)
    check_part(job, shot.n_frames)
    made = Plan(job, config, source, shot, folder)
    # Files of an earlier attempt are made use of.
    check_disk(made.disk_bytes - bytes_on_disk(folder.unfinished_dir.glob("*")), folder.path)
    beyond = [frame for frame, _ in config.prompts_at if frame >= shot.n_frames]
    if beyond:
        raise ConfigError(
            f"--prompt-at {beyond[0]}: the clip has {shot.n_frames} frames, expected 1 to {shot.n_frames - 1}"
        )
    if job.keyframes_from is not None:
        check_keyframes(job.keyframes_from, job, config, shot)
    if job.appearance_from is not None:
        check_lent(job, config, shot, hooks)
    warn_of_unknown_words(config, source.location, hooks)
    _warn_without_guidance(config, source, hooks)
    return made


def _warn_without_guidance(config: RunConfig, source: ModelSource, hooks: RunHooks) -> None:
    scale = config.guidance_scale
    if scale is None:
        scale = read_guidance_scale(source.location)
    idle = {
        "the negative prompt": bool(config.negative_prompt),
        "--guidance-rescale": config.guidance_rescale > 0,
    }
    for what, is_given in idle.items():
        if is_given and scale <= 1:
            hooks.warn(f"{what} does nothing at --guidance {scale:g}; it needs more than 1")


def check_has_words(job: RenderJob) -> None:
    """Raises ConfigError for what no command line asks for: a run's words say how it is made again."""
    shot = job.clip.shot
    if shot.times_s is not None:
        raise ConfigError(
            "times_s is given, expected None: frames of a video follow each other evenly; give n_frames, "
            "fps, start and end"
        )
    if job.background_color is not None and shot.backdrop != "none":
        raise ConfigError(
            f"backdrop is {shot.backdrop!r} and background_color is {job.background_color}, expected one of "
            "them; leave the other out"
        )


def run_config(job: RenderJob) -> RunConfig:
    """The preset with everything that was asked for otherwise.

    Raises:
        ConfigError: two settings contradict each other.
    """
    preset = PRESETS[job.preset]
    chosen = METHODS[job.method]
    method = preset.method if chosen.config is None else _with_keyframes(chosen.config, preset)
    if job.method != "generative":
        _check_means_something(job)
        if job.appearance_from is not None:
            raise ConfigError("--appearance-from is a part of --method generative; leave one of them out")
    for option, is_given in (("prompt-at", bool(job.prompts_at)), ("lock", job.lock is not None)):
        if chosen.is_baked and is_given:
            raise ConfigError(
                f"--{option} means nothing with --method {job.method}, whose surfaces keep their colours; "
                "leave one of them out"
            )
    config = replace(
        preset,
        prompt=job.prompt,
        negative_prompt=job.negative_prompt,
        object_prompts=job.object_prompts,
        prompts_at=job.prompts_at,
        clip_skip=job.clip_skip,
        method=_override(method, job),
        n_steps=_n_steps(job, preset),
        guidance_scale=preset.guidance_scale if job.guidance is None else job.guidance,
        guidance_rescale=job.guidance_rescale,
        guess_mode=job.guess_mode,
        sampler=job.recipe.sampler or preset.sampler,
        seed=job.seed,
        chunk_size=job.chunk,
        lock=_lock(job, preset),
        repeat=job.repeat,
        background_color=job.background_color,
    )
    for text in job.settings:
        config = change_setting(config, text)
    return config


def _lock(job: RenderJob, preset: RunConfig) -> float:
    if job.lock is not None:
        return job.lock
    # The lock is a part of ours: a rival is what it is without, unless someone wants to see it with one. And
    # it shows the same detail throughout, which a prompt that changes asks not to have.
    return preset.lock if job.method == "generative" and not job.prompts_at else 0.0


def _other_texts(config: RunConfig) -> list[str]:
    return [text for _, text in (*config.object_prompts, *config.prompts_at)]


def _n_steps(job: RenderJob, preset: RunConfig) -> int:
    # A step goes from one noise level to the next, and to the end from the last of the timesteps.
    given = len(job.recipe.timesteps) or max(len(job.recipe.sigmas) - 1, 0)
    if (job.recipe.timesteps or job.recipe.sigmas) and job.steps is not None:
        raise ConfigError("--steps and the steps themselves are given, expected one of them; leave one out")
    return given or (preset.n_steps if job.steps is None else job.steps)


def _check_means_something(job: RenderJob) -> None:
    """Raises ConfigError for settings that a job's method does not have."""
    chosen = METHODS[job.method]
    for name in sorted(METHOD_OPTIONS - chosen.options):
        if getattr(job, "settings" if name == "set" else name) not in (None, ()):
            raise ConfigError(f"--{name} means nothing with --method {job.method}; leave one of them out")
    if job.noise is not None and chosen.config is not None and job.noise not in chosen.noises:
        raise ConfigError(
            f"--noise {job.noise} makes another method of {job.method}, expected {' or '.join(chosen.noises)}"
        )


def _with_keyframes(method: MethodConfig, preset: RunConfig) -> MethodConfig:
    """A method with as many keyframes as the preset takes."""
    n_keyframes = preset.method.injection.n_keyframes
    return replace(method, injection=replace(method.injection, n_keyframes=n_keyframes))


def _override(method: MethodConfig, job: RenderJob) -> MethodConfig:
    injection = method.injection
    return replace(
        method,
        noise=replace(method.noise, mode=job.noise or method.noise.mode),
        correspondence=replace(method.correspondence, engine=job.engine or method.correspondence.engine),
        injection=replace(
            injection,
            alpha=injection.alpha if job.alpha is None else job.alpha,
            unify=job.unify or injection.unify,
            n_keyframes=injection.n_keyframes if job.keyframes is None else job.keyframes,
        ),
    )


def check_method_needs_no_geometry(job: RenderJob, config: RunConfig) -> None:
    """Raises ConfigError for settings of a run that need triangles and a camera."""
    if config.method.correspondence.engine == "reproject":
        refuse_without_geometry("--engine reproject")
    if METHODS[job.method].is_baked:
        refuse_without_geometry(f"--method {job.method}")


def _plan_shot(job: RenderJob, config: RunConfig, source: ModelSource, hooks: RunHooks) -> Shot | ExrShot:
    if job.clip.is_exr:
        check_method_needs_no_geometry(job, config)
        shot = plan_exr_clip(job.clip, hooks)
        factor = read_picture_size(source).vae_factor
        _check_multiples((shot.width, shot.height), factor, "give --size ")
        return shot
    job.clip.read_exr_map()
    scene = load_scene(job.clip.scene, job.clip.allow_folder)
    # This may fetch a hub model's configuration, so what needs no network has been checked before.
    picture = read_picture_size(source)
    usual = _usual_size(job, picture)
    factor = picture.vae_factor
    size = picture_size(job.clip.size, scene, job.clip.shot.camera, usual, factor, hooks)
    _check_multiples(size, factor, "for instance ")
    made = framed(scene, job.clip, size)
    config.method.correspondence.check_map_size(size[1] // factor, size[0] // factor)
    for name, _ in config.object_prompts:
        made.scene.find_objects(name)
    return made


def _usual_size(job: RenderJob, picture: PictureSize) -> tuple[int, int]:
    if job.clip.size is None and picture.native is None:
        raise ConfigError("the model does not tell the size of its pictures; give --size, for example 512")
    return picture.native or (0, 0)


def _check_multiples(size: tuple[int, int], factor: int, remedy: str) -> None:
    if any(side % factor for side in size):
        near = "x".join(str(max(1, round(side / factor)) * factor) for side in size)
        end = f", {remedy}{near}" if remedy.startswith("for") else f"; {remedy}{near}"
        raise ConfigError(
            f"size is {size[0]}x{size[1]}, expected multiples of {factor}, the model's VAE factor{end}"
        )


def new_folder(job: RenderJob) -> RunFolder:
    """A run folder that is not there yet."""
    name, n = f"{scene_label(job.clip.scene)}-{timestamp()}", 1
    while (path := Path("runs") / (name if n == 1 else f"{name}-{n}")).exists():
        n += 1
    return RunFolder(path)


def timestamp() -> str:
    """Date and time as a part of a folder's name."""
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def _check_out(out: Path | None, folder: RunFolder) -> None:
    """Raises MediaError unless the video can be written to its place."""
    if out is None or out.resolve() == folder.video_file.resolve():
        return
    if out.suffix.lower() != ".mp4":
        raise MediaError(f"cannot write {out}: expected the name of an MP4 file, for instance {out.stem}.mp4")
    if out.is_dir():
        raise MediaError(f"cannot write {out}: it is a folder; give the name of a file")
    if out.parent.resolve() != folder.path.resolve():
        check_writable(out.parent)
