"""A whole run, from the G-buffers of a clip to a folder with its frames, video and contact sheet.

Example:
    >>> from genrender.config import PRESETS
    >>> from genrender.runs.folder import RunFolder
    >>> config = replace(PRESETS["balanced"], prompt="a red and white striped biped")
    >>> make_video(load_pipeline("pocket"), render_clip(scene), config, RunFolder("runs/biped"))
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrender.backbones.controls import networks_of
from genrender.backbones.families import backbone_of
from genrender.backbones.ip_adapters import read_pictures
from genrender.backbones.protocol import Backbone, Conditions
from genrender.backbones.recipe import Recipe
from genrender.backbones.samplers import make_sampler
from genrender.backbones.sources import read_guidance_scale, video_scale
from genrender.config import ControlKind, RunConfig
from genrender.errors import ModelError
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.control_pictures import ControlPictures
from genrender.gbuffer.preview import depth_picture, uv_picture
from genrender.injection.keyframes import covering_frames, default_n_keyframes
from genrender.methods.table import METHODS, Method
from genrender.runs.folder import RunFolder
from genrender.runs.frames import write_frames
from genrender.runs.hooks import SILENT, Cancelled, RunHooks
from genrender.runs.part import ClipPart
from genrender.runs.progress import Feedback
from genrender.runs.record import Cost, Making, NetworksRecord, Origin, RunRecord, SettingsRecord, ShotRecord
from genrender.runs.told import KEY, told_of
from genrender.runs.unfinished import UnfinishedRun
from genrender.runs.words import warn_of_unknown_words
from genrender.sampling.appearance import Appearance, AppearanceRecorder
from genrender.sampling.chunks import is_out_of_memory
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.scheduler import set_noise_levels
from genrender.sampling.store import FinalTensors, RunStore, n_steps_done
from genrender.sampling.surface import ClipSurface
from genrender.shots.clip import Clip
from genrender.shots.objects import prompts_by_id
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.memory import gpu_peak_memory_mb, peak_memory_mb, reset_gpu_peak_memory
from genrender.storage.run_files import RECORDED_FILE


@dataclass(frozen=True)
class Inputs:
    """What goes into a run beside model, clip and settings.

    Attributes:
        origin: what the user calls the model, and more of what only whoever loads files knows.
        appearance: frames of another run whose look the clip takes over, matched to this scene.
        part: the frames that are made, where these are not all; only their G-buffers and those of the
            keyframes are looked at.
        words_are_looked_at: words of the prompt that the model does not know have been named already.
    """

    origin: Origin | None = None
    appearance: Appearance | None = None
    part: ClipPart | None = None
    words_are_looked_at: bool = False


def make_video(
    pipeline: Any,
    clip: Clip,
    config: RunConfig,
    folder: RunFolder,
    inputs: Inputs = Inputs(),
    method: Method = METHODS["generative"],
    unfinished: UnfinishedRun | None = None,
    hooks: RunHooks = SILENT,
) -> list[int]:
    """Makes the frames of a clip and fills a run folder with them.

    A run that does not end well keeps what an earlier one left in the folder, and leaves nothing behind but
    what `unfinished` keeps.

    Args:
        pipeline: of diffusers, as `load_networks` and `load_pipeline` give it.
        inputs: the model's name for `config.json`, and an appearance.
        method: what happens in attention layers, and whether the result is baked; its own settings, where it
            has any, are not looked at: `config` holds what counts.
        unfinished: where the run keeps how far it has come, to be resumed from; memory then does not grow
            with the clip. None: in memory. Only such a run keeps its appearance for other shots.
        hooks: told about every diffusion step and every finished frame.

    Returns:
        Indices of the frames that the model's safety checker blackened.

    Raises:
        Cancelled: the hooks say that the run is not wanted any more; `unfinished` keeps the steps done.
        ConfigError: a setting is out of range, or the clip does not fit the model.
        MediaError: a file cannot be written, or there is nothing that could be resumed.
        ModelError: the device's memory is too small.
    """
    config.check()
    if pipeline.name_or_path and not inputs.words_are_looked_at:
        warn_of_unknown_words(config, pipeline.name_or_path, hooks)
    settled = resolved(config, clip.shot.n_frames, pipeline)
    recipe = Recipe() if inputs.origin is None else inputs.origin.recipe

    # 1. All frames through the diffusion model.
    started_s = time.perf_counter()
    reset_gpu_peak_memory()
    backbone = backbone_of(pipeline, make_sampler(settled.sampler, pipeline.scheduler))
    with _memory_errors(clip, settled):
        part = inputs.part
        painted = _painted_frames(clip, settled, method)
        shown = clip if painted is None else clip.only(painted)
        numbers = tuple(range(clip.shot.n_frames)) if part is None else part.frames
        networks = _networks(pipeline, backbone.scheduler)
        shot = ShotRecord.of(clip, None if part is None else part.frames)
        making = Making(shot, SettingsRecord.of(settled), networks, inputs.origin)
        n_threads = torch.get_num_threads() if backbone.device.type == "cpu" else None
        if unfinished is not None:
            started_s -= unfinished.begin(making.entries(), n_threads)
        hooks.progress("diffusion", 0, settled.n_steps)
        sampled = None if part is None else part.sampled(settled, clip.shot.n_frames)
        lent = () if part is None or part.keyframes is None else part.keyframes.frames
        previewed = range(len(shown.gbuffers)) if sampled is None else sorted({*sampled} - {*lent})
        feedback = Feedback(backbone, previewed, hooks, unfinished, started_s)
        store_folder = None if unfinished is None else unfinished.path
        recorder = None
        if unfinished is not None and not lent:
            recorder = _recorder(backbone, shown, part, settled, recipe, unfinished)
        latents = _diffuse(backbone, shown, settled, method, feedback, store_folder, inputs, recorder)
        pipeline.maybe_free_model_hooks()
        if feedback.was_interrupted:
            raise Cancelled("cancelled")

    # 2. Frames, video and contact sheet.
    with folder.replaced() as draft:
        with _memory_errors(clip, settled):
            flagged = write_frames(backbone, latents, clip, painted, part, settled, draft, hooks)
        seconds = (time.perf_counter() - started_s) / len(numbers)
        cost = Cost(seconds, peak_memory_mb(), gpu_peak_memory_mb())
        words = sys.argv if unfinished is None else unfinished.command
        record = RunRecord.now(making, cost, settled.seed, words, flagged, n_threads)
        draft.write_record(record)
        scale = video_scale(pipeline.name_or_path, clip.shot.width, clip.shot.height)
        draft.write_video(clip.fps, scale, settled.repeat, told_of(record))
        if part is None or part.keyframes is None:
            inverse_range = inverse_depth_range(clip.gbuffers)
        else:
            inverse_range = part.keyframes.inverse_range
        if recorder is not None:
            kept = [shown.gbuffers[frame] for frame in recorder.frames]
            pictures = ControlPictures(shown.gbuffers)
            control: dict[ControlKind, np.ndarray] = {
                one.kind: np.stack([pictures.of(one.kind, frame) for frame in recorder.frames])
                for one in recipe.steering
            }
            recorder.write(draft.appearance_file, kept, control, inverse_range)
        gbuffers, n_frames = clip.gbuffers, len(numbers)
        draft.write_contact_sheet(
            {
                "UV": PerFrame(lambda place: uv_picture(gbuffers[numbers[place]]), n_frames),
                "depth": PerFrame(
                    lambda place: depth_picture(gbuffers[numbers[place]], inverse_range), n_frames
                ),
            },
            {KEY: told_of(record)},
        )
    return flagged


def _recorder(
    backbone: Backbone,
    clip: Clip,
    part: ClipPart | None,
    config: RunConfig,
    recipe: Recipe,
    unfinished: UnfinishedRun,
) -> AppearanceRecorder:
    """For the frames that together show most of the clip's surface."""
    if part is None:
        frames = covering_frames(clip.gbuffers, default_n_keyframes(len(clip.gbuffers)), config.seed)
    else:
        frames = part.frames
    scheduler, factor = backbone.scheduler, backbone.vae_factor
    set_noise_levels(scheduler, config.n_steps, recipe.timesteps, recipe.sigmas)
    shape = (backbone.n_channels, clip.shot.height // factor, clip.shot.width // factor)
    file, n_kept = unfinished.path / RECORDED_FILE, n_steps_done(unfinished.path)
    return AppearanceRecorder(frames, len(scheduler.timesteps), shape, file, n_kept)


def conditions_of(
    config: RunConfig, recipe: Recipe, object_prompts: Mapping[int, str] | None = None
) -> Conditions:
    """What a run tells the model.

    Args:
        config: its guidance is resolved.
        recipe: says what steers, and which pictures are shown.
        object_prompts: what single objects show, by object id; None: nothing of their own.

    Raises:
        ConfigError: a picture cannot be read.
    """
    assert config.guidance_scale is not None
    return Conditions(
        prompt=config.prompt,
        negative_prompt=config.negative_prompt,
        object_prompts=object_prompts or {},
        prompts_at=config.prompts_at,
        clip_skip=config.clip_skip,
        guidance_scale=config.guidance_scale,
        guidance_rescale=config.guidance_rescale,
        guess_mode=config.guess_mode,
        controls=recipe.steering,
        image_prompt=read_pictures(recipe.image_prompts),
    )


def resolved(config: RunConfig, n_frames: int, pipeline: Any) -> RunConfig:
    """The configuration with every default that depends on the clip or the model filled in.

    Args:
        config: what was asked for.
        n_frames: of the clip.
        pipeline: of diffusers, which holds the networks.
    """
    injection = config.method.injection
    wanted = injection.n_keyframes
    n_keyframes = default_n_keyframes(n_frames) if wanted is None else min(wanted, n_frames)
    guidance = config.guidance_scale
    return replace(
        config,
        method=replace(config.method, injection=replace(injection, n_keyframes=n_keyframes)),
        guidance_scale=read_guidance_scale(pipeline.name_or_path) if guidance is None else guidance,
    )


def _networks(pipeline: Any, scheduler: Any) -> NetworksRecord:
    settings = json.loads(scheduler.to_json_string())
    names = [network.config.get("_name_or_path") for network in networks_of(pipeline.controlnet)]
    return NetworksRecord(
        device=str(pipeline.device),
        dtype=str(pipeline.unet.dtype).removeprefix("torch."),
        controlnet=", ".join(str(name) for name in names if name is not None) or None,
        scheduler=type(scheduler).__name__,
        scheduler_config={name: value for name, value in settings.items() if not name.startswith("_")},
    )


def _painted_frames(clip: Clip, config: RunConfig, method: Method) -> list[int] | None:
    """The frames that a baked method paints, the keyframes that show most surface; None: all frames."""
    if not method.is_baked:
        return None
    n_keyframes = config.method.injection.n_keyframes
    assert n_keyframes is not None
    return covering_frames(clip.gbuffers, n_keyframes, config.seed)


def _diffuse(
    backbone: Backbone,
    clip: Clip,
    config: RunConfig,
    method: Method,
    feedback: Feedback,
    store_folder: Path | None,
    inputs: Inputs,
    recorder: AppearanceRecorder | None,
) -> FinalTensors:
    tracker, part = clip.tracker if clip.has_geometry else None, inputs.part
    keyframes = None if part is None else part.keyframes
    surface = ClipSurface(
        clip.gbuffers,
        backbone.vae_factor,
        config.method,
        config.seed,
        backbone.device,
        tracker,
        keyframes or inputs.appearance,
        store_folder,
    )
    recipe = Recipe() if inputs.origin is None else inputs.origin.recipe
    conditions = conditions_of(config, recipe, prompts_by_id(clip, config))
    sampling = SamplingConfig(
        config.n_steps,
        config.seed,
        config.chunk_size,
        attention=method.attention,
        timesteps=recipe.timesteps,
        sigmas=recipe.sigmas,
        frames=None if part is None else part.sampled(config, clip.shot.n_frames),
    )
    store = RunStore(store_folder)
    return sample(backbone, conditions, surface, config.method, sampling, store, feedback, recorder)


@contextmanager
def _memory_errors(clip: Clip, config: RunConfig) -> Iterator[None]:
    """Says what to do where the device's memory is too small, in the networks as in the decoder."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"the device has too little memory for frames of {clip.shot.width}x{clip.shot.height} pixels, "
            f"even for one at a time, or for {config.method.injection.n_keyframes} keyframes together: use "
            "fewer keyframes, a smaller size or --dtype float16"
        ) from error
