"""Words of a command line that stand for several numbers."""

import re

from genrender.errors import ConfigError
from genrender.storage.untrusted import SHOWN_LENGTH, shown


def parse_size(text: str) -> tuple[int, int] | int:
    """Width and height of "192x128", or the one side of "128".

    Raises:
        ConfigError: it is neither.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(re.fullmatch("0*[1-9][0-9]{0,8}", side) for side in sides):
        raise ConfigError(
            f"size is {shown(repr(text), SHOWN_LENGTH)}, expected pixels, for instance 128 or 192x128"
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def parse_times(text: str) -> tuple[float, ...]:
    """The numbers of "0,0.5,1".

    Raises:
        ConfigError: it holds something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        given = shown(repr(text), SHOWN_LENGTH)
        raise ConfigError(
            f"times are {given}, expected seconds separated by commas, for instance 0,0.5,1"
        ) from None
