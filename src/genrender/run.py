"""A whole run, from the G-buffers of a clip to a folder with its frames, video and contact sheet.

Example:
    >>> from genrender.config import PRESETS
    >>> from genrender.media.run_folder import RunFolder
    >>> config = replace(PRESETS["balanced"], prompt="a red and white striped biped")
    >>> make_video(load_pipeline("pocket"), render_clip(scene), config, RunFolder("runs/biped"))
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from genrender.config import RunConfig
from genrender.diffusion.keyframes import default_n_keyframes
from genrender.errors import ModelError
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.preview import depth_picture, to_picture, uv_picture
from genrender.media.run_folder import RunFolder
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.render import Clip, PerFrame, Report


def make_video(
    pipeline: GenerativeRenderingPipeline,
    clip: Clip,
    config: RunConfig,
    folder: RunFolder,
    details: Mapping[str, Any] | None = None,
    command: Sequence[str] | None = None,
    report: Report | None = None,
) -> None:
    """Makes the frames of a clip and fills a run folder with them.

    The folder is begun once all frames are diffused: a run that ends before that leaves nothing behind.

    Args:
        details: what `config.json` says beside `config` and the clip, for instance the model's name.
        command: the words of the command line, for `config.json`; None: this process's own.
        report: is told about every diffusion step and every finished frame.

    Raises:
        ConfigError: a setting is out of range, or the clip does not fit the model.
        MediaError: a file cannot be written.
        ModelError: the device's memory is too small.
    """
    config.check()
    report = report or (lambda *_: None)
    resolved = _resolve(config, clip.shot.n_frames)

    # 1. All frames through the diffusion model.
    with _sampler(pipeline, resolved):
        latents = _diffuse(pipeline, clip, resolved, report)
        description = {**(details or {}), **_describe(clip), **asdict(resolved)}
        description["scheduler"] = type(pipeline.scheduler).__name__

    # 2. Frames, video and contact sheet.
    is_new = not folder.path.exists()
    try:
        folder.start(description, resolved.seed, command)
        _write_frames(pipeline, latents, resolved.chunk_size, folder, report)
        folder.write_video(clip.fps)
        inverse_range = inverse_depth_range(clip.gbuffers)
        gbuffers, n_frames = clip.gbuffers, clip.shot.n_frames
        folder.write_contact_sheet(
            {
                "UV": PerFrame(lambda frame: uv_picture(gbuffers[frame]), n_frames),
                "depth": PerFrame(lambda frame: depth_picture(gbuffers[frame], inverse_range), n_frames),
            }
        )
    except BaseException:
        if is_new:
            shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _resolve(config: RunConfig, n_frames: int) -> RunConfig:
    """The configuration with every default that depends on the clip filled in."""
    injection = config.method.injection
    wanted = injection.n_keyframes
    n_keyframes = default_n_keyframes(n_frames) if wanted is None else min(wanted, n_frames)
    return replace(
        config, method=replace(config.method, injection=replace(injection, n_keyframes=n_keyframes))
    )


def _describe(clip: Clip) -> dict[str, Any]:
    shot = clip.shot
    scene = shot.scene
    return {
        "scene": scene.path,
        "animation": None if shot.animation is None else scene.animations[shot.animation].name,
        "camera": shot.camera_name,
        "n_frames": shot.n_frames,
        "fps": shot.fps,
        "times_s": list(shot.times_s),
        "width": shot.width,
        "height": shot.height,
    }


@contextmanager
def _sampler(pipeline: GenerativeRenderingPipeline, config: RunConfig) -> Iterator[None]:
    own = pipeline.scheduler
    if config.karras_sigmas:
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(own.config, use_karras_sigmas=True)
    try:
        yield
    finally:
        pipeline.scheduler = own


def _diffuse(pipeline: GenerativeRenderingPipeline, clip: Clip, config: RunConfig, report: Report) -> Tensor:
    def on_step(_pipeline: Any, step: int, _timestep: Tensor, _tensors: dict[str, Tensor]) -> None:
        report("diffusion", step + 1, len(pipeline.scheduler.timesteps))

    report("diffusion", 0, config.n_steps)
    try:
        return pipeline(
            config.prompt,
            clip.gbuffers,
            config.negative_prompt,
            config.method,
            num_inference_steps=config.n_steps,
            guidance_scale=config.guidance_scale,
            seed=config.seed,
            chunk_size=config.chunk_size,
            output_type="latent",
            callback_on_step_end=on_step,
        ).latents
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(
            f"the device has too little memory for {clip.shot.n_frames} frames of {clip.shot.width}x"
            f"{clip.shot.height} pixels in chunks of {config.chunk_size}: use smaller chunks, fewer "
            "keyframes or a smaller size"
        ) from error


def _write_frames(
    pipeline: GenerativeRenderingPipeline, latents: Tensor, chunk_size: int, folder: RunFolder, report: Report
) -> None:
    n_frames, index = len(latents), 0
    report("frames", 0, n_frames)
    for chunk in pipeline.decode_frames(latents, chunk_size):
        for frame in chunk:
            folder.write_frame(index, to_picture(frame))
            index += 1
            report("frames", index, n_frames)
