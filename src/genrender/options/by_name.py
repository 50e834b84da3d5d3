"""Options of a command as plain values by name: what programs ask for instead of a command line.

Example:
    >>> command_of(Render, {"scene": "fox.glb", "prompt": "a red fox", "frames": 24}).view.frames
    24
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from genrender.errors import ConfigError
from genrender.options.given import check_given
from genrender.storage.json_kinds import from_json, misfit
from genrender.storage.untrusted import SHOWN_LENGTH, shown

Kind = Literal["text", "integer", "number", "flag", "choice", "texts"]
Command = TypeVar("Command")


def command_of(command: type[Command], values: Mapping[str, Any]) -> Command:
    """A command's options by their names, with underscores, whatever group they are in.

    Args:
        command: one of the dataclasses in `genrender.options.commands`.
        values: of JSON; None has the default, and a number may stand for a text.

    Raises:
        ConfigError: there is no such option, one is missing, or a value is of another kind or form.
    """
    asked = {name: value for name, value in values.items() if value is not None}
    known = [name for _, _, names in option_groups(command) for name in names]
    for name in asked:
        if name not in known:
            raise ConfigError(_unknown(name, known))
    nested: dict[str, Any] = {}
    for owner, kind, names in option_groups(command):
        hints = get_type_hints(kind, include_extras=True)
        given = {name: _as_text(asked[name], hints[name]) for name in names if name in asked}
        wrong = misfit({**nested, **given} if owner is None else given, kind, "")
        if wrong is not None:
            raise ConfigError(wrong)
        if owner is None:
            nested.update(given)
        else:
            nested[owner] = given
    made = from_json(command, nested)
    check_given(made)
    return made


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.5)
    expected = f"perhaps {' or '.join(near)} is meant" if near else f"expected some of {', '.join(known)}"
    return f"there is no option {shown(name, SHOWN_LENGTH)!r}, {expected}"


def _as_text(value: Any, hint: Any) -> Any:
    """Sizes and moments are texts, in which a program may well give a number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number and kind_of(hint) == "text" else value


def option_groups(command: type) -> Iterator[tuple[str | None, type, list[str]]]:
    """Single options and groups of a command: the field that holds them, the type, their names."""
    hints = get_type_hints(command)
    grouped = [(one.name, hints[one.name]) for one in fields(command) if is_dataclass(hints[one.name])]
    inside = {name for name, _ in grouped}
    yield None, command, [one.name for one in fields(command) if one.name not in inside]
    for name, kind in grouped:
        assert isinstance(kind, type)
        yield name, kind, [one.name for one in fields(kind)]


def choices_of(hint: Any) -> tuple[str, ...] | None:
    """The values that an option may have; None: any of its kind."""
    hint = _bare(hint)
    options = [one for one in (get_args(hint) or (hint,)) if one is not type(None)]
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((get_args(one) for one in options if get_origin(one) is Literal), None)


def kind_of(hint: Any) -> Kind:
    """What an option's value is."""
    hint = _bare(hint)
    if choices_of(hint) is not None:
        return "choice"
    if get_origin(hint) is tuple:
        return "texts"
    options = {hint, *get_args(hint)}
    if bool in options:
        return "flag"
    return "integer" if int in options else "number" if float in options else "text"


def _bare(hint: Any) -> Any:
    """A type without marks, which may themselves stand around marks."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint
