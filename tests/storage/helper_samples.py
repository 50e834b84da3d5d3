"""Tasks for a helper that go well, or wrong in every way that a file can make them."""

import mmap
import os
import time
from typing import Any

from genrender.errors import ConfigError


def echo(value: Any) -> tuple[Any, bytes]:
    return value, bytes(range(256)) * 4096


def hog() -> tuple[Any, bytes]:
    return len(bytearray(8_000_000_000)), b""


def reserve() -> tuple[Any, bytes]:
    """As threads reserve memory: mapped, and never written."""
    with mmap.mmap(
        -1, 8_000_000_000, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    ) as map_:
        return len(map_), b""


def late() -> tuple[Any, bytes]:
    time.sleep(1)
    return "too late", b""


def stall() -> tuple[Any, bytes]:
    time.sleep(600)
    return None, b""


def die() -> tuple[Any, bytes]:
    os._exit(7)


def fault() -> tuple[Any, bytes]:
    raise KeyError("an index of no use")


def refuse() -> tuple[Any, bytes]:
    raise ConfigError("size is 0x0,\nexpected more")
