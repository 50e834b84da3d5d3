"""Options as jobs: what a command line says, in the words of `genrender.jobs`."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from genrender.backbones.recipe import Recipe
from genrender.backbones.spelling import control_of, image_prompts_of, lora_of
from genrender.errors import ConfigError
from genrender.jobs.job import ClipJob, RenderJob
from genrender.options.commands import Compare, Gbuffers, Passes, Preview, Render, Study, Verify
from genrender.options.given import given
from genrender.options.groups import Objects
from genrender.options.words import parse_size, parse_times
from genrender.scene.backdrop import parse_backdrop
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import ShotConfig

Number = TypeVar("Number", int, float)


def clip_job(options: Render | Compare | Gbuffers | Passes | Preview | Verify | Study) -> ClipJob:
    """What a command shows. An option that is called as a setting of `ShotConfig` becomes that setting.

    Raises:
        ConfigError: an option is not of its form.
    """
    values = dict(given(options))
    times = values.get("times")
    shot = {field.name: values[field.name] for field in fields(ShotConfig) if field.name in values} | {
        "size": ShotConfig.size,
        "n_frames": values["frames"],
        "times_s": None if times is None else parse_times(times),
        "backdrop": parse_backdrop(values.get("backdrop", "none")).kind,
        "objects": object_rule(getattr(options, "objects", Objects())),
    }
    return ClipJob(
        scene=values.get("scene", Path()),
        shot=ShotConfig(**shot),
        size=None if values["size"] is None else parse_size(values["size"]),
        exr_map=values.get("exr_map"),
        allow_folder=values["allow_folder"],
    )


def render_job(options: Render | Compare | Study) -> RenderJob:
    """The job of a command that makes runs; options that are called as its fields become those.

    Raises:
        ConfigError: an option is not of its form.
    """
    values = dict(given(options))
    named = {field.name: values[field.name] for field in fields(RenderJob) if field.name in values}
    return RenderJob(
        **named
        | {
            "clip": clip_job(options),  # the option of this name is a CLIP model
            "prompt": values.get("prompt", ""),
            "recipe": recipe_of(values),
            "prompts_at": tuple(parse_prompt_at(text) for text in values.get("prompt_at", ())),
            "object_prompts": tuple(parse_object_prompt(text) for text in values.get("prompt_for", ())),
            "background_color": parse_backdrop(values.get("backdrop", "none")).color,
            "settings": values.get("set", ()),
            "out": options.out if isinstance(options, Render) else None,
        }
    )


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """What paints, by the options of a command, some of which it may not have.

    Raises:
        ConfigError: an option is not of its form.
    """
    standard = Recipe()
    return Recipe(
        base=values.get("model", standard.base),
        revision=values.get("revision"),
        variant=values.get("variant"),
        vae=values.get("vae"),
        controls=tuple(map(control_of, values.get("controlnet", ()))),
        loras=tuple(map(lora_of, values.get("lora", ()))),
        embeddings=values.get("embedding", ()),
        image_prompts=image_prompts_of(values.get("ip_adapter", ()), values.get("ip_image", ())),
        motion_adapter=values.get("motion_adapter"),
        sampler=values.get("scheduler"),
        timesteps=_numbers("timesteps", values.get("timesteps"), int),
        sigmas=_numbers("sigmas", values.get("sigmas"), float),
        precision=values.get("dtype"),
        device=values.get("device"),
        placement=values.get("offload", standard.placement),
        safety_checker=not values.get("no_safety_checker", False),
        allow_pickle=values.get("allow_pickle", False),
    )


def _numbers(name: str, text: str | None, kind: type[Number]) -> tuple[Number, ...]:
    try:
        return () if text is None else tuple(kind(number) for number in text.split(","))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"--{name} {text!r}: expected {what}, separated by commas") from None


def object_rule(options: Objects) -> ObjectRule:
    """What --objects, --merge and --ignore ask for.

    Raises:
        ConfigError: --merge is not of the form PATTERN=NAME, or the name is a pattern.
    """
    merge = []
    for text in options.merge:
        pattern, _, name = (word.strip() for word in text.partition("="))
        if not pattern or not name:
            raise ConfigError(f'--merge {text!r}: expected PATTERN=NAME, for instance "wheel*=Wheels"')
        if any(sign in name for sign in "*?["):
            raise ConfigError(
                f"--merge {text!r}: {name!r} is a pattern, expected the name of the object that they become"
            )
        merge.append((pattern, name))
    return ObjectRule(options.objects, tuple(merge), options.ignore)


def parse_object_prompt(text: str) -> tuple[str, str]:
    """`OBJECT=TEXT`: an object's name and what it shows.

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, prompt = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f'--prompt-for {text!r}: expected OBJECT=TEXT, for instance Fox="a bronze fox"')
    return name.strip(), prompt.strip()


def parse_prompt_at(text: str) -> tuple[int, str]:
    """`FRAME=TEXT`: a frame's number, and what the video shows there.

    Raises:
        ConfigError: it is not of that form.
    """
    frame, equals, prompt = text.partition("=")
    if not equals or not frame.strip().isdecimal():
        raise ConfigError(f'--prompt-at {text!r}: expected FRAME=TEXT, for instance 24="a fox in snow"')
    return int(frame), prompt.strip()
