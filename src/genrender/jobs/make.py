"""A planned job made: the model, the G-buffers, the diffusion, the files."""

import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging

from genrender.backbones.attention_sites import select_layers
from genrender.backbones.families import backbone_of
from genrender.backbones.loading import check_device, default_device, load_networks
from genrender.backbones.precision import default_dtype
from genrender.backbones.recipe import Recipe
from genrender.backbones.recipe_files import recipe_digest
from genrender.backbones.samplers import make_sampler
from genrender.config import RunConfig
from genrender.gbuffer.control import shows_own_object
from genrender.jobs.also import read_kinds
from genrender.jobs.clips import with_all_uvs
from genrender.jobs.finish import finish, wish_of
from genrender.jobs.finishing import Wish, drop_wish, keep_wish
from genrender.jobs.in_parts import make_in_parts
from genrender.jobs.job import RenderJob, job_to_json
from genrender.jobs.pace import Estimate, frames_at_once, seconds_per_frame
from genrender.jobs.parts import lent_appearance, read_keyframes, rendered_part, sampled_frames
from genrender.jobs.plan import Plan
from genrender.jobs.upscale import Upscaler
from genrender.jobs.words import job_words
from genrender.methods.table import METHODS
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks, logged_warnings
from genrender.runs.make import Inputs, conditions_of, make_video, resolved
from genrender.runs.record import Origin
from genrender.runs.unfinished import UnfinishedRun, file_digest
from genrender.sampling.appearance import Appearance
from genrender.sampling.scheduler import set_noise_levels
from genrender.shots.clip import Shot
from genrender.storage.atomic import atomic_write
from genrender.storage.limits import NETWORK_BYTES, check_memory, network_memory
from genrender.storage.memory import peak_memory_mb
from genrender.storage.run_files import APPEARANCE_FILE


def make(
    plan: Plan, hooks: RunHooks = SILENT, command: Sequence[str] | None = None, resume: bool = False
) -> None:
    """Fills the plan's run folder. The model comes first: it fails more often than geometry does.

    Args:
        hooks: told about everything that takes long. A run that they cancel stops after the step that it is
            at, and can be resumed.
        command: the words that asked for it, for `config.json`; None: the command line that asks for the job.
        resume: go on where an earlier attempt in the same folder stopped.

    Raises:
        Cancelled: the hooks say so.
        GenRenderError: the device, the model, the clip or the disk does not suffice.
    """
    job, folder = plan.job, plan.folder
    words = ["genrender", *job_words(job, folder.path)] if command is None else command
    _check_memory(plan)
    kinds = read_kinds(job.also)
    upscaler = None if job.upscale is None else Upscaler.load(job.upscale, job.recipe.device)
    wish = wish_of(kinds, upscaler) if kinds or upscaler is not None else None
    begun = partial(_begun, plan, hooks, words, resume, wish)
    if job.workers is None:
        flagged = _make_here(plan, hooks, begun)
    else:
        with begun() as unfinished:
            flagged = make_in_parts(plan, unfinished, hooks)
    if wish is not None:
        finish(folder.path, kinds, upscaler, hooks)
    if flagged:
        hooks.warn(f"the model's safety checker blackened {_frames(flagged)}; try another prompt or seed")


@contextmanager
def _begun(
    plan: Plan, hooks: RunHooks, words: Sequence[str], resume: bool, wish: Wish | None
) -> Iterator[UnfinishedRun]:
    """The run under way, and what it needs beside its folder to count as finished."""
    folder = plan.folder
    with (
        logged_warnings(hooks),
        UnfinishedRun(folder, words, resume, job_to_json(plan.job)) as unfinished,
        _resume_hint(unfinished, folder, hooks),
    ):
        yield unfinished
        _copy_out(plan.job, folder)
        # Before the run counts as finished: what is killed in between is not forgotten.
        if wish is not None:
            keep_wish(folder, wish)
        else:
            drop_wish(folder.path)  # an earlier run's


def _make_here(
    plan: Plan, hooks: RunHooks, begun: Callable[[], AbstractContextManager[UnfinishedRun]]
) -> list[int]:
    """A whole run, or a part of a clip, by this process; returns what `make_video` does."""
    job, config, shot, folder = plan.job, plan.config, plan.shot, plan.folder
    digest = recipe_digest(job.recipe)  # it may read a gigabyte
    with logged_warnings(hooks):
        pipeline = _load(plan, digest, hooks)
    if config.method.injection.pre_attn or config.method.injection.uses_surface:
        select_layers(pipeline.unet, config.method.injection.layers)
    if pipeline.unet.config.get("time_cond_proj_dim") is not None:
        _warn_of_one_branch(config, hooks)
    sampler = make_sampler(config.sampler, pipeline.scheduler)
    set_noise_levels(sampler, config.n_steps, job.recipe.timesteps, job.recipe.sigmas)
    if isinstance(shot, Shot):
        shot = with_all_uvs(shot, hooks)
    origin = Origin(job.recipe, job.preset, job.method, digest)
    with begun() as unfinished:
        keyframes = read_keyframes(job)
        ahead = _estimate(pipeline, plan, keyframes)
        hooks.note(ahead.words((shot.width, shot.height), backbone_of(pipeline).device.type))
        settled = resolved(config, shot.n_frames, pipeline)
        clip, part = rendered_part(job, keyframes, shot, settled, hooks, unfinished.gbuffer_file)
        shown = range(shot.n_frames) if part is None else part.frames
        if not any(shows_own_object(clip.gbuffers[frame]).any() for frame in shown):
            hooks.warn("the camera sees nothing of the scene in any frame; choose another --camera")
        # What the frames depend on beside settings: a run is resumed only with the same files.
        origin = replace(origin, gbuffers=file_digest(unfinished.gbuffer_file))
        appearance = None
        if job.appearance_from is not None:
            appearance = lent_appearance(job.appearance_from, clip, hooks)
            origin = replace(origin, appearance=file_digest(job.appearance_from / APPEARANCE_FILE))
        if job.keyframes_from is not None:
            origin = replace(origin, keyframes=file_digest(job.keyframes_from / APPEARANCE_FILE))
        inputs = Inputs(origin, appearance, part, words_are_looked_at=True)
        return make_video(pipeline, clip, config, folder, inputs, METHODS[job.method], unfinished, hooks)


def _warn_of_one_branch(config: RunConfig, hooks: RunHooks) -> None:
    """Of what a model without an unconditional branch has no use for."""
    idle = {"the negative prompt": config.negative_prompt, "--guidance-rescale": config.guidance_rescale}
    for what, value in idle.items():
        if value:
            hooks.warn(f"{what} does nothing: this model takes guidance as an input (LCM)")


@contextmanager
def _resume_hint(unfinished: UnfinishedRun, folder: RunFolder, hooks: RunHooks) -> Iterator[None]:
    """Whatever stops a run, its user learns how to go on."""
    try:
        yield
    except BaseException:
        if unfinished.is_begun and unfinished.can_be_resumed:
            hooks.note(f"go on from the last step with: genrender resume {shlex.quote(str(folder.path))}")
        raise


def _copy_out(job: RenderJob, folder: RunFolder) -> None:
    """The video to the place that was asked for; until then the run counts as unfinished."""
    if job.out is not None and job.out.resolve() != folder.video_file.resolve():
        with atomic_write(job.out) as part:
            shutil.copyfile(folder.video_file, part)


def _frames(indices: list[int]) -> str:
    if len(indices) == 1:
        return f"frame {indices[0]}"
    more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
    return f"{len(indices)} frames: {', '.join(map(str, indices[:8]))}{more}"


def _load(plan: Plan, digest: str, hooks: RunHooks) -> Any:
    recipe = plan.job.recipe
    hooks.note(f"loading model {recipe.base}")
    # Only downloads are worth a progress bar.
    libraries = (diffusers.utils.logging, transformers.utils.logging) if plan.source.is_local else ()
    for library in libraries:
        library.disable_progress_bar()
    try:
        pipeline = _kept(recipe, digest)
    finally:
        for library in libraries:
            library.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@lru_cache(maxsize=1)
def _kept(recipe: Recipe, digest: str) -> Any:  # noqa: ARG001 (the same names with other weights)
    """The networks that were loaded last, for processes that make several runs."""
    return load_networks(recipe)


def _check_memory(plan: Plan) -> None:
    """Raises ConfigError where the device cannot hold even the fewest frames of this size."""
    recipe, shot = plan.job.recipe, plan.shot
    if recipe.device is not None:
        check_device(recipe.device)
    device = default_device() if recipe.device is None else torch.device(recipe.device)
    available = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    dtype = default_dtype(device, recipe.base == "pocket")
    if recipe.precision is not None:
        dtype = getattr(torch, recipe.precision)
    share = dtype.itemsize / torch.float32.itemsize
    what = f"the networks' maps for pictures of {shot.width}x{shot.height} pixels"
    check_memory(round(share * NETWORK_BYTES * shot.width * shot.height), what, available)


def estimate(plan: Plan, hooks: RunHooks = SILENT) -> Estimate:
    """What is ahead of a run: loads its networks, and times them.

    Raises:
        GenRenderError: the device, the model or the memory does not suffice.
    """
    _check_memory(plan)
    pipeline = _load(plan, recipe_digest(plan.job.recipe), hooks)
    return _estimate(pipeline, plan, read_keyframes(plan.job))


def _estimate(pipeline: Any, plan: Plan, keyframes: Appearance | None) -> Estimate:
    """Time, from one timed pass of the networks, memory and disk."""
    shot, backbone = plan.shot, backbone_of(pipeline)
    config = resolved(plan.config, shot.n_frames, pipeline)
    factor, n_pixels = backbone.vae_factor, shot.width * shot.height
    conditions = conditions_of(config, plan.job.recipe)
    frame_s = seconds_per_frame(backbone, conditions, (shot.height // factor, shot.width // factor))
    share = pipeline.unet.dtype.itemsize / torch.float32.itemsize
    n_frames = sampled_frames(plan.job, keyframes, config, shot.n_frames)
    at_once = min(frames_at_once(pipeline.unet, config.chunk_size), n_frames)
    memory = round(share * network_memory(n_pixels, at_once))
    if backbone.device.type == "cpu":
        memory += round(1e6 * (peak_memory_mb() or 0))
    else:
        memory += sum(
            tensor.nbytes
            for network in (pipeline.unet, pipeline.controlnet)
            for tensor in network.parameters()
        )
    return Estimate(frame_s, n_frames, config.n_steps, memory, plan.disk_bytes)
