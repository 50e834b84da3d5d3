"""Training pictures on disk, in shards of a fixed size, each of which its index alone determines."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from genrender.errors import ConfigError
from genrender.storage.atomic import atomic_write
from genrender.train.pause import wait_while_paused
from genrender.train.world import Sample, make_sample

SHARD_SIZE = 512
# Goes up whenever the same seed makes another picture, so that old pictures are not mixed with new ones.
WORLD_VERSION = 9
# Standard output is for results.
PROGRESS = Console(stderr=True)


@dataclass(frozen=True)
class Shard:
    """One shard, memory-mapped. See `Sample` for the meaning of the arrays."""

    image: UInt8[np.ndarray, "N H W 3"]
    depth: UInt8[np.ndarray, "N H W"]
    object_id: UInt8[np.ndarray, "N h w"]
    captions: Sequence[str]


def _names(folder: Path, index: int) -> dict[str, Path]:
    stem = f"{index:05d}"
    arrays = {key: folder / f"{stem}.{key}.npy" for key in ("image", "depth", "object_id")}
    return {**arrays, "captions": folder / f"{stem}.json"}


def write_shard(folder: Path, size: int, latent_side: int, index: int) -> None:
    """Make shard `index` unless it is there. The captions are written last: they mark a complete shard."""
    names = _names(folder, index)
    if names["captions"].exists():
        return
    wait_while_paused(folder.parent, PROGRESS)
    samples: list[Sample] = [make_sample((size, index, i), size, latent_side) for i in range(SHARD_SIZE)]
    for key in ("image", "depth", "object_id"):
        with atomic_write(names[key]) as part:
            np.save(part, np.stack([getattr(sample, key) for sample in samples]))
    with atomic_write(names["captions"]) as part:
        part.write_text(json.dumps([sample.caption for sample in samples]), encoding="utf-8")


def _end_with_parent() -> None:
    """Has this process end as soon as its parent does: the pool of one that is killed would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def write_shards(folder: Path, n_shards: int, size: int, latent_side: int, workers: int = 1) -> None:
    """Make the first `n_shards` shards in `folder`, several at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(write_shard, folder, size, latent_side)
    with ProcessPoolExecutor(workers, initializer=_end_with_parent) as pool:
        for _ in track(
            pool.map(work, range(n_shards)), description="pictures", total=n_shards, console=PROGRESS
        ):
            pass


def complete_shards(folder: Path) -> list[int]:
    """Indices of the shards in `folder` that are complete, in order."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.json"))


def read_shard(folder: Path, index: int) -> Shard:
    """Open a shard. Raises ConfigError where it is missing."""
    names = _names(folder, index)
    if not names["captions"].exists():
        raise ConfigError(
            f"no training pictures {names['captions']}: run `genrender train pocket --stage data` first"
        )
    arrays = {key: np.load(names[key], mmap_mode="r") for key in ("image", "depth", "object_id")}
    return Shard(**arrays, captions=json.loads(names["captions"].read_text(encoding="utf-8")))
