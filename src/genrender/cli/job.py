"""Options as jobs: what a command line says, in the words of `genrender.jobs`."""

from dataclasses import fields
from pathlib import Path

from genrender.cli.given import given
from genrender.cli.groups import Objects
from genrender.cli.options import Compare, Gbuffers, Preview, Render, Study, Verify
from genrender.cli.words import parse_size, parse_times
from genrender.errors import ConfigError
from genrender.jobs.job import ClipJob, RenderJob
from genrender.scene.backdrop import parse_backdrop
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import ShotConfig


def clip_job(options: Render | Compare | Gbuffers | Preview | Verify | Study) -> ClipJob:
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
            "object_prompts": tuple(parse_object_prompt(text) for text in values.get("prompt_for", ())),
            "background_color": parse_backdrop(values.get("backdrop", "none")).color,
            "settings": values.get("set", ()),
            "out": options.out if isinstance(options, Render) else None,
        }
    )


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
