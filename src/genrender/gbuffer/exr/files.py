"""Which EXR files are the frames and passes of a clip."""

import glob
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from genrender.errors import MediaError
from genrender.scene.names import FRAME_NUMBER

SUFFIX = ".exr"
# How software writes the frame's number in the name of a sequence: %04d, #### and Houdini's $F4.
NUMBER = re.compile(r"%0?\d*d|#+|\$F\d?")


@dataclass(frozen=True)
class Series:
    """Files that differ in the frame's number.

    Attributes:
        name: what tells them from the other files of the clip, such as `depth`; empty where there are none.
        files: by the frame's number, in ascending order.
    """

    name: str
    files: Mapping[int, Path]


def is_exr_sequence(path: Path) -> bool:
    """Whether a path names EXR files: a file or a pattern of that suffix, or a folder that holds some."""
    return path.suffix.lower() == SUFFIX or (path.is_dir() and bool(_in_folder(path)))


def exr_files(path: Path) -> list[Path]:
    """The files of a folder or a pattern, in the order of their names.

    A folder's own files count, and where it has none those of its folders. A pattern has wildcards, or %04d,
    #### or $F4 for the frame's number.

    Raises:
        MediaError: there are none.
    """
    if path.is_dir():
        found = _in_folder(path)
    elif NUMBER.search(path.name) and not path.exists():
        pieces = (re.escape(piece) for piece in NUMBER.split(path.name))
        names = re.compile(r"-?\d+".join(pieces))
        folder = path.parent.iterdir() if path.parent.is_dir() else ()
        found = sorted(file for file in folder if names.fullmatch(file.name))
    else:
        found = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
    if not found:
        raise MediaError(f"no EXR files match {path}: expected a folder or a pattern such as shot_%04d.exr")
    return found


def _in_folder(folder: Path) -> list[Path]:
    for pattern in ("*", "*/*"):
        if found := sorted(file for file in folder.glob(pattern) if file.suffix.lower() == SUFFIX):
            return found
    return []


def find_series(files: Sequence[Path]) -> list[Series]:
    """Sorts files by pass and frame.

    The frame's number is the last number in the name that differs between files. A lone file is frame 1,
    unless its name ends in a number.

    Raises:
        MediaError: two files are the same frame of the same pass.
    """
    alike: dict[tuple[str, ...], list[tuple[list[str], Path]]] = defaultdict(list)
    for file in files:
        pieces = FRAME_NUMBER.split(file.stem)
        alike[(str(file.parent), *pieces[::2])].append((pieces, file))
    series: dict[str, dict[int, Path]] = defaultdict(dict)
    for group in alike.values():
        numbers = range(1, len(group[0][0]), 2)
        differing = [place for place in numbers if len({pieces[place] for pieces, _ in group}) > 1]
        place = max(differing or numbers, default=None)
        for pieces, file in group:
            frame = 1 if place is None else int(pieces[place])
            rest = pieces if place is None else [*pieces[:place], *pieces[place + 1 :]]
            frames = series[str(file.parent / "".join(rest))]
            if frame in frames:
                raise MediaError(f"{frames[frame].name} and {file.name} are both frame {frame}; remove one")
            frames[frame] = file
    names = _own_parts(list(series))
    return [
        Series(name, dict(sorted(frames.items())))
        for name, frames in zip(names, series.values(), strict=True)
    ]


def _own_parts(paths: Sequence[str]) -> list[str]:
    """What is left of every path when the words that all begin or end with are taken away."""
    words = [[word for word in re.split(r"[\W_]+", path) if word] for path in paths]
    if len(paths) == 1:
        return [""]
    start, shortest = 0, min(map(len, words))
    while start < shortest and len({one[start] for one in words}) == 1:
        start += 1
    end = 0
    while end < shortest - start and len({one[-1 - end] for one in words}) == 1:
        end += 1
    return ["_".join(one[start : len(one) - end]) for one in words]


def missing_frames(numbers: Sequence[int]) -> list[range]:
    """Gaps in an ascending numbering. Every n-th frame alone is no gap."""
    step = frame_step(numbers)
    return [range(a + step, b, step) for a, b in pairwise(numbers) if b - a > step]


def frame_step(numbers: Sequence[int]) -> int:
    """The largest step whose multiples lead from the first number to all others; 0 for a lone frame."""
    return math.gcd(*(later - earlier for earlier, later in pairwise(numbers)))


def say_frames(numbers: Iterable[range]) -> str:
    """Frame numbers for people: "3, 7..9 and 12 more"."""
    gaps = list(numbers)
    said = [str(gap[0]) if len(gap) == 1 else f"{gap[0]}..{gap[-1]}" for gap in gaps[:4]]
    more = sum(map(len, gaps[4:]))
    return ", ".join(said) + (f" and {more} more" if more else "")
