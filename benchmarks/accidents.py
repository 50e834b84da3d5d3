"""Commands that are killed, folders that are damaged, disks that are full, two processes on one folder.

    python benchmarks/accidents.py kills|folders|disks|pairs [--tries 9] [--seed 0] [--only batch ...]

`kills`: a command is killed (SIGKILL) at a moment that is drawn by lot, and given again (a render: resumed);
what it makes must be to the byte what it makes undisturbed. `folders`: a file of a finished or an unfinished
run is damaged, removed or replaced, and commands read the folder: all is well, or one line with exit code 2;
what is resumed ends with the frames of the whole run. `disks`: the disk of a render (a tmpfs: needs root) is
filled at a moment and up to a rest that are drawn by lot; the render ends with one line, and with the frames
of the whole run once there is room again. `pairs`: a second command on the folder of one that is at work is
refused with one line, and disturbs it in nothing.

All with networks at toy sizes, in processes forked from one that has imported everything. Prints counts, or
JSON; the exit code is 1 if anything failed.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from damage import damaged_bytes
from shared import new_parser
from trials import (
    CLIP,
    COMMANDS,
    NEEDED,
    Bench,
    Forked,
    differ,
    finish,
    is_clean,
    make_trainings_small,
    results,
)

from genrender.storage.run_files import UNFINISHED_DIR

# No command on these toy clips needs half of it.
MOST_MB = 2000

# Those that begin processes of their own take many times longer, and get fewer tries.
LOTS = ("render", "only", "join", "finish") * 4 + (
    "batch",
    "compare",
    "workers",
    "study",
    "train",
    "motion",
)
READERS = ("resume run", "join run --out a.mp4", "finish run --also alpha", "diagnose run", "evaluate run")
SECOND = (
    "resume run",
    "finish run --also alpha",
    f"render {CLIP} --run-dir run",
    f"render {CLIP} --run-dir run",
)

# Accidents: each gives a name for the table, what became of it, and what is wrong with that.

Told = tuple[str, str, str]


def go_on(words: str, again: str, folder: Path, run: str) -> tuple[int, list[str]]:
    """Resumes a run that was begun, or begins anew where nothing of it was kept, or `again` is empty."""
    is_begun = bool(again) and (folder / run / UNFINISHED_DIR).exists()
    code, errors = finish(again if is_begun else words, folder)
    return finish(words, folder) if code == 2 and is_begun else (code, errors)


def kill_one(bench: Bench, rng: random.Random, name: str) -> Told:
    expected, seconds = bench.expected(name)
    folder = bench.fresh()
    running = Forked(COMMANDS[name].words, folder)
    code = running.ends(rng.uniform(0, seconds))
    if code is not None:
        wrong = differ(results(folder), expected) or ("" if code == 0 else f"code {code}: {running.errors()}")
        return name, "finished before", wrong
    running.kill()
    code, errors = go_on(COMMANDS[name].words, COMMANDS[name].again, folder, "run")
    wrong = f"code {code}: {errors}" if code else differ(results(folder), expected)
    left = [path.name for path in folder.rglob(".*.part*")] if not wrong else []
    shutil.rmtree(folder)
    return name, "killed, the same", wrong or (f"left behind: {left}" if left else "")


def stopped(bench: Bench) -> Path:
    """A folder whose run was killed when it kept a step."""
    from genrender.runs.unfinished import has_steps

    while True:
        folder = bench.fresh()
        running = Forked(COMMANDS["render"].words, folder)
        while running.ends(0) is None:
            if has_steps(folder / "run"):
                running.kill()
                return folder
            time.sleep(0.002)
        shutil.rmtree(folder)


def damage_one(bench: Bench, rng: random.Random, _: str) -> Told:
    is_whole = rng.random() < 0.5
    expected = bench.expected("render")[0]
    folder = bench.fresh() if is_whole else stopped(bench)
    if is_whole:
        (folder / "whole").rename(folder / "run")
    files = sorted(path for path in (folder / "run").rglob("*") if path.is_file())
    for file in rng.sample(files, rng.choice((1, 1, 2))):
        match rng.randrange(4):
            case 0:
                file.unlink()
            case 1:
                file.unlink()
                file.symlink_to(rng.choice(("/dev/zero", file.name, "..")))
            case _:
                file.write_bytes(damaged_bytes(file.read_bytes(), rng))
    wrong, said = "", "refused"
    words = rng.choice(READERS) if is_whole else "resume run"
    code, errors = finish(words, folder)
    if not is_clean(code, errors):
        wrong = f"{words}: code {code}: {errors}"
    elif code == 0:
        said = "went well"
        if not is_whole:
            wrong = differ(_of_run(results(folder)), _of_run(expected))
    shutil.rmtree(folder)
    return "finished run" if is_whole else "unfinished run", said, wrong


def _of_run(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if name.startswith(("run/frames/", "run/video"))}


def fill_one(bench: Bench, rng: random.Random, _: str) -> Told:
    expected, seconds = bench.expected("render")
    folder = bench.fresh()
    (folder / "run").mkdir()
    filler = folder / "run" / "filler"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder / "run")], check=True)
    words = COMMANDS["render"].words.replace("--run-dir run", "--run-dir run/run")
    try:
        running = Forked(words, folder)
        said = "had ended before"
        if (code := running.ends(rng.uniform(0, seconds))) is None:
            os.kill(running.pid, signal.SIGSTOP)
            # It writes no more, or has ended; which of them, `ends` will ask.
            os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            free = shutil.disk_usage(folder / "run").free
            filler.write_bytes(b"." * max(0, free - 1024 * rng.randrange(0, 128)))
            os.kill(running.pid, signal.SIGCONT)
            said = "what was left sufficed"
            code = running.ends()
        if code is None:
            running.kill()
            code = 124
        errors = running.errors()
        wrong = "" if is_clean(code, errors) else f"code {code}: {errors}"
        if code and not wrong:
            said = "stopped in one line, then the same"
            filler.unlink(missing_ok=True)
            code, errors = go_on(words, "resume run/run", folder, "run/run")
            wrong = f"again: code {code}: {errors}" if code else ""
        inner = {name.replace("run/run/", "run/"): data for name, data in results(folder).items()}
        wrong = wrong or differ(_of_run(inner), _of_run(expected))
    finally:
        subprocess.run(["umount", "-l", str(folder / "run")], check=True)
    shutil.rmtree(folder)
    return "render", said, wrong


def pair_one(bench: Bench, rng: random.Random, _: str) -> Told:
    expected = bench.expected("render")[0]
    folder = bench.fresh()
    first = Forked(COMMANDS["render"].words, folder)
    while not (folder / "run" / UNFINISHED_DIR).exists() and first.ends(0) is None:
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGSTOP)  # so that it is still there, however slow the second one is
    second = folder / "second"
    second.mkdir()
    for thing in ("model", "card.glb", "run"):
        (second / thing).symlink_to(folder / thing)
    words = rng.choice(SECOND)
    code, errors = finish(words, second)
    os.kill(first.pid, signal.SIGCONT)
    wrong = "" if code == 2 and is_clean(code, errors) else f"{words}: code {code}: {errors}"
    if (code := first.ends()) != 0:
        wrong = wrong or f"the first one ended with {code}: {first.errors()}"
    shutil.rmtree(second)
    wrong = wrong or differ(results(folder), expected)
    shutil.rmtree(folder)
    return words.split()[0], "refused", wrong


ACCIDENTS: dict[str, Callable[[Bench, random.Random, str], Told]] = {
    "kills": kill_one,
    "folders": damage_one,
    "disks": fill_one,
    "pairs": pair_one,
}


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("accident", choices=ACCIDENTS)
    parser.add_argument("--tries", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0, help="number of the first try")
    parser.add_argument("--only", nargs="*", default=LOTS, choices=COMMANDS, help="of kills")
    args = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    import genrender.cli.evaluate
    import genrender.cli.finish
    import genrender.cli.join
    import genrender.cli.render
    import genrender.cli.resume
    import genrender.cli.study  # noqa: F401 (what is imported here, forked processes have)

    make_trainings_small()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[str] = []
    slowest_s = peak_mb = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), NEEDED if args.accident == "kills" else NEEDED[:1])
        for seed in range(args.seed, args.seed + args.tries):
            began_s = time.monotonic()
            rng = random.Random(f"{args.accident} {seed}")
            kind, said, wrong = ACCIDENTS[args.accident](bench, rng, args.only[seed % len(args.only)])
            took_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            if took_mb > max(peak_mb, MOST_MB):
                wrong = wrong or f"{took_mb:.0f} MB"
            peak_mb = max(peak_mb, took_mb)
            counts[kind]["failed" if wrong else said] += 1
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            if wrong:
                failures.append(f"{kind} {seed}: {wrong}")
                print(failures[-1], file=sys.stderr, flush=True)
    if args.json:
        told = {"counts": counts, "failures": failures, "slowest_s": slowest_s, "peak_mb": peak_mb}
        print(json.dumps(told))
    else:
        for kind, found in sorted(counts.items()):
            print(f"{kind}: {', '.join(f'{n} {what}' for what, n in found.most_common())}")
        print(f"{sum(map(Counter.total, counts.values()))} tries, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
