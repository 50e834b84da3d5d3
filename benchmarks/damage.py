"""Damaged copies of files, for the benchmarks that try what absurd input does.

Every copy is drawn from a generator that its caller seeds, so that a failure can be made again.
"""

import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Whole numbers and floats that programs stumble over.
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 10**12, 10**30),
    *(0.5, -0.0, 1e-40, 1e-30, 1e30, -1e38, 1e39, 1e308),
)
JUNK: tuple[Any, ...] = (*NUMBERS, None, True, "x", "", [], {}, [[]], [None], {"a": 1})
WORDS = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
    b"\xff\xff\x7f\x7f",
)


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """A copy with a few bytes flipped, replaced, inserted, removed or the end cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        # Headers decide more than what follows them.
        place = rng.randrange(min(len(out), rng.choice((64, 1024, len(out)))))
        match rng.randrange(6):
            case 0:
                out[place] ^= 1 << rng.randrange(8)
            case 1:
                out[place : place + 4] = rng.choice(WORDS)
            case 2:
                out[place:place] = rng.randbytes(rng.choice((1, 4, 64)))
            case 3:
                del out[place : place + rng.choice((1, 4, 64))]
            case 4:
                out[place : place + 4] = struct.pack("<I", rng.randrange(2**32))
            case _:
                del out[place:]
    return bytes(out)


def damaged_text(data: bytes, rng: random.Random) -> bytes:
    """A copy with words replaced by other words or odd numbers, removed or repeated."""
    words = data.decode("utf-8", "replace").split(" ")
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(words))
        match rng.randrange(4):
            case 0:
                words[place] = rng.choice(words)
            case 1:
                words[place] = str(rng.choice((*NUMBERS, "nan", "inf", "-inf", "1e999", "../../etc/passwd")))
            case 2:
                del words[place]
            case _:
                words[place:place] = words[place : place + rng.choice((1, 8, 32))]
        words = words or [""]
    return " ".join(words).encode("utf-8", "replace")


def damaged_json(text: bytes, rng: random.Random) -> bytes:
    """A copy with values replaced, keys renamed or removed, or two entries of a list swapped."""
    root = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(places(root))
        if not found:
            break
        part, key = rng.choice(found)
        others = list(part) if isinstance(part, dict) else list(range(len(part)))
        other = rng.choice(others)
        match rng.randrange(5):
            case 0:
                part[key] = rng.choice(NUMBERS)
            case 1:
                part[key] = json.loads(json.dumps(rng.choice(JUNK)))
            case 2:
                del part[key]
            case 3:
                part[key], part[other] = part[other], part[key]
            case _:
                # A reference to another thing of the same kind, such as another accessor.
                value = part[key]
                part[key] = (
                    rng.randrange(2 * value + 2) if isinstance(value, int) and 0 <= value < 2**31 else 10**9
                )
    return json.dumps(root).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of parsed JSON: the list or object that holds it, and its index or key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield value, key
        yield from places(child)


def damaged(path: Path, rng: random.Random) -> bytes:
    """One damaged version of a file."""
    data = path.read_bytes()
    suffix = path.suffix
    if suffix == ".glb" and rng.random() < 0.6:
        size = struct.unpack_from("<I", data, 12)[0]
        text = damaged_json(data[20 : 20 + size], rng)
        text += b" " * (-len(text) % 4)
        rest = data[20 + size :]
        if rng.random() < 0.3:
            rest = rest[:8] + damaged_bytes(rest[8:], rng)[: len(rest) - 8].ljust(len(rest) - 8, b"\0")
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + rest
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
    if suffix in (".gltf", ".json") and rng.random() < 0.7:
        return damaged_json(data, rng)
    if suffix in (".obj", ".ply", ".usda") and rng.random() < 0.6:
        return damaged_text(data, rng)
    return damaged_bytes(data, rng)
