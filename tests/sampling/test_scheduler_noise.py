"""What stochastic schedulers draw at every step lives on the surface, and nothing else changes."""

import diffusers.schedulers.scheduling_euler_ancestral_discrete as ancestral_module
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, LCMScheduler
from scenes import rotating_sphere

from genrender.config import NoiseConfig
from genrender.noise.hashing import hash_key
from genrender.noise.initial import surface_noise
from genrender.sampling.scheduler_noise import StepNoise

CLIP = [rotating_sphere(64, 5.0 * frame) for frame in range(3)]


def two_steps(scheduler, config):
    scheduler.set_timesteps(4)
    latents = surface_noise(CLIP, 4, 8, 0, NoiseConfig("fixed")) * scheduler.init_noise_sigma
    noise = StepNoise(scheduler, CLIP, 8, 0, config)
    generator = torch.Generator().manual_seed(0)
    for step, timestep in enumerate(scheduler.timesteps[:2]):
        model_input = scheduler.scale_model_input(latents, timestep)
        with noise.of_step(step, range(len(CLIP))):
            latents = scheduler.step(
                model_input * 0.1, timestep, latents, generator=generator, return_dict=False
            )[0]
    return latents


@pytest.mark.parametrize("make", [EulerAncestralDiscreteScheduler, LCMScheduler])
def test_equal_frames_stay_equal_where_the_noise_does_not_depend_on_the_frame(make):
    shared = two_steps(make(), NoiseConfig("fixed"))
    torch.testing.assert_close(shared[0], shared[2])
    own = two_steps(make(), NoiseConfig("fixed", every_step=False))
    assert (own[0] - own[2]).abs().mean() > 0.01


def test_the_noise_is_that_of_the_step(monkeypatch):
    drawn = []
    real = EulerAncestralDiscreteScheduler.step

    def watch(self, *arguments, **options):
        drawn.append(ancestral_module.randn_tensor((3, 4, 8, 8)))
        return real(self, *arguments, **options)

    monkeypatch.setattr(EulerAncestralDiscreteScheduler, "step", watch)
    two_steps(EulerAncestralDiscreteScheduler(), NoiseConfig())
    for step, noise in enumerate(drawn):
        expected = surface_noise(CLIP, 4, 8, hash_key(0, "step noise", step, 1), NoiseConfig())
        torch.testing.assert_close(noise, expected)


def test_a_scheduler_that_draws_nothing_is_left_alone():
    results = [two_steps(DDIMScheduler(), NoiseConfig(every_step=flag)) for flag in (True, False)]
    assert torch.equal(*results)


def test_the_schedulers_own_function_comes_back_after_an_exception():
    before = ancestral_module.randn_tensor
    noise = StepNoise(EulerAncestralDiscreteScheduler(), CLIP, 8, 0, NoiseConfig())

    def fail():
        with noise.of_step(0, range(len(CLIP))):
            assert ancestral_module.randn_tensor is not before
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert ancestral_module.randn_tensor is before
