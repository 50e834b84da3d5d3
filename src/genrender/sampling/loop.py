"""All frames of a clip denoised together: the sampling loop, beside the paper's section 4."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.backbones.protocol import Backbone, Conditions, Denoiser, Step
from genrender.backbones.samplers import check_scheduler
from genrender.config import MethodConfig
from genrender.errors import ConfigError
from genrender.injection.keyframes import default_n_keyframes, keyframe_draws
from genrender.injection.state import AttentionState
from genrender.sampling.appearance import AppearanceRecorder
from genrender.sampling.chunks import Chunks
from genrender.sampling.latents import LatentRules
from genrender.sampling.part import FinalLatents, Part
from genrender.sampling.passes import predict_frames
from genrender.sampling.scheduler import NoiseGivenScheduler, set_noise_levels
from genrender.sampling.step import model_input_of, predicted_x0_of
from genrender.sampling.store import FinalTensors, FrameTensors, RunShape, RunStore
from genrender.sampling.surface import ClipSurface

# Clean latents "n C h w" of the frames that it is given.
PredictedX0 = Callable[[Sequence[int]], Tensor]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class SamplingConfig:
    """How a clip is sampled, whatever makes its frames agree.

    Attributes:
        n_steps: diffusion steps, where neither timesteps nor sigmas are given.
        seed: of keyframes and, where `generator` is None, of what the scheduler draws on the screen.
        chunk_size: frames that go through the networks at once, halved where the device's memory does not
            suffice. It changes memory and speed, never a random number. A step's keyframes run together.
        eta: noise of DDIM; other schedulers ignore it.
        attention: what happens in the selected self-attention layers; see `genrender.methods` for others.
        generator: for noise that does not live on the surface, see `NoiseConfig.every_step`; several are one
            for every frame.
        latents: "F C h w" of unit variance, instead of mechanism 1's noise.
        timesteps: what the scheduler goes through, descending; only some schedulers take them.
        sigmas: likewise, noise levels.
        frames: the part of the clip that is made, ascending: against the frames that are lent, where these
            are of this clip, else as keyframes of all steps, together. None: the whole clip.
    """

    n_steps: int
    seed: int = 0
    chunk_size: int = 8
    eta: float = 0.0
    attention: type[AttentionState] = AttentionState
    generator: torch.Generator | Sequence[torch.Generator] | None = None
    latents: Tensor | None = None
    timesteps: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()
    frames: tuple[int, ...] | None = None

    def check(self) -> None:
        """Raises ConfigError for a count below 1."""
        for name, value in (("num_inference_steps", self.n_steps), ("chunk_size", self.chunk_size)):
            if value < 1:
                raise ConfigError(f"{name} is {value}, expected at least 1")

    def generators(self, n_frames: int) -> list[torch.Generator]:
        """What draws noise on the screen: one generator for the whole clip, or one for every frame.

        Raises:
            ConfigError: there are several, and not as many as frames.
        """
        if self.generator is None:
            return [torch.Generator("cpu").manual_seed(self.seed)]
        if isinstance(self.generator, torch.Generator):
            return [self.generator]
        if len(self.generator) != n_frames:
            raise ConfigError(
                f"there are {len(self.generator)} generators, expected one, or {n_frames}: one a frame"
            )
        return list(self.generator)


class Hooks:
    """What a caller wants to be told, and where it may step in. Everything here does nothing."""

    def on_begin(self, step: int, n_steps: int, denoiser: Denoiser) -> None:
        """The first evaluation of the model is number `step` of `n_steps`: 0, unless a run goes on."""

    def on_outputs(self, step: int, predicted_x0: PredictedX0) -> None:
        """The model has seen all frames, before the scheduler makes its step of them."""

    def on_step_end(
        self, step: int, timestep: Tensor, latents: FrameTensors, denoiser: Denoiser
    ) -> Denoiser | None:
        """The scheduler has made its step; what is written to `latents` counts.

        Returns:
            What denoises from here on; None: the same.
        """

    def is_interrupted(self) -> bool:
        """Asked after every step; True ends the loop there."""
        return False


def _in_turn(run: Callable[Concatenate[Backbone, P], R]) -> Callable[Concatenate[Backbone, P], R]:
    """A run that waits until no other uses its networks, and frees them, whatever becomes of it."""

    @wraps(run)
    def waiting(backbone: Backbone, *args: P.args, **kwargs: P.kwargs) -> R:
        with backbone.reserved():
            return run(backbone, *args, **kwargs)

    return waiting


@_in_turn
@torch.no_grad()
def sample(
    backbone: Backbone,
    conditions: Conditions,
    surface: ClipSurface,
    method: MethodConfig,
    sampling: SamplingConfig,
    store: RunStore | None = None,
    hooks: Hooks | None = None,
    recorder: AppearanceRecorder | None = None,
) -> FinalTensors:
    """Denoise the frames of a clip together.

    Args:
        backbone: the image model.
        conditions: what the clip shows.
        surface: the clip's G-buffers, made ready for this method.
        method: how the frames are made to agree.
        sampling: steps, seed, memory.
        store: what the run carries from step to step. Where it holds a part of this run, that goes on.
        hooks: told about every step.
        recorder: keeps some frames' latents of every step, for an appearance to be made of.

    Returns:
        The final latents, float32 "F C h w"; of a part, by the frames' numbers in the clip.

    Raises:
        ConfigError: a setting is out of range, or the clip does not fit the model.

    Source: Generative Rendering (arXiv 2312.01409), section 4.
    """
    method.check()
    sampling.check()
    store, hooks = store or RunStore(), hooks or Hooks()
    n_frames, scheduler = surface.n_frames, backbone.scheduler
    check_scheduler(scheduler)

    # 1. The model reads what the clip shows.
    denoiser = backbone.conditioned(conditions, surface.objects, surface.latent_size)
    backbone.free()

    # 2. Noise levels, and where an earlier attempt stands.
    set_noise_levels(scheduler, sampling.n_steps, sampling.timesteps, sampling.sigmas, backbone.device)
    timesteps = scheduler.timesteps
    surface.check_appearance(len(timesteps), backbone.n_channels, denoiser.control_kinds)
    generators = sampling.generators(n_frames)
    is_part = sampling.frames is not None
    wanted_frames = range(n_frames) if sampling.frames is None else sampling.frames
    lent = surface.lent if surface.is_part else ()
    part = Part(tuple(frame for frame in wanted_frames if frame not in lent), sampling.chunk_size)
    shape = (len(part.frames), backbone.n_channels, *surface.latent_size)
    run = RunShape(shape, len(timesteps), sampling.chunk_size)
    store.begin(run, backbone.device, scheduler, generators)
    chunks, at_once = part.chunks, Chunks(sampling.chunk_size, is_part)

    # 3. Mechanism 1: the initial noise lives on the surface, and so does what schedulers draw at a step.
    if store.step == 0:
        for frames in chunks:
            first = _initial_latents(backbone, surface, sampling.latents, frames)
            store.latents[part.rows(frames)] = first
    step_noise = partial(surface.step_noise, backbone.n_channels) if method.noise.every_step else None
    stepper = NoiseGivenScheduler(scheduler, n_frames, generators, sampling.eta, step_noise)

    # 4. Mechanisms 2 and 3: which surface points frames share, and what attention does with that.
    attention = sampling.attention(method.injection, 1, surface.engine)
    attention.n_lent = surface.n_foreign
    wanted = method.injection.n_keyframes
    n_keyframes = default_n_keyframes(n_frames) if wanted is None else min(wanted, n_frames)
    draws = keyframe_draws(timesteps.tolist(), scheduler.order)
    # Parts agree because their keyframes are the same at every step.
    same = lent or (part.frames if is_part else ())
    seen = surface.seen if method.injection.keyframes == "coverage" and not same else None
    rules = LatentRules(method.latents, scheduler, surface, is_part)

    # All frames advance one step together.
    with denoiser.injected(attention):
        hooks.on_begin(store.step, len(timesteps), denoiser)
        for step, timestep in enumerate(timesteps[store.step :], start=store.step):
            at, done = Step(step, len(timesteps), timestep), draws[step] / max(draws[-1], 1)
            # Guidance may begin or end on the way.
            attention.n_branches = denoiser.n_branches(at)
            keyframes = list(same) or attention.choose(
                n_frames, n_keyframes, sampling.seed, draws[step], seen
            )
            # Between steps the scheduler stands alike in all chunks, except for what it keeps of latents.
            # All of a part's frames may be keyframes, which are there already.
            store.recall(scheduler, 0 if chunks else None)
            model_input = partial(model_input_of, store, part, scheduler, timestep, surface)
            if recorder is not None:
                recorder.keep(step, store.latents[part.rows(recorder.frames)])

            # 5. The model's output: keyframes together, then the other frames, which read from them.
            def predict(
                frames: list[int],
                at: Step = at,
                see: Callable[..., Tensor] = model_input,
                denoiser: Denoiser = denoiser,
            ) -> Tensor:
                pictures = surface.control_images(frames, denoiser.control_kinds)
                return denoiser.predict(see(frames), at, pictures, frames)

            shown = keyframes if surface.is_part else [*surface.lent, *keyframes]
            window = denoiser.window
            of_lent = torch.zeros(0)
            for frames, output in predict_frames(
                predict, attention, part.frames, shown, at_once, done, window
            ):
                own = [row for row, frame in enumerate(frames) if frame not in surface.lent]
                store.outputs[part.rows(frames[row] for row in own)] = output[own]
                of_lent = output if not own else of_lent
            hooks.on_outputs(step, partial(predicted_x0_of, store, part, scheduler, model_input, step))

            # 6. The scheduler's step, between the rules for predicted clean and for noisy latents.
            if sources := rules.sources(keyframes, sampling.seed, draws[step]):
                if surface.is_part and not attention.is_active:
                    of_lent = predict(sources)
                outputs = of_lent if surface.is_part else store.outputs[part.rows(sources)]
                rules.start_step(sources, outputs, model_input(sources), step)
            for chunk, frames in enumerate(chunks):
                store.recall(scheduler, chunk)
                rows = part.rows(frames)
                current = store.latents[rows]
                seen_by_model = scheduler.scale_model_input(current, timestep)
                output = rules.change_output(store.outputs[rows], seen_by_model, frames, step, done)
                stepped = stepper.step(output, timestep, current, step, frames)
                store.next_latents[rows] = rules.change_latents(stepped, frames)
                store.remember(scheduler, chunk)

            # 7. From here on the step counts.
            denoiser = hooks.on_step_end(step, timestep, store.next_latents, denoiser) or denoiser
            store.commit(generators)
            if hooks.is_interrupted():
                break
    if recorder is not None and store.step == len(timesteps):
        recorder.keep(store.step, store.latents[part.rows(recorder.frames)])
    return FinalLatents(store.latents, part, surface.appearance, n_frames) if is_part else store.latents


def _initial_latents(
    backbone: Backbone, surface: ClipSurface, latents: Tensor | None, frames: list[int]
) -> Tensor:
    """The caller's, or mechanism 1's."""
    shape = (surface.n_frames, backbone.n_channels, *surface.latent_size)
    if latents is None:
        noise = surface.initial_noise(frames, backbone.n_channels)
    elif tuple(latents.shape) == shape:
        noise = latents[frames]
    else:
        raise ConfigError(f"latents of shape {tuple(latents.shape)}, expected {shape}: one per G-buffer")
    # float32 throughout: latents are tiny, and half precision would drift over the steps.
    scale: Any = backbone.scheduler.init_noise_sigma
    return noise.to(backbone.device, torch.float32) * scale


def decode_frames(
    backbone: Backbone,
    latents: FinalTensors,
    frames: Sequence[int] | None = None,
    on_flagged: Callable[[int], None] | None = None,
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """Frames of final latents, one by one: a long video never lies in memory as a whole, and the decoder,
    whose maps are as large as the picture, is not what decides how much memory a run takes.

    A safety checker, where the model brings one, blackens what it flags, as in diffusers.

    Args:
        backbone: the image model.
        latents: as `sample` returns them.
        frames: which of them, in which order; None: all.
        on_flagged: is told the index of every frame that was blackened, before that frame is yielded.

    Yields:
        The next frame, in [0, 1].
    """
    try:
        for frame in range(len(latents)) if frames is None else frames:
            picture, is_flagged = backbone.decode(latents[[frame]])
            if is_flagged and on_flagged is not None:
                on_flagged(frame)
            yield picture
    finally:
        backbone.free()
