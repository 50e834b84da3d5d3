"""Noise levels and generators of a caller, samplers by name, and schedulers that are refused."""

import inspect
import re
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import (
    CMStochasticIterativeScheduler,
    DDIMInverseScheduler,
    DDIMScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    IPNDMScheduler,
    LCMScheduler,
    ScoreSdeVeScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import AysSchedules
from pipelines import NEGATIVE, PROMPT, diffusers_latents, make_pipe
from tiny_models import tiny_scheduler, tiny_unet

from genrender.backbones.samplers import (
    SAMPLERS,
    SPACINGS,
    check_sampler_name,
    check_scheduler,
    find_sampler,
    make_sampler,
    sampler_of,
)
from genrender.config import PER_FRAME, InjectionConfig, MethodConfig
from genrender.errors import ConfigError
from genrender.sampling.scheduler import NoiseGivenScheduler, set_noise_levels

FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))
CHOSEN = {
    "timesteps": [900, 600, 333, 40],
    "sigmas": AysSchedules["StableDiffusionSigmas"][::2],
}


def per_frame(pipe, clip, latents, **arguments):
    settings = {"guidance_scale": 3.0, "latents": latents, "output_type": "latent", "chunk_size": 2}
    return pipe(PROMPT, clip, NEGATIVE, PER_FRAME, **(settings | arguments)).latents


@pytest.mark.parametrize(
    ("scheduler", "kind"),
    [(EulerDiscreteScheduler, "timesteps"), (EulerDiscreteScheduler, "sigmas"), (LCMScheduler, "timesteps")],
)
def test_a_callers_noise_levels_equal_diffusers(clip, unit_latents, scheduler, kind):
    pipe = make_pipe()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    generators = [[torch.Generator().manual_seed(frame) for frame in range(5)] for _ in range(2)]
    chosen = {kind: CHOSEN[kind]}
    expected = diffusers_latents(pipe, clip, unit_latents, 3.0, generators[0], **chosen)
    result = per_frame(pipe, clip, unit_latents, generator=generators[1], **chosen)
    assert (result - expected).abs().max() <= 1e-4
    usual = per_frame(pipe, clip, unit_latents, num_inference_steps=4, generator=generators[1])
    assert (result - usual).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("scheduler", "chosen", "message"),
    [
        (EulerDiscreteScheduler, {"timesteps": [100, 900]}, "timesteps are 100, 900, expected descending"),
        (EulerDiscreteScheduler, {"timesteps": [1000, 5]}, "expected descending ones from 999 to 0"),
        (EulerDiscreteScheduler, {"timesteps": [100.5, 5]}, "expected whole numbers"),
        (EulerDiscreteScheduler, {"sigmas": [1.0, -1.0]}, "sigmas are 1, -1, expected descending ones down"),
        (EulerDiscreteScheduler, {"sigmas": [1.0]}, "there is one sigma, expected at least two"),
        (EulerDiscreteScheduler, {"sigmas": [1.0, 0.0], "timesteps": [5]}, "expected one of them"),
        (DDIMScheduler, {"timesteps": [9, 5]}, "DDIMScheduler takes no timesteps of its caller"),
        (HeunDiscreteScheduler, {"sigmas": [9.0, 5.0]}, "HeunDiscreteScheduler takes no sigmas"),
        (EDMEulerScheduler, {"sigmas": [9.0, 5.0]}, "EDMEulerScheduler takes no sigmas"),
        (UniPCMultistepScheduler, {"sigmas": [9.0, 5.0]}, "UniPCMultistepScheduler cannot run with sigmas="),
    ],
)
def test_noise_levels_that_a_scheduler_does_not_take_are_refused(scheduler, chosen, message):
    with pytest.raises(ConfigError, match=message) as told:
        set_noise_levels(scheduler(), 4, **chosen)
    assert "\n" not in str(told.value)


def test_a_number_of_steps_that_a_scheduler_does_not_take_is_refused():
    with pytest.raises(ConfigError, match="LCMScheduler cannot run with num_inference_steps=60"):
        set_noise_levels(LCMScheduler(), 60)


def test_a_list_of_generators_has_one_for_every_frame(clip, unit_latents):
    pipe = make_pipe()
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ConfigError, match="there are 2 generators, expected one, or 5: one a frame"):
        per_frame(pipe, clip, unit_latents, generator=[torch.Generator()] * 2)
    alone = [torch.Generator().manual_seed(seed) for seed in (4, 4, 5, 4, 4)]
    same = unit_latents[:1].repeat(5, 1, 1, 1)
    draws = per_frame(pipe, [clip[0]] * 5, same, generator=alone, num_inference_steps=2)
    assert (draws[0] - draws[4]).abs().max() <= 1e-4
    assert (draws[0] - draws[2]).abs().max() > 1e-2


# As the distilled models come: few steps, without guidance, from the highest noise level on.
DISTILLED = {
    "turbo": lambda own: EulerAncestralDiscreteScheduler.from_config(own, timestep_spacing="trailing"),
    "lcm": LCMScheduler.from_config,
    "tcd": TCDScheduler.from_config,
}


@pytest.mark.parametrize("n_steps", [1, 2, 4])
@pytest.mark.parametrize("name", DISTILLED)
def test_distilled_models_take_few_steps(clip, unit_latents, name, n_steps):
    pipe = make_pipe()
    if name == "lcm":
        pipe.register_modules(unet=tiny_unet(time_cond_proj_dim=8))
    pipe.scheduler = DISTILLED[name](pipe.scheduler.config)
    scale = 4.0 if name == "lcm" else 0.0
    generators = [[torch.Generator().manual_seed(frame) for frame in range(5)] for _ in range(2)]
    expected = diffusers_latents(pipe, clip, unit_latents, scale, generators[0], num_inference_steps=n_steps)
    result = per_frame(
        pipe, clip, unit_latents, generator=generators[1], guidance_scale=scale, num_inference_steps=n_steps
    )
    assert (result - expected).abs().max() <= 1e-4
    if name == "turbo":
        assert pipe.scheduler.timesteps[0] == 999
    whole = pipe(
        PROMPT, clip, config=FULL, guidance_scale=scale, num_inference_steps=n_steps, output_type="latent"
    ).latents
    assert whole.isfinite().all()
    assert whole.std() > 0.1


REFUSED = [
    (FlowMatchEulerDiscreteScheduler(), "it is for flow matching, and Stable Diffusion's networks predict"),
    (EulerDiscreteScheduler(prediction_type="flow_prediction"), "is set for flow matching"),
    (UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True), "for flow matching"),
    (CMStochasticIterativeScheduler(), "it is for consistency models"),
    (IPNDMScheduler(), "it has noise levels of its own"),
    (DDIMInverseScheduler(), "it goes from pictures to noise"),
    (ScoreSdeVeScheduler(), "unknown sampler 'ScoreSdeVeScheduler'"),
    (
        EulerAncestralDiscreteScheduler(prediction_type="sample"),
        "knows no networks that predict 'sample'",
    ),
]


@pytest.mark.parametrize(("scheduler", "reason"), REFUSED, ids=lambda value: type(value).__name__)
def test_schedulers_that_would_be_driven_wrongly_are_refused_by_name(clip, scheduler, reason):
    pipe = make_pipe(scheduler=scheduler)
    with pytest.raises(ConfigError, match=re.escape(reason)) as told:
        pipe(PROMPT, clip, config=PER_FRAME, num_inference_steps=2)
    assert type(scheduler).__name__ in str(told.value)
    assert "\n" not in str(told.value)


def test_edm_samplers_are_for_models_that_were_trained_so():
    with pytest.raises(ConfigError, match="edm-euler is for models trained in the manner of Karras"):
        make_sampler("edm-euler", tiny_scheduler())
    with pytest.raises(ConfigError, match="euler is not for models trained in the manner of Karras"):
        make_sampler("euler", EDMEulerScheduler())


def test_a_name_says_what_is_made():
    own = DDIMScheduler(beta_start=0.001, timestep_spacing="trailing", prediction_type="v_prediction")
    made = make_sampler("dpm++-2m-sde-karras", own)
    assert type(made).__name__ == "DPMSolverMultistepScheduler"
    config = made.config
    assert (config.algorithm_type, config.use_karras_sigmas) == ("sde-dpmsolver++", True)
    assert (config.beta_start, config.timestep_spacing) == (0.001, "trailing")
    assert config.prediction_type == "v_prediction"
    assert type(make_sampler("model", own)) is DDIMScheduler
    assert type(make_sampler("HeunDiscreteScheduler", own)) is HeunDiscreteScheduler
    # A spacing of the model's own scheduler is not the sampler's.
    karras = EulerDiscreteScheduler(use_karras_sigmas=True)
    assert make_sampler("heun", karras).config.use_karras_sigmas is False
    assert make_sampler("heun-exponential", karras).config.use_exponential_sigmas is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eulr", r"unknown sampler 'eulr' \(did you mean euler\?\), expected one of model, ddim, "),
        ("Euler A", r"did you mean euler-a\?"),
        ("euler-karas", r"did you mean euler-karras\?"),
        ("euler-a-karras", "the sampler euler-a has no karras noise levels; choose euler-a"),
        ("FlowMatchHeunDiscreteScheduler", "cannot be used: it is for flow matching"),
        ("CosineDPMSolverMultistepScheduler", "its networks read the arc tangent"),
    ],
)
def test_unknown_names_are_told_in_one_line(name, message):
    with pytest.raises(ConfigError, match=message) as told:
        make_sampler(name, tiny_scheduler())
    assert "\n" not in str(told.value)


def test_every_row_is_a_scheduler_of_diffusers_and_every_name_stands_for_one_row():
    names = [name for sampler in SAMPLERS for name in sampler.names]
    assert len(set(names)) == len(names)
    for sampler in SAMPLERS:
        assert hasattr(diffusers, sampler.scheduler)
        assert find_sampler(sampler.names[-1])[0] is sampler

    class Own(DDIMScheduler):
        pass

    assert sampler_of(Own()).names == ("ddim",)
    check_scheduler(Own())


WORDS = {"epsilon": "noise", "v_prediction": "v", "sample": "picture"}


def documented(sampler) -> str:
    also = ", ".join(f"`{name}`" for name in sampler.names[1:])
    predicts = ", ".join(WORDS[kind] for kind in sampler.predicts)
    cells = [f"`{sampler.names[0]}`", also, f"`{sampler.scheduler}`", ", ".join(sampler.spacings), predicts]
    return f"| {' | '.join([*cells, 'yes' if sampler.is_stochastic else '', sampler.package or ''])} |"


def test_the_documentation_lists_the_table():
    document = (Path(__file__).parents[2] / "docs" / "samplers.md").read_text()
    listed = [line for line in document.splitlines() if line.startswith("| `")]
    assert listed == [documented(sampler) for sampler in SAMPLERS]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.names[0])
def test_a_row_says_what_is_so_of_its_class(sampler):
    """Which noise levels it has, and whether it draws noise at its steps."""
    own = EDMEulerScheduler() if sampler.is_edm else tiny_scheduler()
    scheduler, drawn = make_sampler(sampler.names[0], own), []
    known = inspect.signature(type(scheduler).__init__).parameters
    assert sampler.spacings == tuple(key for key, setting in SPACINGS.items() if setting in known)

    def noise(frames, step, draw):
        drawn.append((step, draw))
        return torch.zeros(len(frames), 4, 8, 8)

    set_noise_levels(scheduler, 4)
    stepper = NoiseGivenScheduler(scheduler, 1, [torch.Generator()], noise=noise)
    for step, timestep in enumerate(scheduler.timesteps):
        latents = torch.ones(1, 4, 8, 8)
        scheduler.scale_model_input(latents, timestep)
        stepper.step(latents, timestep, latents, step, [0])
    assert bool(drawn) == sampler.is_stochastic


@pytest.mark.parametrize(
    ("name", "package"), [("lms", "scipy"), ("dpm++-sde", "torchsde"), ("heun-beta", "scipy")]
)
def test_a_package_that_is_missing_is_named(monkeypatch, name, package):
    monkeypatch.setattr("genrender.backbones.samplers.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"needs {package}, .*: pip install 'genrender\[samplers\]'"):
        check_sampler_name(name)
    check_sampler_name("heun")
