from dataclasses import replace
from typing import get_args

import pytest

from genrender.config import (
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    LatentConfig,
    MethodConfig,
    NoiseConfig,
    RunConfig,
    UnifyRule,
)
from genrender.errors import ConfigError


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_and_ablations_pass_their_own_checks(preset):
    replace(PRESETS[preset], prompt="a fox").check()
    PER_FRAME.check()


def test_paper_is_the_published_method():
    paper = PRESETS["paper"]
    assert paper.method.noise == NoiseConfig(mode="nearest")
    assert paper.method.correspondence.fill_order == "sequence"
    assert not paper.method.correspondence.restore_spread
    assert paper.method.correspondence.inpaint
    assert paper.method.latents.normalise == "background"
    assert (paper.method.injection.unify, paper.method.injection.keyframes) == ("paper", "random")
    assert (paper.n_steps, paper.guidance_scale, paper.sampler) == (50, 7.5, "dpm++-karras")


@pytest.mark.parametrize(
    ("stage", "name", "message"),
    [
        (
            NoiseConfig(),
            "mode",
            "noise mode 'x', expected partition or bridge or nearest or fixed or independent",
        ),
        (CorrespondenceConfig(), "engine", "correspondence engine 'x', expected texture or reproject"),
        (CorrespondenceConfig(), "fill_order", "fill order 'x', expected quality or sequence"),
        (InjectionConfig(), "unify", f"unify rule 'x', expected {' or '.join(get_args(UnifyRule))}"),
        (
            InjectionConfig(),
            "keyframes",
            "keyframe strategy 'x', expected random or stratified or uniform or coverage",
        ),
        (LatentConfig(), "synchronise_unify", f"unify rule 'x', expected {' or '.join(get_args(UnifyRule))}"),
        (
            LatentConfig(),
            "synchronise_from",
            "source of synchronised latents 'x', expected keyframes or frames",
        ),
        (LatentConfig(), "normalise", "latent normalisation 'x', expected none or objects or background"),
    ],
)
def test_unknown_names_are_refused(stage, name, message):
    # The tests' type checker would refuse the name at construction, but users run without one.
    object.__setattr__(stage, name, "x")
    with pytest.raises(ConfigError, match=f"^unknown {message}$"):
        stage.check()
    kind = {NoiseConfig: "noise", CorrespondenceConfig: "correspondence", InjectionConfig: "injection"}
    kind[LatentConfig] = "latents"
    run = RunConfig(prompt="a fox", method=replace(MethodConfig(), **{kind[type(stage)]: stage}))
    with pytest.raises(ConfigError, match=f"^unknown {message}$"):
        run.check()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (MethodConfig(injection=InjectionConfig(alpha=1.5)), "alpha is 1.5"),
        (MethodConfig(injection=InjectionConfig(alpha=float("nan"))), "alpha is nan"),
        (MethodConfig(injection=InjectionConfig(n_keyframes=0)), "keyframes is 0"),
        (MethodConfig(correspondence=CorrespondenceConfig(ratio=0.0)), "texture ratio is 0"),
        (MethodConfig(correspondence=CorrespondenceConfig(ratio_layers=(("(", 2.0),))), "no regular express"),
        (
            MethodConfig(correspondence=CorrespondenceConfig(side_layers=(("up", 0),))),
            "layers 'up' is 0, expected 1 to 16384",
        ),
        (MethodConfig(NoiseConfig(degradation=1.0)), "noise degradation is 1"),
        (MethodConfig(injection=InjectionConfig(low_band=-0.1)), "low_band is -0.1"),
        (MethodConfig(injection=InjectionConfig(alpha_end=-0.1)), "alpha at the end is -0.1"),
        (MethodConfig(injection=InjectionConfig(alpha_layers=(("up", 2.0),))), "factor of layers 'up' is 2"),
        (MethodConfig(injection=InjectionConfig(alpha_layers=(("(", 1.0),))), "no regular expression"),
        (MethodConfig(latents=LatentConfig(synchronise=2.0)), "synchronise is 2"),
    ],
)
def test_numbers_out_of_range_are_refused(method, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig(prompt="a fox", method=method).check()


def test_alpha_follows_its_schedule_over_steps_and_layers():
    config = InjectionConfig(alpha=0.8, alpha_end=0.4, alpha_layers=(("up_blocks.0", 0.5), ("attn1", 0.5)))
    assert config.alpha_at("mid", 0.0) == 0.8
    assert config.alpha_at("mid", 1.0) == pytest.approx(0.4)
    assert config.alpha_at("up_blocks.0.attn1", 0.5) == pytest.approx(0.6 * 0.25)
    assert InjectionConfig(alpha=0.3).alpha_at("mid", 0.7) == pytest.approx(0.3)
    assert InjectionConfig(alpha=0.0, alpha_end=0.2).uses_surface
    assert not InjectionConfig(alpha=0.0).uses_surface


def test_rules_that_cannot_work_are_refused():
    in_sequence = CorrespondenceConfig(fill_order="sequence")
    for stage in (
        {"injection": InjectionConfig(unify="rising")},
        {"latents": LatentConfig(synchronise_unify="rising")},
    ):
        with pytest.raises(ConfigError, match="goes by quality"):
            MethodConfig(correspondence=in_sequence, **stage).check()
        MethodConfig(**stage).check()
