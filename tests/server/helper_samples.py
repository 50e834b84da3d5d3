"""Tasks for a helper that go well, or wrong in every way that a file can make them."""

import os
import time
from typing import Any

from genrender.errors import ConfigError


def echo(value: Any) -> tuple[Any, bytes]:
    return value, bytes(range(256)) * 4096


def hog() -> tuple[Any, bytes]:
    return len(bytearray(8_000_000_000)), b""


def stall() -> tuple[Any, bytes]:
    time.sleep(600)
    return None, b""


def die() -> tuple[Any, bytes]:
    os._exit(7)


def fault() -> tuple[Any, bytes]:
    raise KeyError("an index of no use")


def refuse() -> tuple[Any, bytes]:
    raise ConfigError("size is 0x0,\nexpected more")
