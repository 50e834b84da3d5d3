"""A long clip by workers of which one is killed now and then: is it the one that nobody disturbed?

    python benchmarks/kills.py [--frames 5000] [--every 60] [--workers 2] [--size 64] [--steps 2] [--json]

makes the clip twice, both times by `genrender render --workers`, which gets all other options as they are
(`--guidance 1 --chunk 32`, say). Every `--every` seconds of the first one, when its keyframes are there,
a worker that is drawn by lot is killed. Tells how many were, whether all frames are the same to the bit, what
each took, and how the memory of the command's process and of its largest worker went from tenth to tenth of
the time. A clip that is there in `--folder` already is not made again.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from shared import WALKING_BIPED, new_parser

from genrender.storage.run_files import PARTS_DIR, UNFINISHED_DIR

# How often memory is looked at.
LOOK_EVERY_S = 1.0
WORKER = "genrender.jobs.worker"


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--camera", default="orbit")
    parser.add_argument("--seed", type=int, default=0, help="of the lots")
    parser.add_argument("--folder", type=Path, help="keeps both runs")
    args, args.others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        report = {
            "frames": args.frames,
            "disturbed": run(args, folder / "disturbed", random.Random(args.seed)),
            "undisturbed": run(args, folder / "undisturbed", None),
            "different_frames": different(folder / "disturbed", folder / "undisturbed"),
        }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    for name in ("disturbed", "undisturbed"):
        one: dict[str, Any] = report[name]
        print(
            f"{name}: {one['killed']} workers killed, {one['seconds']:.0f} s, {one['cpu_s']:.0f} s of "
            "processor time"
        )
        for who, tenths in one["memory_mb"].items():
            print(f"  {who}: " + ", ".join(f"{mb:.0f}" for mb in tenths) + " MB")
    print(f"{report['different_frames']} of {args.frames} frames differ")


def run(args: argparse.Namespace, folder: Path, lots: random.Random | None) -> dict[str, Any]:
    """Makes the clip, and kills workers meanwhile where there are lots to draw."""
    told = folder.with_suffix(".json")
    if told.exists():
        return json.loads(told.read_text())
    words = ["render", str(WALKING_BIPED), "--prompt", "a red and white striped biped on a green background"]
    words += ["--camera", args.camera, "--loop", "--frames", str(args.frames), "--preset", "preview"]
    words += ["--size", str(args.size), "--steps", str(args.steps), "--dtype", "float32"]
    words += ["--workers", str(args.workers), "--run-dir", str(folder), *args.others]
    started_s = time.monotonic()
    driver = psutil.Popen([sys.executable, "-m", "genrender", *words], stdout=subprocess.DEVNULL)
    killed, killed_s, cpu_s = 0, started_s, dict[int, float]()
    memory: dict[str, list[float]] = {"driver": [], "largest worker": []}
    while driver.poll() is None:
        time.sleep(LOOK_EVERY_S)
        workers = [process for process in children(driver) if WORKER in words_of(process)]
        memory["driver"].append(resident_mb(driver))
        memory["largest worker"].append(max([0.0, *map(resident_mb, workers)]))
        cpu_s |= {
            process.pid: processor_s(process) or cpu_s.get(process.pid, 0.0) for process in [driver, *workers]
        }
        has_parts = any((folder / UNFINISHED_DIR / PARTS_DIR).glob("[0-9]*"))
        if lots is not None and workers and has_parts and time.monotonic() - killed_s > args.every:
            lots.choice(workers).kill()
            killed, killed_s = killed + 1, time.monotonic()
    if driver.returncode:
        raise SystemExit(f"the command ended with {driver.returncode}")
    found = {
        "killed": killed,
        "seconds": time.monotonic() - started_s,
        "cpu_s": sum(cpu_s.values()),
        "memory_mb": {who: most_in_tenths(mb) for who, mb in memory.items()},
    }
    told.write_text(json.dumps(found))
    return found


def most_in_tenths(values: list[float]) -> list[float]:
    ends = [len(values) * tenth // 10 for tenth in range(11)]
    return [max(values[first:end], default=0.0) for first, end in pairwise(ends)]


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def resident_mb(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def processor_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0
    return times.user + times.system


def different(one: Path, other: Path) -> int:
    """How many frames are not the same to the bit."""
    names = {file.name for folder in (one, other) for file in (folder / "frames").iterdir()}
    return sum(contents(one, name) != contents(other, name) for name in names)


def contents(folder: Path, name: str) -> bytes | None:
    file = folder / "frames" / name
    return file.read_bytes() if file.exists() else None


if __name__ == "__main__":
    main()
