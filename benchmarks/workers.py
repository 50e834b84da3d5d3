"""What parts and workers cost: processor time, wall time and bytes against one process, in one run.

    python benchmarks/workers.py [--frames 96] [--parts 2] [--workers 2] [--size 128] [--preset preview]

makes the same frames against the same keyframes three times, each by workers that have loaded their networks
before: as a whole by one, in parts by one, and in parts by several. `cost` is processor time relative to the
whole; `efficiency` is wall time of one worker over that of several times their number, for machines that do
nothing else meanwhile. `asking_s` is processor time of the process that asks them. `lines` are what goes
through the workers' pipes, which is all that goes through Ray; `read` and `written` are bytes of files, the
page cache included: what storage that is shared may see.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from shared import WALKING_BIPED, new_parser

from genrender.backbones.recipe import Recipe
from genrender.config import PRESETS
from genrender.distributed.process import LocalProcess
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.pool import Pool, Task
from genrender.jobs.worker import Worker
from genrender.runs.folder import RunFolder
from genrender.shots.clip import ShotConfig
from genrender.storage.run_files import APPEARANCE_FILE


class CountedProcess(LocalProcess):
    """A worker's process, and what goes through its pipes."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__(arguments)
        self.n_bytes = 0

    def ask(self, line: str) -> None:
        self.n_bytes += len(line) + 1
        super().ask(line)

    def answers(self) -> Iterator[str]:
        for line in super().answers():
            self.n_bytes += len(line)
            yield line


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--parts", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--preset", choices=("preview", "fast", "balanced"), default="preview")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shot = ShotConfig(n_frames=args.frames, camera="orbit", loop=True)
        clip = ClipJob(WALKING_BIPED, shot, size=args.size)
        prompt = "a red and white striped biped on a green background"
        job = RenderJob(clip, prompt, recipe=Recipe(precision="float32"), preset=args.preset)
        with Worker() as worker:
            worker.make(replace(job, only="keyframes"), RunFolder(folder / "look"))
        job = replace(job, keyframes_from=folder / "look")
        asked = {
            "whole, 1 worker": (1, 1),
            f"{args.parts} parts, 1 worker": (args.parts, 1),
            f"{args.parts} parts, {args.workers} workers": (args.parts, args.workers),
        }
        runs: dict[str, dict[str, float]] = {}
        for name, (n_parts, n_workers) in asked.items():
            runs[name] = measured(job, args.frames, n_parts, n_workers, folder / name.replace(" ", "-"))
            print(text({name: runs[name]}), file=sys.stderr, flush=True)
        keyframes_bytes = (folder / "look" / APPEARANCE_FILE).stat().st_size
    whole, one, several = runs.values()
    report = {
        **runs,
        "cost of parts": one["cpu_s"] / whole["cpu_s"],
        "cost of parts and workers": several["cpu_s"] / whole["cpu_s"],
        "overhead of a part, cpu_s": (one["cpu_s"] - whole["cpu_s"]) / max(args.parts - 1, 1),
        "overhead of a step, cpu_s": several["asking_s"] / (args.parts * PRESETS[args.preset].n_steps),
        "efficiency": one["seconds"] / (args.workers * several["seconds"]),
        "keyframes_bytes": keyframes_bytes,
    }
    print(json.dumps(report, indent=2) if args.json else text(report))


def measured(job: RenderJob, n_frames: int, n_parts: int, n_workers: int, folder: Path) -> dict[str, float]:
    """Makes all frames, by workers that are warm."""
    processes: list[CountedProcess] = []

    def start(arguments: Sequence[str]) -> CountedProcess:
        processes.append(CountedProcess(arguments))
        return processes[-1]

    def task(first: int, end: int, name: str) -> Task:
        return Task(name, replace(job, only=f"{first}-{end - 1}"), folder / name)

    with Pool([start] * n_workers) as pool:
        pool.make([task(0, 1, f"warm-{worker}") for worker in range(n_workers)], lambda *_: None)
        before, began_s, asked_s = (
            [used(process) for process in processes],
            time.monotonic(),
            time.process_time(),
        )
        ends = [round(n_frames * part / n_parts) for part in range(n_parts + 1)]
        parts = [task(first, end, f"{first:05d}") for first, end in pairwise(ends)]
        pool.make(parts, lambda *_: None)
        seconds, asking_s = time.monotonic() - began_s, time.process_time() - asked_s
        after = [used(process) for process in processes]
    names = ("cpu_s", "lines", "read", "written")
    sums = {
        name: sum(new[place] - old[place] for new, old in zip(after, before, strict=True))
        for place, name in enumerate(names)
    }
    return {"seconds": seconds, "asking_s": asking_s, **sums}


def used(process: CountedProcess) -> tuple[float, ...]:
    """Processor time, bytes through pipes, bytes of files read and written, until now."""
    found = psutil.Process(process.pid)
    times, files = found.cpu_times(), found.io_counters()._asdict()
    return times.user + times.system, process.n_bytes, files["read_chars"], files["write_chars"]


def text(report: dict[str, Any]) -> str:
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines.append(f"{name}: " + ", ".join(f"{what} {n:,.1f}" for what, n in value.items()))
        else:
            lines.append(f"{name}: {value:,.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
