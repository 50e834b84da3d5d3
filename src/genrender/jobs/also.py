"""What a run may hold beside its video, by name, and seeds to choose from before it."""

import re
from pathlib import Path

from genrender.errors import ConfigError
from genrender.jobs.job import RenderJob
from genrender.storage.run_files import ALPHA_DIR, EXR_DIR, MATTES_DIR, PRORES_FILE, UPSCALED_FILE

# What appears last of each kind.
_PLACES = {"alpha": ALPHA_DIR, "exr": EXR_DIR, "mattes": MATTES_DIR, "prores": PRORES_FILE}
KINDS = tuple(_PLACES)
MAX_SEEDS = 64


def read_kinds(text: str | None) -> tuple[str, ...]:
    """The names in a text that separates them by commas.

    Raises:
        ConfigError: there is no such kind.
    """
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"--also {text!r}: there is no {name!r}, expected some of {', '.join(KINDS)}")
    return names


def missing_kinds(job: RenderJob, folder: Path) -> tuple[tuple[str, ...], str | None]:
    """What a job asks for and its finished run does not hold yet: kinds, and the network that enlarges."""
    kinds = tuple(kind for kind in read_kinds(job.also) if not (folder / _PLACES[kind]).exists())
    return kinds, None if (folder / UPSCALED_FILE).exists() else job.upscale


def read_seeds(text: str) -> tuple[int, ...]:
    """`0-7`, `3` or `1,5,9-12`.

    Raises:
        ConfigError: it is not of that form, or there are more than `MAX_SEEDS`.
    """
    seeds: list[int] = []
    for word in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last or len(seeds) + last - first >= MAX_SEEDS:
            raise ConfigError(f"--seeds {text!r}: expected at most {MAX_SEEDS} numbers, such as 0-7 or 1,5,9")
        seeds += range(first, last + 1)
    return tuple(seeds)
