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
    """All settings of the method, as `stage.name`."""
    return [
        f"{stage.name}.{field.name}"
        for stage in fields(config)
        for field in fields(getattr(config, stage.name))
    ]


def change_setting(config: RunConfig, text: str) -> RunConfig:
    """The configuration with one setting of its method changed.

    Args:
        config: settings to start from.
        text: `stage.name=value`, for instance `noise.degradation=0.2`; values are numbers, words, `true`,
            `false` or `none`. Numbers of single layers are `PATTERN=NUMBER`, separated by semicolons.

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
    hint = get_type_hints(type(stage))[field_name]
    if get_origin(hint) is tuple:
        parsed = _parse_pairs(name, value, get_args(get_args(hint)[0])[1])
    else:
        parsed = _parse(name, value, _kinds(hint))
    changed = replace(stage, **{field_name: parsed})  # pyright: ignore[reportArgumentType] (an instance)
    return replace(config, method=replace(config.method, **{stage_name: changed}))


def _kinds(hint: Any) -> tuple[Any, ...]:
    """What a setting may be: types, None and words."""
    origin = get_origin(hint)
    if origin is Literal:
        return get_args(hint)
    if origin in (Union, types.UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds(part))
    if hint is type(None):
        return (None,)
    return (hint,)


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


def _parse_pairs(name: str, value: str, kind: type[int] | type[float]) -> tuple[tuple[str, Any], ...]:
    """Patterns and numbers of `PATTERN=NUMBER;PATTERN=NUMBER`; `none` is nothing of the kind."""
    if value.lower() == "none":
        return ()
    pairs = []
    for text in value.split(";"):
        # From the right, for a pattern may hold an equals sign.
        pattern, _, number = text.rpartition("=")
        try:
            pairs.append((pattern.strip(), kind(number)))
        except ValueError:
            pattern = ""
        if not pattern.strip():
            raise ConfigError(
                f"setting {name} is {value!r}, expected PATTERN=NUMBER with {_say(kind)}, several separated "
                "by semicolons, or none"
            )
    return tuple(pairs)


def _say(kind: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text", None: "none"}.get(
        kind, str(kind)
    )
