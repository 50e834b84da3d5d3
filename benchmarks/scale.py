"""From 1 to 1,000 GPUs: a small simulation of clips that are made in parts, and what ends the speed-up.

    python benchmarks/scale.py [--json]

Nothing here was measured on a GPU. What goes in stands in `Machine` and `Clip`, each with where it is from;
what comes out are minutes, the share of all GPU time that makes frames, and what of the time of one GPU is
lost to which cause. Parts are cut as `--workers` cuts them. Two kinds of work: one clip (`render --workers`),
and a film of many shots, each by one GPU, longest first (`genrender batch`).
"""

import heapq
import json
import random
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared import new_parser

from genrender.config import RunConfig
from genrender.jobs.in_parts import cut
from genrender.sampling.part import whole_chunks
from genrender.surface.lock import needed_frames

GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
SPEEDS = {"A100": 312.0, "H100": 989.0}


@dataclass(frozen=True)
class Machine:
    """One GPU with its host, and what all share.

    Attributes:
        tflops: half precision, dense, as the maker publishes it.
        utilisation: share of it that diffusion reaches. Assumed.
        load_s: a process, its libraries and weights. Assumed.
        gbuffer_s: ray casting of a frame of 512 x 512 pixels on a core of the host, measured with the walking
            biped (0.042 s of processor time); large scenes take a second (docs/large_scenes.md).
        placing_s: per frame of the clip, of each process before its first frame, unless the camera is a file:
            measured likewise, 22 s of 5,000 frames.
        spread: of a step's time from GPU to GPU and step to step, as a standard deviation. Assumed.
        lost_per_h: how often an hour a GPU is lost, as those are that cost less. Assumed.
        back_s: until another one stands in for it. Assumed.
        storage_gb_s: that all GPUs together read and write of the shared folder. Assumed: 10 gigabits.
        price_h: of a GPU's hour, in dollars. Assumed; look yours up.
    """

    tflops: float = SPEEDS["A100"]
    utilisation: float = 0.4
    load_s: float = 30.0
    gbuffer_s: float = 0.042
    placing_s: float = 0.0044
    spread: float = 0.05
    lost_per_h: float = 0.05
    back_s: float = 60.0
    storage_gb_s: float = 1.25
    price_h: float = 2.0


@dataclass(frozen=True)
class Clip:
    """What is made: Stable Diffusion 1.5 with a depth ControlNet, both branches of guidance.

    Attributes:
        step_tflop: of a frame and step, counted (docs/performance.md).
        decode_tflop: of a frame, likewise.
        n_steps: diffusion steps.
        n_keyframes: of every part, at each step.
        chunk: frames that go through the networks at once.
        scratch_mb: that a worker writes for a frame, 61 bytes per pixel (measured with local workers by
            `benchmarks/workers.py`, 64 x 64 pixels, 5 steps). What it reads again comes from its own cache.
        shared: how much of that goes to the shared folder.
        join_s: a frame linked, and encoded into the video, by one process. Assumed.
    """

    n_frames: int = 5000
    step_tflop: float = 2.20
    decode_tflop: float = 2.48
    n_steps: int = 20
    n_keyframes: int = 8
    chunk: int = 8
    scratch_mb: float = 61 * 512 * 512 / 1e6
    shared: float = 1.0
    join_s: float = 0.005


def main() -> None:
    args = new_parser(__doc__).parse_args()
    machine, clip = Machine(), Clip()
    tables = {
        "one clip of 5,000 frames": [one_clip(clip, machine, n) for n in GPUS],
        "the same, a step at a time in all": [in_step(clip, machine, n) for n in GPUS],
        "a film of 90 minutes": [film(clip, machine, n) for n in GPUS],
        "a film, scratch on disks of the hosts": [film(replace(clip, shared=0.05), machine, n) for n in GPUS],
    }
    if args.json:
        print(json.dumps({"machine": asdict(machine), "clip": asdict(clip), **tables}, indent=2))
        return
    frame_s = frame_seconds(clip, machine)
    faster_s = frame_seconds(clip, replace(machine, tflops=SPEEDS["H100"]))
    print(f"a frame takes {frame_s:.2f} s of an A100, {faster_s:.2f} s of an H100")
    for title, rows in tables.items():
        print(f"\n{title}\n{'GPUs':>6} {'minutes':>9} {'efficiency':>11} {'storage':>8} {'dollars':>8}")
        for row in rows:
            print(
                f"{row['gpus']:6d} {row['minutes']:9.1f} {row['efficiency']:11.0%} {row['storage']:8.0%} "
                f"{row['dollars']:8.0f}"
            )


def frame_seconds(clip: Clip, machine: Machine) -> float:
    """Of a GPU for a frame, if nothing were made twice."""
    speed = machine.tflops * machine.utilisation
    return (clip.n_steps * clip.step_tflop + clip.decode_tflop) / speed


def part_seconds(clip: Clip, machine: Machine, part: range, chance: random.Random) -> float:
    """Of a GPU for a part: its frames, those around it, the keyframes at every step, and what it loses."""
    speed = machine.tflops * machine.utilisation
    decoded = needed_frames(part, clip.n_frames, 1.0)
    sampled = len(whole_chunks(decoded, clip.n_frames, clip.chunk))
    step_s = (sampled + clip.n_keyframes) * clip.step_tflop / speed
    steps_s = sum(step_s * max(0.5, chance.gauss(1, machine.spread)) for _ in range(clip.n_steps))
    seconds = (sampled + clip.n_keyframes) * machine.gbuffer_s + steps_s
    seconds += len(decoded) * clip.decode_tflop / speed
    # A GPU that is lost costs half a step, and the time until another one has its weights.
    n_lost = sum(chance.random() < machine.lost_per_h / 3600 for _ in range(round(seconds)))
    return seconds + n_lost * (step_s / 2 + machine.back_s + machine.load_s)


def one_clip(clip: Clip, machine: Machine, gpus: int) -> dict[str, Any]:
    """By `--workers`: keyframes first, then parts, each taken by whoever is free."""
    chance = random.Random(gpus)
    parts = cut(clip.n_frames, gpus, RunConfig(chunk_size=clip.chunk, lock=1.0))
    speed = machine.tflops * machine.utilisation
    begun_s = machine.load_s + clip.n_frames * machine.placing_s
    keyframes_s = begun_s + clip.n_frames * machine.gbuffer_s
    keyframes_s += clip.n_keyframes * (clip.n_steps * clip.step_tflop + clip.decode_tflop) / speed
    # All but one load their weights and place the camera after the keyframes: their first part begins then.
    free = [keyframes_s + (begun_s if gpu else 0.0) for gpu in range(gpus)]
    ends_s = list_scheduled(free, [part_seconds(clip, machine, part, chance) for part in parts])
    written_gb = clip.shared * clip.scratch_mb * (clip.n_frames + sum(len(part) + 32 for part in parts)) / 1e3
    serial_s = keyframes_s + clip.n_frames * clip.join_s
    return report(clip, machine, gpus, ends_s - keyframes_s, serial_s, written_gb)


def in_step(clip: Clip, machine: Machine, gpus: int) -> dict[str, Any]:
    """What would be if every step's keyframes were drawn anew: all GPUs wait for the slowest one at each."""
    chance = random.Random(gpus)
    speed = machine.tflops * machine.utilisation
    share = -(-clip.n_frames // (gpus * clip.chunk)) * clip.chunk
    step_s = (share + clip.n_keyframes) * clip.step_tflop / speed
    # Which frames may be keyframes is known when all have been looked at, as for parts.
    serial_s = machine.load_s + clip.n_frames * (machine.placing_s + machine.gbuffer_s + clip.join_s)
    seconds = 0.0
    for _ in range(clip.n_steps):
        seconds += step_s * max(max(0.5, chance.gauss(1, machine.spread)) for _ in range(gpus))
        # One that is lost has all wait until another one has done its step.
        if chance.random() < 1 - (1 - machine.lost_per_h * step_s / 3600) ** gpus:
            seconds += machine.back_s + machine.load_s + step_s
    seconds += (share + 16) * clip.decode_tflop / speed
    written_gb = clip.shared * clip.scratch_mb * clip.n_frames / 1e3
    return report(clip, machine, gpus, seconds, serial_s, written_gb)


def film(clip: Clip, machine: Machine, gpus: int) -> dict[str, Any]:
    """Shots of 1 to 10 seconds, each a run of its own with as many keyframes as it takes by default."""
    chance = random.Random(7)
    shots, left = list[int](), 90 * 60 * 24
    while left > 0:
        shots.append(min(left, round(24 * chance.uniform(1, 10))))
        left -= shots[-1]
    alone = [
        n * machine.placing_s
        + part_seconds(replace(clip, n_frames=n, n_keyframes=0), machine, range(n), chance)
        for n in sorted(shots, reverse=True)
    ]
    seconds = list_scheduled([machine.load_s] * gpus, alone)
    whole = replace(clip, n_frames=sum(shots))
    return report(whole, machine, gpus, seconds, 0.0, clip.shared * clip.scratch_mb * sum(shots) / 1e3)


def list_scheduled(free_s: list[float], tasks_s: list[float]) -> float:
    """When the last of the tasks is done, each begun by whoever is free first."""
    heapq.heapify(free_s)
    end_s = 0.0
    for task_s in tasks_s:
        done_s = heapq.heappop(free_s) + task_s
        end_s = max(end_s, done_s)
        heapq.heappush(free_s, done_s)
    return end_s


def report(
    clip: Clip, machine: Machine, gpus: int, parallel_s: float, serial_s: float, written_gb: float
) -> dict[str, Any]:
    """The storage ends it where its share of the parallel time would be more than all of it."""
    storage_s = written_gb / machine.storage_gb_s
    seconds = serial_s + max(parallel_s, storage_s)
    return {
        "gpus": gpus,
        "minutes": seconds / 60,
        "efficiency": clip.n_frames * frame_seconds(clip, machine) / (gpus * seconds),
        "storage": storage_s / seconds,
        "dollars": gpus * seconds / 3600 * machine.price_h,
    }


if __name__ == "__main__":
    main()
