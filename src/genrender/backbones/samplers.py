"""Samplers by name: every scheduler of diffusers that can drive Stable Diffusion, and what is to know of it.

diffusers itself is imported when a sampler is made, not before: names are checked without it.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, Literal

from genrender.errors import ConfigError

# Where a scheduler keeps how much noise the network's input has at an evaluation: see `sampling.prediction`.
Levels = Literal["alphas", "sigmas", "interpolated", "interpolated before", "midpoints", "edm"]
# Noise levels that a name may ask for with `-karras` and so on, and the setting of diffusers that says so.
SPACINGS = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}
NOISE, VELOCITY, PICTURE = "epsilon", "v_prediction", "sample"


@dataclass(frozen=True)
class Sampler:
    """A scheduler of diffusers with settings.

    Attributes:
        names: short ones; the first is its own, the others are used elsewhere.
        scheduler: name of diffusers' class.
        levels: where it keeps its noise levels.
        settings: what differs from the configuration of the model's own scheduler.
        spacings: noise levels that it has beside the model's: names of `SPACINGS`.
        predicts: what its networks may predict, as `prediction_type` names it.
        package: what it needs beside diffusers.
        is_stochastic: whether it draws noise at its steps, also without eta.
        is_edm: whether it is for networks trained in the manner of Karras et al. (2022), and for no others.
    """

    names: tuple[str, ...]
    scheduler: str
    levels: Levels
    settings: Mapping[str, Any] = field(default_factory=dict)
    spacings: tuple[str, ...] = ()
    predicts: tuple[str, ...] = (NOISE, VELOCITY, PICTURE)
    package: str | None = None
    is_stochastic: bool = False
    is_edm: bool = False


ALL = tuple(SPACINGS)
NO_PICTURE = (NOISE, VELOCITY)
MULTISTEP = "DPMSolverMultistepScheduler"


def _multistep(names: tuple[str, ...], order: int, algorithm: str) -> Sampler:
    settings = {"solver_order": order, "algorithm_type": algorithm}
    is_stochastic = algorithm.startswith("sde")
    return Sampler(names, MULTISTEP, "sigmas", settings, ALL, is_stochastic=is_stochastic)


# Of several rows with one scheduler, the first is what the class's own name stands for.
SAMPLERS = (
    Sampler(("ddim",), "DDIMScheduler", "alphas"),
    Sampler(("ddim-parallel",), "DDIMParallelScheduler", "alphas"),
    Sampler(("ddpm",), "DDPMScheduler", "alphas", is_stochastic=True),
    Sampler(("ddpm-parallel",), "DDPMParallelScheduler", "alphas", is_stochastic=True),
    # Without Runge-Kutta steps at the start: as Stable Diffusion comes.
    Sampler(("pndm", "plms"), "PNDMScheduler", "alphas", {"skip_prk_steps": True}, predicts=NO_PICTURE),
    Sampler(("lms",), "LMSDiscreteScheduler", "sigmas", spacings=ALL, package="scipy"),
    Sampler(("euler",), "EulerDiscreteScheduler", "sigmas", spacings=ALL),
    Sampler(
        ("euler-a",),
        "EulerAncestralDiscreteScheduler",
        "sigmas",
        predicts=NO_PICTURE,
        is_stochastic=True,
    ),
    Sampler(("heun",), "HeunDiscreteScheduler", "sigmas", spacings=ALL),
    Sampler(("dpm2", "kdpm2"), "KDPM2DiscreteScheduler", "interpolated", spacings=ALL, predicts=NO_PICTURE),
    Sampler(
        ("dpm2-a", "kdpm2-a"),
        "KDPM2AncestralDiscreteScheduler",
        "interpolated before",
        spacings=ALL,
        predicts=NO_PICTURE,
        is_stochastic=True,
    ),
    _multistep(("dpm++-2m", "dpm++"), 2, "dpmsolver++"),
    _multistep(("dpm++-2m-sde",), 2, "sde-dpmsolver++"),
    _multistep(("dpm++-3m",), 3, "dpmsolver++"),
    _multistep(("dpm++-3m-sde",), 3, "sde-dpmsolver++"),
    Sampler(
        ("dpm++-2s",),
        "DPMSolverSinglestepScheduler",
        "sigmas",
        {"solver_order": 2, "algorithm_type": "dpmsolver++"},
        ALL,
    ),
    Sampler(
        ("dpm++-sde",),
        "DPMSolverSDEScheduler",
        "midpoints",
        spacings=ALL,
        predicts=NO_PICTURE,
        package="torchsde",
        is_stochastic=True,
    ),
    Sampler(("unipc",), "UniPCMultistepScheduler", "sigmas", spacings=ALL),
    Sampler(("deis",), "DEISMultistepScheduler", "sigmas", spacings=ALL),
    Sampler(("sa-solver",), "SASolverScheduler", "sigmas", spacings=ALL, is_stochastic=True),
    Sampler(("lcm",), "LCMScheduler", "alphas", is_stochastic=True),
    Sampler(("tcd",), "TCDScheduler", "alphas"),
    Sampler(("edm-euler",), "EDMEulerScheduler", "edm", predicts=NO_PICTURE, is_edm=True),
    Sampler(
        ("edm-dpm++", "edm-dpm++-2m"),
        "EDMDPMSolverMultistepScheduler",
        "edm",
        predicts=NO_PICTURE,
        is_edm=True,
    ),
)

# Why schedulers whose names have one of these in them cannot drive Stable Diffusion.
REFUSED = {
    "Inverse": "it goes from pictures to noise",
    "Cosine": "its networks read the arc tangent of a noise level, and Stable Diffusion's a timestep",
    "Flow": "it is for flow matching, and Stable Diffusion's networks predict noise, v or the picture",
    "LTX": "it is for flow matching, and Stable Diffusion's networks predict noise, v or the picture",
    "Helios": "it is for flow matching, and Stable Diffusion's networks predict noise, v or the picture",
    "CMStochastic": "it is for consistency models, whose networks read the logarithm of a noise level",
    "IPNDM": "it has noise levels of its own, which Stable Diffusion was not trained on",
    "CogVideoX": "it shifts the noise levels that Stable Diffusion was trained on",
}


def sampler_names() -> list[str]:
    """What a sampler may be called, without spacings of noise levels and without names of classes."""
    return ["model", *(sampler.names[0] for sampler in SAMPLERS)]


def find_sampler(name: str) -> tuple[Sampler, dict[str, Any] | None]:
    """The sampler of a name, and what it changes of the configuration of the model's scheduler.

    Args:
        name: a short name, perhaps with a spacing behind it (`euler-karras`), or a scheduler class of
            diffusers, which is made as `from_config` makes it: then there are no changes (None).

    Raises:
        ConfigError: there is none of that name, or none with these noise levels.
    """
    for sampler in SAMPLERS:
        if name == sampler.scheduler:
            return sampler, None
    base, _, spacing = name.rpartition("-")
    for sampler in SAMPLERS:
        if name in sampler.names:
            return sampler, {
                **dict.fromkeys((SPACINGS[key] for key in sampler.spacings), False),
                **sampler.settings,
            }
        if spacing in SPACINGS and base in sampler.names:
            if spacing not in sampler.spacings:
                raise ConfigError(f"the sampler {base} has no {spacing} noise levels; choose {base}")
            chosen = {setting: key == spacing for key, setting in SPACINGS.items()}
            return sampler, {**chosen, **sampler.settings}
    known = [each for sampler in SAMPLERS for each in (*sampler.names, sampler.scheduler)]
    known += [f"{each}-{key}" for sampler in SAMPLERS for each in sampler.names for key in sampler.spacings]
    reason = next((why for part, why in REFUSED.items() if name.endswith("Scheduler") and part in name), None)
    if reason is not None:
        raise ConfigError(f"the sampler {name} cannot be used: {reason}; choose {_listed()}")
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    suggestion = f" (did you mean {close[0]}?)" if close else ""
    raise ConfigError(f"unknown sampler {name!r}{suggestion}, expected {_listed()}")


def _listed() -> str:
    return f"one of {', '.join(sampler_names())}, some with -{', -'.join(SPACINGS)} behind them"


def check_sampler_name(name: str) -> None:
    """Raises ConfigError where `make_sampler` would, as far as no model is needed to see that."""
    if name == "model":
        return
    sampler, changes = find_sampler(name)
    # scipy alone spaces noise levels by the beta distribution.
    package = "scipy" if (changes or {}).get(SPACINGS["beta"]) else sampler.package
    if package is not None and find_spec(package) is None:
        raise ConfigError(
            f"the sampler {name} needs {package}, which is not installed: pip install 'genrender[samplers]'"
        )


def make_sampler(name: str, own: Any) -> Any:
    """A new scheduler; the model's own stays as it is, and so do those of other runs.

    Args:
        name: `model`, a short name of `SAMPLERS`, or the name of one of their classes.
        own: the model's scheduler.

    Raises:
        ConfigError: there is no such sampler, a package is missing, or it does not fit the model.
    """
    check_sampler_name(name)
    if name == "model":
        made = type(own).from_config(own.config)
        check_scheduler(made)
        return made
    sampler, changes = find_sampler(name)
    if sampler.is_edm != ("sigma_data" in own.config):
        manner = "for" if sampler.is_edm else "not for"
        raise ConfigError(
            f"the sampler {name} is {manner} models trained in the manner of Karras et al. (2022), and this "
            f"one comes with {type(own).__name__}: choose the sampler 'model'"
        )
    scheduler = getattr(importlib.import_module("diffusers"), sampler.scheduler)
    made = scheduler.from_config(own.config, **(changes or {}))
    check_scheduler(made)
    return made


def sampler_of(scheduler: Any) -> Sampler:
    """What is to know of a scheduler of diffusers, or of a class derived from one.

    Raises:
        ConfigError: it cannot drive Stable Diffusion, or nothing is known about it.
    """
    for kind in type(scheduler).__mro__:
        for sampler in SAMPLERS:
            if kind.__name__ == sampler.scheduler:
                return sampler
    return find_sampler(type(scheduler).__name__)[0]


def check_scheduler(scheduler: Any) -> None:
    """Raises ConfigError for a scheduler that would be driven wrongly; see `sampler_of`."""
    sampler, name = sampler_of(scheduler), type(scheduler).__name__
    kind = scheduler.config.get("prediction_type", NOISE)
    if scheduler.config.get("use_flow_sigmas") or kind == "flow_prediction":
        raise ConfigError(f"{name} is set for flow matching, and {REFUSED['Flow'].partition(', and ')[2]}")
    if kind not in sampler.predicts:
        raise ConfigError(
            f"{name} knows no networks that predict {kind!r}, only {', '.join(sampler.predicts)}: "
            "choose another sampler"
        )
