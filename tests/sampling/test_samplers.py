"""Laws that hold for every row of the table of samplers."""

import dataclasses

import pytest
import torch
from diffusers import EDMEulerScheduler
from pipelines import NEGATIVE, PROMPT, diffusers_latents, make_pipe
from tiny_models import sliding_card, tiny_scheduler

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.samplers import (
    SAMPLERS,
    find_sampler,
    make_sampler,
)
from genrender.config import PER_FRAME, NoiseConfig
from genrender.sampling.loop import Hooks, SamplingConfig, sample
from genrender.sampling.prediction import x0_rules
from genrender.sampling.store import RunStore
from genrender.sampling.surface import ClipSurface

HEIGHT, WIDTH, N_FRAMES, N_STEPS = 40, 56, 3, 4
CLIP = sliding_card(N_FRAMES, HEIGHT, WIDTH)
NAMES = [sampler.names[0] for sampler in SAMPLERS]
EVERY = [*NAMES, *(f"{each.names[0]}-{spacing}" for each in SAMPLERS for spacing in each.spacings)]


def made(name: str, kind: str = "epsilon"):
    """Of what a model comes with that the sampler is for, whose networks predict `kind`."""
    sampler = find_sampler(name)[0]
    own = EDMEulerScheduler(sigma_max=15.0, prediction_type=kind) if sampler.is_edm else tiny_scheduler(kind)
    scheduler = make_sampler(name, own)
    assert scheduler.config.prediction_type == kind
    return scheduler


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(20 + frame) for frame in range(N_FRAMES)]


def unit_latents() -> torch.Tensor:
    return torch.randn(N_FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def pipe():
    return make_pipe()


def sampled(pipe, scheduler, method, chunk_size=2, store=None, hooks=None, **settings) -> torch.Tensor:
    backbone = backbone_of(pipe, scheduler)
    surface = ClipSurface(CLIP, 8, method, 0, torch.device("cpu"))
    sampling = SamplingConfig(settings.pop("n_steps", N_STEPS), chunk_size=chunk_size, **settings)
    conditions = Conditions(PROMPT, NEGATIVE, guidance_scale=3.0)
    return sample(backbone, conditions, surface, method, sampling, store, hooks)[range(N_FRAMES)]


@pytest.fixture
def brownian_paths(monkeypatch):
    """diffusers' own scheduler draws its Brownian motions with one generator after the other."""
    left = generators()

    class Path:
        def __init__(self, sample, *_):
            self.shape, self.generator, self.start = sample.shape, left.pop(0), None

        def __call__(self, sigma, after):
            fresh = torch.randn(self.shape, generator=self.generator)
            if self.start is None:
                self.start, self.middle, self.first = sigma, after, fresh
                return fresh
            assert sigma == self.start
            share = (sigma - self.middle) / (sigma - after)
            self.start = None
            return self.first * share**0.5 + fresh * (1 - share) ** 0.5

    monkeypatch.setattr("diffusers.schedulers.scheduling_dpmsolver_sde.BrownianTreeNoiseSampler", Path)


# In so few steps on these noise levels latents of random networks grow to 15 to 260 times what a picture's
# are, and float32's rounding with them: initial latents that differ in the seventh digit end as far apart. On
# processors without AVX-512 heun, dpm++-2m and dpm++-3m, too, end 1.1e-4 to 1.3e-4 apart (spread 15),
# and sa-solver-karras 0.9e-4 to 1.0e-4 (spread 17) with PyTorch 2.13 and 2.6.
AMPLIFYING = (
    *("dpm2-a-beta", "dpm++-2m-sde-beta", "dpm++-3m-sde-beta", "unipc-beta", "sa-solver-beta"),
    *("heun-beta", "dpm++-2m-beta", "dpm++-3m-beta", "sa-solver-karras"),
)


@pytest.mark.usefixtures("brownian_paths")
@pytest.mark.parametrize("name", EVERY)
def test_with_every_injection_off_latents_equal_diffusers(pipe, name):
    """Frame by frame, with a generator for every frame."""
    pipe.scheduler = made(name)
    arguments = {"num_inference_steps": N_STEPS, "eta": 0.5}
    expected = diffusers_latents(pipe, CLIP, unit_latents(), 3.0, generators(), **arguments)
    result = sampled(pipe, made(name), PER_FRAME, generator=generators(), latents=unit_latents(), eta=0.5)
    bound = 3e-5 * expected.std() if name in AMPLIFYING else 1e-4
    assert (result - expected).abs().max() <= bound
    assert expected.std() > 0.1


class StopAfter(Hooks):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, step, *_):
        self.is_over = step == self.step

    def is_interrupted(self):
        return self.is_over


# Schedulers that draw nothing make the same steps under both. These draw where eta asks for it.
WITH_ETA = ("ddim", "ddim-parallel", "tcd")
SURFACES = [(name, True) for name in NAMES] + [
    (each.names[0], False) for each in SAMPLERS if each.is_stochastic or each.names[0] in WITH_ETA
]


@pytest.mark.parametrize(("name", "is_on_surface"), SURFACES)
def test_neither_chunks_nor_a_stop_in_between_change_a_run(pipe, name, is_on_surface, tmp_path):
    noise = NoiseConfig(every_step=is_on_surface)
    method = dataclasses.replace(PER_FRAME, noise=noise)
    whole = sampled(pipe, made(name), method, eta=0.5)
    at_once = sampled(pipe, made(name), method, chunk_size=N_FRAMES, eta=0.5)
    assert (at_once - whole).abs().max() <= 1e-5 * whole.std()
    # Schedulers of two evaluations a step are between them after the third, number 2.
    stopped = sampled(pipe, made(name), method, eta=0.5, store=RunStore(tmp_path), hooks=StopAfter(2))
    assert not torch.equal(stopped, whole)
    assert torch.equal(sampled(pipe, made(name), method, eta=0.5, store=RunStore(tmp_path)), whole)


WITH_PREDICTIONS = [(name, "epsilon") for name in EVERY] + [
    (each.names[0], kind) for each in SAMPLERS for kind in each.predicts if kind != "epsilon"
]


def own_x0s(scheduler) -> list[torch.Tensor]:
    """Where clean latents will be that the scheduler finds, if it is one of those that can clip them."""
    seen: list[torch.Tensor] = []
    if hasattr(scheduler, "_threshold_sample"):
        scheduler.register_to_config(thresholding=True)
        scheduler._threshold_sample = lambda x0: seen.append(x0) or x0
    return seen


@pytest.mark.usefixtures("brownian_paths")
@pytest.mark.parametrize(("name", "kind"), WITH_PREDICTIONS)
def test_clean_latents_are_what_the_scheduler_takes_for_them(name, kind):
    scheduler = made(name, kind)
    seen = own_x0s(scheduler)
    scheduler.set_timesteps(N_STEPS)
    latents, compared = unit_latents() * scheduler.init_noise_sigma, 0
    for step, (rule, timestep) in enumerate(zip(x0_rules(scheduler), scheduler.timesteps, strict=True)):
        model_input = scheduler.scale_model_input(latents, timestep)
        output = torch.randn(latents.shape, generator=torch.Generator().manual_seed(step))
        x0 = rule.x0(output, model_input)
        error = (rule.output(x0, model_input) - output).abs().max()
        assert error <= 1e-4 * max(model_input.abs().max(), output.abs().max())
        result = scheduler.step(output, timestep, latents)
        own = seen[-1] if seen else getattr(result, "pred_original_sample", None)
        if own is not None:
            compared += 1
            assert (x0 - own).abs().max() <= 1e-4 * own.abs().max()
        latents = result.prev_sample
    # These two tell nobody.
    assert compared == (0 if name in ("pndm", "tcd") else len(scheduler.timesteps))


@pytest.mark.usefixtures("brownian_paths")
@pytest.mark.parametrize(("name", "kind"), WITH_PREDICTIONS)
def test_a_model_that_knows_the_picture_ends_with_it(name, kind):
    """Whatever the space in which a scheduler keeps its latents: the output for x0 leads to x0."""
    scheduler = made(name, kind)
    scheduler.set_timesteps(8)
    picture = 0.5 * unit_latents().flip(0)
    latents = unit_latents() * scheduler.init_noise_sigma
    for rule, timestep in zip(x0_rules(scheduler), scheduler.timesteps, strict=True):
        output = rule.output(picture, scheduler.scale_model_input(latents, timestep))
        latents = scheduler.step(output, timestep, latents).prev_sample
    assert (latents - picture).abs().mean() < 0.12
