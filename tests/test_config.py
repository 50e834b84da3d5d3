from dataclasses import replace

import pytest

from genrender.config import (
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    MethodConfig,
    NoiseConfig,
    RunConfig,
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
    assert (paper.method.injection.unify, paper.method.injection.keyframes) == ("paper", "random")
    assert (paper.n_steps, paper.guidance_scale, paper.karras_sigmas) == (50, 7.5, True)


@pytest.mark.parametrize(
    ("stage", "name", "message"),
    [
        (
            NoiseConfig(),
            "mode",
            "unknown noise mode 'x', expected partition or nearest or fixed or independent",
        ),
        (CorrespondenceConfig(), "engine", "unknown correspondence engine 'x', expected texture"),
        (CorrespondenceConfig(), "fill_order", "unknown fill order 'x', expected quality or sequence"),
        (InjectionConfig(), "unify", "unknown unify rule 'x', expected fill or mean or paper"),
        (InjectionConfig(), "keyframes", "unknown keyframe strategy 'x', expected random or stratified"),
    ],
)
def test_unknown_names_are_refused(stage, name, message):
    # The tests' type checker would refuse the name at construction, but users run without one.
    object.__setattr__(stage, name, "x")
    with pytest.raises(ConfigError, match=f"^{message}$"):
        stage.check()
    kind = {NoiseConfig: "noise", CorrespondenceConfig: "correspondence", InjectionConfig: "injection"}
    run = RunConfig(prompt="a fox", method=replace(MethodConfig(), **{kind[type(stage)]: stage}))
    with pytest.raises(ConfigError, match=f"^{message}$"):
        run.check()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (MethodConfig(injection=InjectionConfig(alpha=1.5)), "alpha is 1.5"),
        (MethodConfig(injection=InjectionConfig(alpha=float("nan"))), "alpha is nan"),
        (MethodConfig(injection=InjectionConfig(n_keyframes=0)), "keyframes is 0"),
        (MethodConfig(correspondence=CorrespondenceConfig(ratio=0.0)), "texture ratio is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(method, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig(prompt="a fox", method=method).check()
