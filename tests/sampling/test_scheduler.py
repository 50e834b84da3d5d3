"""What stochastic schedulers draw at every step lives on the surface, and nothing else changes."""

from functools import partial
from threading import Barrier, Thread

import diffusers.schedulers.scheduling_euler_ancestral_discrete as ancestral_module
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSDEScheduler,
    EulerAncestralDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    LCMScheduler,
    SASolverScheduler,
)
from scenes import rotating_sphere

from genrender.config import MethodConfig, NoiseConfig
from genrender.noise.hashing import hash_key
from genrender.noise.initial import surface_noise
from genrender.sampling.scheduler import NoiseGivenScheduler
from genrender.sampling.surface import ClipSurface

CLIP = [rotating_sphere(64, 5.0 * frame) for frame in range(3)]


def surface_of(config: NoiseConfig, seed: int = 0) -> ClipSurface:
    return ClipSurface(CLIP, 8, MethodConfig(noise=config), seed, torch.device("cpu"))


def two_steps(scheduler, config, eta=0.0):
    scheduler.set_timesteps(4)
    surface = surface_of(config)
    latents = surface_noise(CLIP, 4, 8, 0, NoiseConfig("fixed")) * scheduler.init_noise_sigma
    noise = partial(surface.step_noise, 4) if config.every_step else None
    stepper = NoiseGivenScheduler(scheduler, len(CLIP), [torch.Generator().manual_seed(0)], eta, noise)
    for step, timestep in enumerate(scheduler.timesteps[:2]):
        model_input = scheduler.scale_model_input(latents, timestep)
        latents = stepper.step(model_input * 0.1, timestep, latents, step, range(len(CLIP)))
    return latents


STOCHASTIC = [
    EulerAncestralDiscreteScheduler,
    LCMScheduler,
    DDPMScheduler,
    DPMSolverSDEScheduler,
    KDPM2AncestralDiscreteScheduler,
    SASolverScheduler,
    partial(DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++"),
]


@pytest.mark.parametrize("make", STOCHASTIC)
def test_equal_frames_stay_equal_where_the_noise_does_not_depend_on_the_frame(make):
    shared = two_steps(make(), NoiseConfig("fixed"))
    torch.testing.assert_close(shared[0], shared[2])
    own = two_steps(make(), NoiseConfig("fixed", every_step=False))
    assert (own[0] - own[2]).abs().mean() > 0.01


def test_ddim_draws_where_eta_asks_for_it():
    plain = two_steps(DDIMScheduler(), NoiseConfig("fixed"))
    drawn = two_steps(DDIMScheduler(), NoiseConfig("fixed"), eta=1.0)
    assert (plain - drawn).abs().mean() > 0.01
    torch.testing.assert_close(drawn[0], drawn[2])


def test_the_noise_is_that_of_the_step():
    """The step is linear in its noise: with the same noise handed over by ourselves it comes out the same."""
    scheduler = EulerAncestralDiscreteScheduler()
    scheduler.set_timesteps(4)
    surface = surface_of(NoiseConfig())
    told = []

    def noise(frames, step, draw):
        told.append((list(frames), step, draw))
        return surface.step_noise(4, frames, step, draw)

    stepper = NoiseGivenScheduler(scheduler, len(CLIP), [torch.Generator()], noise=noise)
    zeros = torch.zeros(3, 4, 8, 8)
    results = [
        stepper.step(zeros, timestep, zeros, i, range(3)) for i, timestep in enumerate(scheduler.timesteps)
    ]
    assert told == [([0, 1, 2], step, 1) for step in range(4)]
    for step, result in enumerate(results[:3]):
        expected = surface_noise(CLIP, 4, 8, hash_key(0, "step noise", step, 1), NoiseConfig())
        after, before = scheduler.sigmas[step + 1], scheduler.sigmas[step]
        sigma_up = (after**2 * (before**2 - after**2) / before**2) ** 0.5
        torch.testing.assert_close(result, expected * sigma_up)


def test_the_two_draws_of_a_step_of_the_sde_are_halves_of_one_way():
    """Of a Brownian motion: the first half is as alike to the whole as its length says."""
    scheduler = DPMSolverSDEScheduler()
    scheduler.set_timesteps(4)
    told = []

    class Watched(NoiseGivenScheduler):
        def _draw_along_path(self, *arguments):
            told.append((super()._draw_along_path(*arguments), *arguments[1:]))
            return told[-1][0]

    stepper = Watched(scheduler, 1, [torch.Generator().manual_seed(0)])
    zeros = torch.zeros(1, 4, 128, 128)
    for step, timestep in enumerate(scheduler.timesteps[:2]):
        stepper.step(zeros, timestep, zeros, step, [0])
    (first, start, middle), (whole, also_start, end) = told
    assert start == also_start
    assert start > middle > end
    share = float((start - middle) / (start - end))
    # 65,536 numbers: their mean square is within 0.02 of what it is expected to be, four times its spread.
    assert abs(whole.square().mean() - 1) < 0.022
    assert abs((whole * first).mean() - share**0.5) < 0.022
    assert scheduler.noise_sampler is None


def test_the_schedulers_own_noise_does_not_depend_on_chunks():
    def run(chunks):
        scheduler = EulerAncestralDiscreteScheduler()
        scheduler.set_timesteps(2)
        stepper = NoiseGivenScheduler(scheduler, 3, [torch.Generator().manual_seed(1)])
        parts = []
        for frames in chunks:
            scheduler._step_index = None
            zeros = torch.zeros(len(frames), 4, 8, 8)
            parts.append(stepper.step(zeros, scheduler.timesteps[0], zeros, 0, frames))
        return torch.cat(parts)

    whole = run([[0, 1, 2]])
    assert torch.equal(whole, run([[0, 1], [2]]))
    assert len({float(frame.std()) for frame in whole}) == 3  # each frame has noise of its own


def test_a_scheduler_that_draws_nothing_is_left_alone():
    results = [two_steps(DDIMScheduler(), NoiseConfig(every_step=flag)) for flag in (True, False)]
    assert torch.equal(*results)


def test_neither_module_nor_class_is_changed_while_a_step_is_made():
    draw, step = ancestral_module.randn_tensor, EulerAncestralDiscreteScheduler.step
    seen = []

    def noise(frames, _step, _draw):
        seen.append(ancestral_module.randn_tensor is draw and EulerAncestralDiscreteScheduler.step is step)
        return torch.zeros(len(frames), 4, 8, 8)

    scheduler = EulerAncestralDiscreteScheduler()
    scheduler.set_timesteps(4)
    own = dict(vars(scheduler))
    stepper = NoiseGivenScheduler(scheduler, 3, [torch.Generator()], noise=noise)
    assert vars(scheduler) == own
    stepper.step(torch.zeros(3, 4, 8, 8), scheduler.timesteps[0], torch.zeros(3, 4, 8, 8), 0, range(3))
    assert seen == [True]


def test_two_runs_in_two_threads_give_what_each_gives_alone():
    """Both wait for each other within every draw, so that neither ends before the other begins."""
    configs = (NoiseConfig("partition"), NoiseConfig("fixed"))
    alone = [two_steps(EulerAncestralDiscreteScheduler(), config) for config in configs]
    assert not torch.equal(*alone)
    barrier, together = Barrier(2, timeout=20), {}

    def run(index):
        surface = surface_of(configs[index])

        def noise(frames, step, draw):
            barrier.wait()
            return surface.step_noise(4, frames, step, draw)

        scheduler = EulerAncestralDiscreteScheduler()
        scheduler.set_timesteps(4)
        latents = surface_noise(CLIP, 4, 8, 0, NoiseConfig("fixed")) * scheduler.init_noise_sigma
        stepper = NoiseGivenScheduler(scheduler, 3, [torch.Generator().manual_seed(0)], noise=noise)
        for step, timestep in enumerate(scheduler.timesteps[:2]):
            model_input = scheduler.scale_model_input(latents, timestep)
            latents = stepper.step(model_input * 0.1, timestep, latents, step, range(3))
        together[index] = latents

    threads = [Thread(target=run, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[index], alone[index]) for index in (0, 1))
