"""Options in groups by what they are for, so that `--help` of a command with forty of them can be read."""

import inspect
from dataclasses import MISSING, field, fields, make_dataclass
from functools import cache
from typing import Any, get_type_hints

import docstring_parser

# What an option that is named here is for; the others stand together at the beginning.
GROUPS = {
    "shot": (
        "What of the scene is shown, from where, and how large.",
        ("animation", "frames", "times", "start", "end", "loop", "fps", "size", "camera", "backdrop"),
    ),
    "content": (
        "What an object is, which texture coordinates it has, and what it looks like.",
        ("objects", "merge", "ignore", "uv", "prompt_for", "appearance_from", "exr_map", "allow_folder"),
    ),
    "networks": (
        "Which networks paint, in how many steps, and where they compute.",
        ("model", "vae", "preset", "steps", "guidance", "seed", "device", "dtype", "chunk"),
    ),
    "consistency": (
        "How frames are made to agree; the presets' settings are a good start.",
        ("method", "noise", "engine", "alpha", "unify", "keyframes", "set", "stabilise"),
    ),
}


@cache
def grouped(command: type) -> type:
    """A class with the same options, each group in a field of its own, which `flat` undoes."""
    if "camera" not in command.__dataclass_fields__:
        return command  # it has few options, and none that others share
    hints = get_type_hints(command, include_extras=True)
    about = {p.arg_name: p.description or "" for p in docstring_parser.parse(command.__doc__ or "").params}
    group_of = {
        name: group
        for group, (_, names) in GROUPS.items()
        for name in names
        if name in hints and command.__dataclass_fields__[name].default is not MISSING
    }
    outer: list[Any] = []
    for one in fields(command):
        if one.name not in group_of:
            default = () if one.default is MISSING else (field(default=one.default),)
            outer.append((one.name, hints[one.name], *default))
    for group in dict.fromkeys(group_of.values()):
        names = [name for name, of in group_of.items() if of == group]
        inner = make_dataclass(
            group,
            [
                (name, hints[name], field(default=command.__dataclass_fields__[name].default))
                for name in names
            ],
            namespace={
                "__doc__": _documented(GROUPS[group][0], {name: about.get(name, "") for name in names})
            },
            frozen=True,
        )
        outer.append((group, inner, field(default_factory=inner)))
    summary = inspect.cleandoc(command.__doc__ or "").split("Attributes:")[0].strip()
    own = {name: text for name, text in about.items() if name not in group_of}
    return make_dataclass(
        command.__name__, outer, namespace={"__doc__": _documented(summary, own)}, frozen=True
    )


def _documented(summary: str, about: dict[str, str]) -> str:
    lines = [f"    {name}: {' '.join(text.split())}" for name, text in about.items()]
    return "\n".join([summary, "", "Attributes:", *lines])


def flat(command: type, parsed: Any) -> Any:
    """The command itself, of what was parsed as `grouped(command)`."""
    if isinstance(parsed, command):
        return parsed
    given: dict[str, Any] = {}
    for one in fields(parsed):
        value = getattr(parsed, one.name)
        is_group = one.name in GROUPS
        given |= (
            {part.name: getattr(value, part.name) for part in fields(value)}
            if is_group
            else {one.name: value}
        )
    return command(**given)
