"""A clip made by several workers: its keyframes first, then parts of it side by side, then all as one run.

Parts are those of `--only FIRST-LAST --keyframes-from`, and what they become is the run of `--keyframes-from`
alone, whatever the number of workers. Nothing but the files of runs goes from one process to another, so a
worker that is lost costs the step that it was at, and this process may be killed and resumed.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from genrender.backbones.loading import default_device
from genrender.config import RunConfig
from genrender.distributed.cluster import cluster
from genrender.distributed.process import LocalProcess, Start
from genrender.jobs.job import RenderJob, job_to_json
from genrender.jobs.part_checks import KEYFRAMES
from genrender.jobs.plan import Plan
from genrender.jobs.pool import Pool, Task
from genrender.jobs.reuse import clip_inputs, file_stamps
from genrender.jobs.whole import write_whole
from genrender.runs.hooks import RunHooks
from genrender.runs.unfinished import UnfinishedRun
from genrender.storage.run_files import CONFIG_FILE, PARTS_DIR
from genrender.surface.lock import needed_frames

# Each part makes some two dozen frames more than it has: keyframes, and what steadies the light at its ends.
# A worker makes several parts only where that is a tenth at most.
LONG_PART = 240
# Of a part's time, about.
_SHARES = {"diffusion": 0.9, "frames": 0.1}


def make_in_parts(plan: Plan, unfinished: UnfinishedRun, hooks: RunHooks) -> list[int]:
    """Fills the plan's run folder by workers; returns the frames that the safety checker blackened.

    Args:
        unfinished: the run, whose folder keeps keyframes and parts until all are there.
        hooks: told about the clip as a whole.

    Raises:
        Cancelled: the hooks say so.
        GenRenderError: a part fails, or loses its worker time after time.
    """
    job = plan.job
    assert job.workers is not None
    started_s = time.monotonic()
    request = {
        "scene": job.clip.scene.resolve(),
        "job": job_to_json(job),
        "files": file_stamps(clip_inputs(job)),
        "device": str(job.recipe.device or default_device()),
    }
    spent_s = unfinished.begin(request)
    home = unfinished.path.resolve() / PARTS_DIR
    home.mkdir(exist_ok=True)
    alone = replace(job, workers=None, ray=None, out=None, also=None, upscale=None, repeat=1)
    keyframes = home / KEYFRAMES if job.keyframes_from is None else job.keyframes_from.resolve()
    ranges = cut(plan.shot.n_frames, job.workers, plan.config)
    tasks = [_task(replace(alone, keyframes_from=keyframes), part, home) for part in ranges]
    with _starts(job, len(ranges)) as starts, Pool(starts) as pool:
        if job.keyframes_from is None:
            task = Task(KEYFRAMES, replace(alone, only=KEYFRAMES), keyframes)
            _make(pool, [task], _OfKeyframes(hooks), hooks)
        told = _OfParts(tasks, ranges, hooks)
        hooks.note(f"{len(ranges)} parts of at most {max(map(len, ranges))} frames by {len(starts)} workers")
        _make(pool, tasks, told, hooks)
    seconds = spent_s + time.monotonic() - started_s
    unfinished.note_seconds(seconds)
    return write_whole(plan, keyframes, [task.folder for task in tasks], unfinished.command, seconds, hooks)


def cut(n_frames: int, n_workers: int, config: RunConfig) -> list[range]:
    """The parts of a clip: whole chunks, as many for each worker, and for all of them about as long.

    Args:
        n_frames: of the clip.
        n_workers: how many there are.
        config: its chunks and its lock say what a part makes beside its own frames.

    Example:
        >>> cut(40, 2, RunConfig(chunk_size=8, lock=0.0))
        [range(0, 24), range(24, 40)]
    """
    chunk = config.chunk_size
    n_chunks = -(-n_frames // chunk)
    n_parts = min(n_workers * max(1, n_frames // (n_workers * LONG_PART)), n_chunks)
    ends = [min(-(-n_chunks * part // n_parts) * chunk, n_frames) for part in range(n_parts + 1)]
    parts = [range(first, end) for first, end in pairwise(ends)]
    # The longest first: those at the clip's ends make fewer frames beside their own.
    return sorted(parts, key=lambda part: -len(needed_frames(part, n_frames, config.lock)))


def _task(job: RenderJob, part: range, home: Path) -> Task:
    return Task(
        f"frames {part[0]} to {part[-1]}",
        replace(job, only=f"{part[0]}-{part[-1]}", appearance_from=None),
        home / f"{part[0]:05d}",
    )


@contextmanager
def _starts(job: RenderJob, n_parts: int) -> Iterator[list[Start]]:
    """What starts each worker's process: as many as have something to do."""
    assert job.workers is not None
    n_workers = min(job.workers, n_parts)
    device = job.recipe.device
    if job.ray is not None:
        with cluster(job.ray, n_workers, device is None or device.startswith("cuda")) as start:
            yield [start] * n_workers
    else:
        yield [
            partial(LocalProcess, environment={**os.environ, **change})
            for change in environments(n_workers, device)
        ]


def environments(n_workers: int, device: str | None) -> list[dict[str, str]]:
    """The variables by which workers of one machine share it: a GPU for each in turn, or some of its cores.

    Args:
        device: of the job; one with a number is all workers'.
    """
    # Only here: PyTorch takes seconds to import.
    import torch

    gpus = []
    if device in (None, "cuda"):
        named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        gpus = (named or [str(number) for number in range(torch.cuda.device_count())])[
            : torch.cuda.device_count()
        ]
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} for worker in range(n_workers)]
    if "OMP_NUM_THREADS" in os.environ:
        return [{}] * n_workers
    return [{"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // n_workers))}] * n_workers


def _make(pool: Pool, tasks: Sequence[Task], told: "_OfKeyframes | _OfParts", hooks: RunHooks) -> None:
    """Makes those that are not there yet."""
    missing = [task for task in tasks if not (task.folder / CONFIG_FILE).exists()]
    pool.make(missing, told, hooks.is_cancelled)


class _OfKeyframes:
    """Passes on what the run of the keyframes tells."""

    def __init__(self, hooks: RunHooks) -> None:
        self._hooks = hooks

    def __call__(self, _task: Task, kind: str, facts: tuple[Any, ...]) -> None:
        if kind == "progress":
            what, done, total = facts
            # The clip's own frames come later.
            if what in ("G-buffers", "diffusion"):
                self._hooks.progress("keyframes" if what == "diffusion" else what, done, total)
        elif not _is_about_itself(facts[0]):
            getattr(self._hooks, kind)(*facts)


class _OfParts:
    """Makes what parts tell one account of the clip: their progress together, and each warning once."""

    def __init__(self, tasks: Sequence[Task], ranges: Sequence[range], hooks: RunHooks) -> None:
        self._hooks = hooks
        self._n_frames = {task.name: len(part) for task, part in zip(tasks, ranges, strict=True)}
        is_there = {task.name: (task.folder / CONFIG_FILE).exists() for task in tasks}
        self._share = {what: {name: float(is_done) for name, is_done in is_there.items()} for what in _SHARES}
        self._warned: set[str] = set()

    def __call__(self, task: Task, kind: str, facts: tuple[Any, ...]) -> None:
        if kind == "progress" and facts[0] in self._share:
            what, done, total = facts
            share = self._share[what]
            # A part that has lost its worker does nothing twice that counts.
            share[task.name] = max(share[task.name], done / total)
            self._report()
        elif kind == "warn" and facts[0] not in self._warned:
            self._warned.add(facts[0])
            self._hooks.warn(facts[0])

    def _report(self) -> None:
        """One work for all, of which nothing comes before what comes before it in a run of one process."""
        n_frames = sum(self._n_frames.values())
        n_done = sum(
            part * self._n_frames[name] * done
            for what, part in _SHARES.items()
            for name, done in self._share[what].items()
        )
        self._hooks.progress("diffusion", int(n_done + 1e-6), n_frames)
        if all(done == 1 for done in self._share["frames"].values()):
            self._hooks.progress("frames", n_frames, n_frames)


def _is_about_itself(text: str) -> bool:
    """Whether a run tells how it is resumed: its user goes on with the whole."""
    return text.startswith("go on from the last step")
