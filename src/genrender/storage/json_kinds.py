"""Whether what a JSON file holds has the entries, and the kinds of values, that its reader counts on.

Example:
    >>> class Size(TypedDict):
    ...     width: Annotated[int, Range(1, 16384)]
    >>> misfit({"width": "wide"}, Size, "size")
    'size.width is "wide", expected a whole number'
"""

import json
import math
import types
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from genrender.storage.untrusted import MAX_TEXT_LENGTH, MAX_WHOLE_NUMBER, SHOWN_LENGTH, shown

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Range:
    """The numbers that an entry of a record may have, both ends included: `Annotated[int, Range(1, 8)]`."""

    first: float
    last: float


def misfit(value: Any, kind: Any, where: str) -> str | None:
    """What is wrong with a value that comes from JSON, in one line; None: nothing.

    Args:
        kind: what it should be: a TypedDict or a dataclass (further entries are welcome, fields with a
            default may be missing), list, dict, tuple, union, Literal, None, str, bool, int, float, Path
            (a text), or one of these with a `Range`.
        where: what the value is called, such as `config.width`.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        wrong = misfit(value, inner, where)
        return wrong or _outside(value, where, [mark for mark in marks if isinstance(mark, Range)])
    if origin is NotRequired:
        return misfit(value, get_args(kind)[0], where)
    if is_typeddict(kind) or is_dataclass(kind):
        return _misfit_of_entries(value, kind, where)
    if origin in (Union, types.UnionType):
        wrong = [misfit(value, option, where) for option in get_args(kind)]
        return None if None in wrong else f"{where} is {_short(value)}, expected {_say(kind)}"
    if (origin is list or _is_list(kind)) and isinstance(value, list):
        inner = [misfit(item, get_args(kind)[0], f"{where}[{i}]") for i, item in enumerate(value)]
        return next(filter(None, inner), None)
    if origin is tuple and isinstance(value, list) and len(value) == len(get_args(kind)):
        pairs = zip(value, get_args(kind), strict=True)
        inner = [misfit(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(pairs)]
        return next(filter(None, inner), None)
    if origin is dict and isinstance(value, dict):
        inner = [misfit(item, get_args(kind)[1], f"{where}[{_short(key)}]") for key, item in value.items()]
        return next(filter(None, inner), None)
    return None if _is_plain(value, kind) else f"{where} is {_short(value)}, expected {_say(kind)}"


def from_json(kind: type[Kind], value: Any) -> Kind:
    """A dataclass of JSON's values, in which `misfit` finds nothing wrong; further entries are dropped."""
    return _built(kind, value)


def _built(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Annotated, NotRequired):
        return _built(inner[0], value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{name: _built(hints[name], value[name]) for name in hints if name in value})
    if origin in (Union, types.UnionType):
        return _built(next(one for one in inner if misfit(value, one, "") is None), value)
    if origin is list or _is_list(kind):
        return origin(_built(inner[0], item) for item in value)
    if origin is tuple:
        return tuple(_built(one, item) for one, item in zip(inner, value, strict=True))
    if origin is dict:
        return {key: _built(inner[1], item) for key, item in value.items()}
    return kind(value) if kind in (float, Path) else value


def _is_list(kind: Any) -> bool:
    """Whether it is a tuple of any length."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def _misfit_of_entries(value: Any, kind: Any, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where} is {_short(value)}, expected an object with entries"
    hints = get_type_hints(kind, include_extras=True)
    required = _required(kind)
    for key, inner in hints.items():
        name = f"{where}.{key}".lstrip(".")
        if key not in value:
            if key in required:
                return f"{name} is missing"
            continue
        wrong = misfit(value[key], inner, name)
        if wrong is not None:
            return wrong
    return None


def _required(kind: Any) -> frozenset[str]:
    """The entries that must be there."""
    if is_typeddict(kind):
        return kind.__required_keys__
    has_none = (one for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING)
    return frozenset(one.name for one in has_none)


def _is_plain(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is None or kind is type(None):
        return value is None
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE_NUMBER
    if kind is float:  # whole numbers are written without a point
        return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
    if kind in (str, Path):
        return isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH and "\0" not in value
    return kind is Any or (isinstance(kind, type) and isinstance(value, kind))


def _outside(value: Any, where: str, ranges: list[Range]) -> str | None:
    for one in ranges:
        if not one.first <= value <= one.last:
            return f"{where} is {value:g}, expected {one.first:g} to {one.last:g}"
    return None


def _say(kind: Any) -> str:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_say, get_args(kind)))
    if origin is Annotated:
        return _say(get_args(kind)[0])
    if origin is Literal:
        return " or ".join(get_args(kind))
    if origin is tuple:
        return "a list" if _is_list(kind) else f"a list of {len(get_args(kind))}"
    words = {
        Path: "a text",
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        list: "a list",
    }
    return words.get(origin or kind, "null" if kind in (None, type(None)) else "an object with entries")


def _short(value: Any) -> str:
    """A value as messages show it."""
    if isinstance(value, dict | list):
        return "an object with entries" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**20:
        return "a very large number"
    return shown(json.dumps(value, ensure_ascii=False), SHOWN_LENGTH)
