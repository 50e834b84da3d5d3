"""The options of `genrender render` as plain values by name: what programs ask for instead of a command line.

Example:
    >>> job_of({"prompt": "a red fox", "frames": 24}, Path("fox.glb")).clip.shot.n_frames
    24
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from docstring_parser import parse

from genrender.errors import ConfigError
from genrender.jobs.job import RenderJob
from genrender.options.by_name import Kind, choices_of, command_of, kind_of, option_groups
from genrender.options.commands import Render
from genrender.options.given import given
from genrender.options.groups import FOLDED
from genrender.options.job import render_job
from genrender.storage.untrusted import SHOWN_LENGTH, shown

# Options about this machine's files, and about the command itself.
NO_SETTINGS = frozenset(
    (
        *("scene", "out", "run_dir", "debug", "exr_map", "allow_folder", "allow_pickle", "device"),
        *("only", "keyframes_from", "workers", "ray", "seeds", "progress", "resume"),
    )
)


@dataclass(frozen=True)
class Setting:
    """One option.

    Attributes:
        name: as on the command line, with underscores.
        kind: what its value is; `texts` is a list of texts.
        default: its value where it is not given; None where `default_text` says more.
        default_text: what that means.
        about: what it does, in a line.
        choices: the values that there are; None: any of its kind.
        example: its form, such as PATTERN=NAME.
    """

    name: str
    kind: Kind
    default: Any
    default_text: str | None
    about: str
    choices: tuple[str, ...] | None = None
    example: str | None = None


@dataclass(frozen=True)
class SettingGroup:
    """Options that belong together. Few need those that are `folded`."""

    name: str
    title: str
    folded: bool
    settings: tuple[Setting, ...]


def job_of(settings: Mapping[str, Any], scene: Path, exr_map: Path | None = None) -> RenderJob:
    """The job that settings ask for.

    Args:
        settings: values of JSON by the names of options; None has the default.
        scene: what is shown.
        exr_map: channels of EXR files, where their names do not tell.

    Raises:
        ConfigError: there is no such setting, or a value is of another kind or form.
    """
    known = [setting.name for group in setting_groups() for setting in group.settings]
    for name, value in settings.items():
        if value is not None and name not in known:
            raise ConfigError(
                f"there is no setting {shown(name, SHOWN_LENGTH)!r}, expected one of {', '.join(known)}"
            )
    asked = {"prompt": "", **{name: value for name, value in settings.items() if value is not None}}
    own = {"scene": str(scene), "exr_map": None if exr_map is None else str(exr_map)}
    return render_job(command_of(Render, {**asked, **own}))


def setting_in(text: str) -> str | None:
    """The setting that an error's words begin with or name as an option; None: none is found."""
    names = {setting.name for group in setting_groups() for setting in group.settings}
    for word in text.replace(":", " ").replace(",", " ").split():
        name = word.removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in names:
            return name
    first = text.split(" is ", 1)[0].removeprefix("the ").replace(" ", "_")
    return first if first in names else None


def settings_of(options: Render) -> dict[str, Any]:
    """The settings that say the same as options of the command line; those that are no default."""
    defaults = {setting.name: setting.default for group in setting_groups() for setting in group.settings}
    values = ((name, _plain(value)) for name, value in given(options) if name in defaults)
    return {name: value for name, value in values if value != defaults[name]}


def settings_of_words(words: Sequence[str]) -> dict[str, Any]:
    """The settings in the words of a command line that made a run; options that are no settings are left out.

    Raises:
        ConfigError: they are no words of `genrender render`.
    """
    kinds: dict[str, Kind] = {
        setting.name: setting.kind for group in setting_groups() for setting in group.settings
    }
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, text = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if not flag.startswith("--") or name not in kinds:
            continue
        kind = kinds[name]
        if kind == "flag":
            found[name] = True
            continue
        value = text if equals else next(rest, None)
        if value is None:
            raise ConfigError(f"the command line ends with {word!r}, expected a value after it")
        if kind == "texts":
            found.setdefault(name, []).append(value)
        else:
            found[name] = _parsed(name, kind, value)
    if "prompt" not in found:
        raise ConfigError("a command line without --prompt made no video: expected that of genrender render")
    return found


def _parsed(name: str, kind: Kind, text: str) -> Any:
    try:
        return {"integer": int, "number": float}.get(kind, str)(text)
    except ValueError:
        raise ConfigError(f"--{name} is {shown(text, SHOWN_LENGTH)!r}, expected a number") from None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


@lru_cache(maxsize=1)
def setting_groups() -> tuple[SettingGroup, ...]:
    """All settings, in the order of `genrender render --help-all`."""
    groups = []
    for owner, kind, names in option_groups(Render):
        settings = tuple(_setting(kind, name) for name in names if name not in NO_SETTINGS)
        if owner is None:
            groups.append(SettingGroup("shown", "What the video shows.", False, settings))
        elif settings:
            about = parse(kind.__doc__ or "").short_description or owner
            groups.append(SettingGroup(owner, about, kind in FOLDED, settings))
    return tuple(groups)


def _setting(kind: type, name: str) -> Setting:
    hint = get_type_hints(kind, include_extras=True)[name]
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    told = next((mark for mark in marks if hasattr(mark, "help_behavior_hint")), None)
    inner = get_args(hint)[0] if marks else hint
    one = next(one for one in fields(kind) if one.name == name)
    default = None if one.default is MISSING else one.default
    default_text = getattr(told, "help_behavior_hint", None)
    if default_text is not None:
        default_text = str(default_text).removeprefix("(default: ").removesuffix(")")
    elif default is not None:
        default_text = {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)
    choices = choices_of(inner)
    return Setting(
        name,
        kind_of(inner),
        list(default) if isinstance(default, tuple) else default,
        default_text,
        getattr(told, "help", None) or _documented(kind).get(name, name.replace("_", " ")),
        choices,
        None if choices else getattr(told, "metavar", None),
    )


def _documented(kind: type) -> dict[str, str]:
    """What the docstrings of a class and of those that it is made from say of its fields."""
    return {
        param.arg_name: " ".join((param.description or "").split())
        for base in reversed(kind.__mro__)
        if is_dataclass(base)
        for param in parse(base.__doc__ or "").params
    }
