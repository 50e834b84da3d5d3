"""Single settings by name, for what has no command-line option of its own.

Example:
    >>> config = change_setting(RunConfig(prompt="a fox"), "injection.alpha_end=0.4")
    >>> config.method.injection.alpha_end
    0.4
"""

import types
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from genrender.config import MethodConfig, RunConfig
from genrender.errors import ConfigError

WORDS = {"true": True, "false": False, "none": None}


def setting_names(config: MethodConfig) -> list[str]:
    """All settings of the method that a text can hold, as `stage.name`."""
    names = []
    for stage in fields(config):
        part = getattr(config, stage.name)
        hints = get_type_hints(type(part))
        names += [f"{stage.name}.{field.name}" for field in fields(part) if _kinds(hints[field.name])]
    return names


def change_setting(config: RunConfig, text: str) -> RunConfig:
    """The configuration with one setting of its method changed.

    Args:
        config: settings to start from.
        text: `stage.name=value`, for instance `noise.degradation=0.2`; values are numbers, words, `true`,
            `false` or `none`.

    Raises:
        ConfigError: not of that form, no such setting, or a value of another kind.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    names = setting_names(config.method)
    if not equals or name not in names:
        what = f"no setting {name!r}" if equals else f"setting {text!r} has no value"
        raise ConfigError(f"{what}, expected STAGE.NAME=VALUE with one of {', '.join(names)}")
    stage_name, field_name = name.split(".")
    stage = getattr(config.method, stage_name)
    assert is_dataclass(stage)
    kinds = _kinds(get_type_hints(type(stage))[field_name])
    parsed = _parse(name, value, kinds)
    changed = replace(stage, **{field_name: parsed})  # pyright: ignore[reportArgumentType] (an instance)
    return replace(config, method=replace(config.method, **{stage_name: changed}))


def _kinds(hint: Any) -> tuple[Any, ...]:
    """What a setting may be: types, None and words; nothing for what no text can hold."""
    origin = get_origin(hint)
    if origin is Literal:
        return get_args(hint)
    if origin in (Union, types.UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds(part))
    if hint is type(None):
        return (None,)
    return (hint,) if hint in (bool, int, float, str) else ()


def _parse(name: str, value: str, kinds: tuple[Any, ...]) -> Any:
    word = value.lower()
    if word in WORDS and (None if WORDS[word] is None else bool) in kinds:
        return WORDS[word]
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(value)
            except ValueError:
                continue
    if str in kinds or value in kinds:
        return value
    expected = " or ".join(_say(kind) for kind in kinds)
    raise ConfigError(f"setting {name} is {value!r}, expected {expected}")


def _say(kind: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text", None: "none"}.get(
        kind, str(kind)
    )
