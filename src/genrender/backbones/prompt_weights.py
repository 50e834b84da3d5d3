"""Weights in prompts, as they are written in Automatic1111's web UI.

| written | weight |
|---|---|
| `(red)` | 1.1, `((red))` 1.21 and so on |
| `[red]` | 1 / 1.1 |
| `(red:1.5)` | 1.5 |
| `\\(red\\)` | brackets that are text |

What is open at the end is closed there, and brackets that nothing opened are text, as there.
"""

import re

from genrender.errors import ConfigError

_FACTORS = {"(": 1.1, "[": 1 / 1.1}
_CLOSING = {"(": ")", "[": "]"}
MAX_WEIGHT = 100.0

_MARK = re.compile(
    r"""
    \\(?P<literal>[()\[\]\\])
    | (?P<open>[(\[])
    | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*(?P<end>[)\]])
    | (?P<close>[)\]])
    | [^\\()\[\]:]+
    | [\\:]
    """,
    re.VERBOSE,
)
_NETWORK = re.compile(r"<(?:lora|lyco|hypernet):[^>]*>")

# A stretch of text and its weight.
Part = tuple[str, float]


def weighted_parts(prompt: str) -> tuple[Part, ...]:
    """A prompt in stretches of equal weight; an empty prompt is one empty stretch.

    Raises:
        ConfigError: a weight is out of range, or the prompt uses what the web UI would not read as text:
            `[from:to:when]`, `[one|other]` or `<lora:...>`.

    Example:
        >>> weighted_parts("a (red:1.5) fox")
        (('a ', 1.0), ('red', 1.5), (' fox', 1.0))
    """
    if network := _NETWORK.search(prompt):
        raise ConfigError(f"the prompt holds {network[0]}: a LoRA is no part of a prompt, give it by --lora")
    # What brackets are open, outermost first, and the parts that lie in each so far.
    levels: list[tuple[str, list[Part]]] = [("", [])]
    for mark in _MARK.finditer(prompt):
        closing = mark["end"] or mark["close"]
        if mark["open"]:
            levels.append((mark["open"], []))
        elif closing and closing == _CLOSING.get(levels[-1][0]):
            _close(levels, mark["weight"])
        else:
            levels[-1][1].append((mark["literal"] or mark[0], 1.0))
    while len(levels) > 1:
        _close(levels, None)
    return _joined(levels[0][1])


def plain_text(prompt: str) -> str:
    """A prompt without the marks of its weights.

    Raises:
        ConfigError: see `weighted_parts`.
    """
    return "".join(text for text, _ in weighted_parts(prompt))


def _close(levels: list[tuple[str, list[Part]]], number: str | None) -> None:
    """Gives the innermost level's parts to the one around it."""
    opening, parts = levels.pop()
    if opening == "[" and (number is not None or any("|" in text for text, _ in parts)):
        inner = "".join(text for text, _ in parts) + ("" if number is None else f":{number}")
        raise ConfigError(
            f"the prompt holds [{inner}]: texts that change over the steps are not known here; "
            r"write \[ and \] for brackets that are text, (word:0.8) for a weight"
        )
    weight = _FACTORS[opening] if number is None else float(number)
    if not 0 <= weight <= MAX_WEIGHT:
        raise ConfigError(f"a weight of the prompt is {weight:g}, expected 0 to {MAX_WEIGHT:g}")
    levels[-1][1].extend((text, weight * factor) for text, factor in parts)


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """Neighbours of one weight become one part, which a tokenizer reads as a whole."""
    joined: list[Part] = []
    for text, weight in parts:
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + text, weight)
        else:
            joined.append((text, weight))
    return tuple(joined) or (("", 1.0),)
