"""Commands that are killed, folders that are damaged, disks that are full, two processes on one folder.

    python benchmarks/accidents.py kills|folders|disks|pairs [--tries 9] [--seed 0] [--only batch ...]

`kills`: a command is killed (SIGKILL) at a moment that is drawn by lot, and given again (a render: resumed);
what it makes must be to the byte what it makes undisturbed. `folders`: a file of a finished or an unfinished
run is damaged, removed or replaced, and commands read the folder: all is well, or one line with exit code 2;
what is resumed ends with the frames of the whole run. `disks`: a render on a disk that is too small, drawn by
lot (a tmpfs: needs root), ends with one line; with more room it ends with the same frames. `pairs`: a second
command on the folder of one that is at work is refused with one line, and disturbs it in nothing.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from damage import damaged_bytes
from shared import new_parser

from genrender.storage.run_files import UNFINISHED_DIR

TESTS = str(Path(__file__).resolve().parents[1] / "tests")

CLIP = "card.glb --prompt fox --model model --animation Rise --frames 4 --steps 3 --size 64 --preset preview"
LINES = ({"job": "one", "seed": 1}, {"job": "two", "seed": 2})
NEEDED = (
    f"render {CLIP} --run-dir whole",
    f"render {CLIP} --only keyframes --run-dir look",
    f"render {CLIP} --only 0-1 --keyframes-from look --run-dir part-0",
    f"render {CLIP} --only 2-3 --keyframes-from look --run-dir part-2",
)
RESULTS = ("*.png", "*.mp4", "*.exr")
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Command:
    """A command that keeps something on the disk.

    Attributes:
        words: of it.
        again: what goes on with it, where its folder has begun.
    """

    words: str
    again: str = ""


COMMANDS = {
    "render": Command(f"render {CLIP} --run-dir run", "resume run"),
    "only": Command(f"render {CLIP} --only 0-1 --keyframes-from look --run-dir run --resume"),
    "join": Command("join part-0 part-2 --out run.mp4"),
    "finish": Command("finish whole --also alpha,mattes,exr"),
    "batch": Command("batch lines.jsonl --run-dir run"),
    "compare": Command(f"compare {CLIP} --methods generative,per-frame --run-dir run"),
    "workers": Command(f"render {CLIP} --workers 1 --run-dir run --resume"),
}
# Those that begin processes of their own take many times longer, and get fewer tries.
LOTS = ("render", "only", "join", "finish") * 4 + ("batch", "compare", "workers")
READERS = ("resume run", "join run --out a.mp4", "finish run --also alpha", "diagnose run", "evaluate run")
SECOND = (
    "resume run",
    "finish run --also alpha",
    f"render {CLIP} --run-dir run",
    f"render {CLIP} --run-dir run",
)


# Processes


class Forked:
    """A command in a process of its own, which has imported everything already."""

    def __init__(self, words: str, folder: Path) -> None:
        self.log = folder / "said.txt"
        self.began_s = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.chdir(folder)
                said = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(said, 1)
                os.dup2(said, 2)
                from genrender.cli import main

                code = main(words.split())
            finally:
                sys.stdout.flush()
                os._exit(code)

    def ends(self, within_s: float = PATIENCE_S) -> int | None:
        """Its exit code, negative for a signal; None: it still goes on."""
        until_s = time.monotonic() + within_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until_s:
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL; waits until those have gone that worked for it."""
        process = psutil.Process(self.pid)
        others = process.children(recursive=True)
        process.kill()
        os.waitpid(self.pid, 0)
        _, alive = psutil.wait_procs(others, timeout=60)
        if alive:
            raise SystemExit(f"{alive} go on although nobody waits for them")

    def errors(self) -> list[str]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "error: " in line or line.startswith("Traceback")]


def finish(words: str, folder: Path) -> tuple[int, list[str]]:
    """Runs a command to its end; its exit code, and the lines of its errors."""
    running = Forked(words, folder)
    code = running.ends()
    if code is None:
        running.kill()
        return 124, ["it took longer than ten minutes"]
    return code, running.errors()


def is_clean(code: int, errors: Sequence[str]) -> bool:
    """Whether a command went well, or was refused in one line."""
    return (code, len(errors)) in ((0, 0), (2, 1)) and not any("Traceback" in line for line in errors)


def results(folder: Path) -> dict[str, bytes]:
    """What commands have made: pictures, videos and EXR files."""
    files = [file for pattern in RESULTS for file in folder.rglob(pattern)]
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}


class Bench:
    """Folders with what the commands need, and what they make undisturbed.

    Args:
        folder: where all this is.
        needed: commands whose results there must be.
    """

    def __init__(self, folder: Path, needed: Sequence[str]) -> None:
        self.folder, self.count = folder, 0
        self.base = folder / "base"
        self.base.mkdir()
        # By another process: one that has computed with PyTorch must not be forked.
        code = "import sys; from pathlib import Path; from cli.conftest import make_card, make_model; "
        code += "make_model(Path('model')); make_card(Path('card.glb'))"
        place = os.environ | {"PYTHONPATH": os.pathsep.join([TESTS, *sys.path])}
        subprocess.run([sys.executable, "-c", code], cwd=self.base, env=place, check=True)
        clip = {"scene": "card.glb", "prompt": "fox", "model": "model", "animation": "Rise", "frames": 4}
        clip |= {"steps": 3, "size": "64", "preset": "preview"}
        (self.base / "lines.jsonl").write_text("\n".join(json.dumps(clip | line) for line in LINES))
        for words in needed:
            code, errors = finish(words, self.base)
            if code:
                raise SystemExit(f"{words} ended with {code}: {errors}")
        self.known: dict[str, tuple[dict[str, bytes], float]] = {}

    def fresh(self, into: Path | None = None) -> Path:
        """A copy of the prepared folder."""
        self.count += 1
        copy = into or self.folder / f"try-{self.count}"
        shutil.copytree(self.base, copy, dirs_exist_ok=True)
        return copy

    def expected(self, name: str) -> tuple[dict[str, bytes], float]:
        """What a command makes undisturbed, and how long it takes."""
        if name not in self.known:
            folder = self.fresh()
            began_s = time.monotonic()
            code, errors = finish(COMMANDS[name].words, folder)
            if code:
                raise SystemExit(f"{name} ended with {code}: {errors}")
            self.known[name] = results(folder), time.monotonic() - began_s
            shutil.rmtree(folder)
        return self.known[name]


def differ(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """Which files are not the same, in short."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return f"{len(names)} files differ: {names[:3]}" if names else ""


# Accidents: each gives a name for the table, what became of it, and what is wrong with that.

Told = tuple[str, str, str]


def kill_one(bench: Bench, rng: random.Random, name: str) -> Told:
    expected, seconds = bench.expected(name)
    folder = bench.fresh()
    running = Forked(COMMANDS[name].words, folder)
    code = running.ends(rng.uniform(0, seconds))
    if code is not None:
        wrong = differ(results(folder), expected) or ("" if code == 0 else f"code {code}: {running.errors()}")
        return name, "finished before", wrong
    running.kill()
    begun = (folder / "run" / UNFINISHED_DIR).exists()
    words = COMMANDS[name].again if begun and COMMANDS[name].again else COMMANDS[name].words
    code, errors = finish(words, folder)
    if code == 2 and words == COMMANDS[name].again:  # nothing of it was kept yet
        code, errors = finish(COMMANDS[name].words, folder)
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
    expected, _ = bench.expected("render")
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
    expected, _ = bench.expected("render")
    folder = bench.fresh()
    (folder / "run").mkdir()
    n_kb = rng.randrange(4, 3000)

    def mount(*options: str) -> None:
        subprocess.run(["mount", *options, str(folder / "run")], check=True)

    mount("-t", "tmpfs", "-o", f"size={n_kb}k", "none")
    words = COMMANDS["render"].words.replace("--run-dir run", "--run-dir run/run")
    try:
        code, errors = finish(words, folder)
        wrong = "" if is_clean(code, errors) else f"{n_kb} kB: code {code}: {errors}"
        said = "it fitted" if code == 0 else "refused, then the same"
        if code and not wrong:
            mount("-o", "remount,size=64m")
            begun = (folder / "run" / "run" / UNFINISHED_DIR).exists()
            code, errors = finish("resume run/run" if begun else words, folder)
            if code == 2 and begun:
                code, errors = finish(words, folder)
            wrong = f"{n_kb} kB, again: code {code}: {errors}" if code else ""
        inner = {name.replace("run/run/", "run/"): data for name, data in results(folder).items()}
        wrong = wrong or differ(_of_run(inner), _of_run(expected))
    finally:
        subprocess.run(["umount", "-l", str(folder / "run")], check=True)
    shutil.rmtree(folder)
    return "render", said, wrong


def pair_one(bench: Bench, rng: random.Random, _: str) -> Told:
    expected, _ = bench.expected("render")
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
    import genrender.cli.resume  # noqa: F401 (what is imported here, forked processes have)

    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[str] = []
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), NEEDED if args.accident == "kills" else NEEDED[:1])
        for seed in range(args.seed, args.seed + args.tries):
            began_s = time.monotonic()
            rng = random.Random(f"{args.accident} {seed}")
            kind, said, wrong = ACCIDENTS[args.accident](bench, rng, args.only[seed % len(args.only)])
            counts[kind]["failed" if wrong else said] += 1
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            if wrong:
                failures.append(f"{kind} {seed}: {wrong}")
                print(failures[-1], file=sys.stderr, flush=True)
    if args.json:
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        told = {"counts": counts, "failures": failures, "slowest_s": slowest_s, "peak_mb": peak_mb}
        print(json.dumps(told))
    else:
        for kind, found in sorted(counts.items()):
            print(f"{kind}: {', '.join(f'{n} {what}' for what, n in found.most_common())}")
        print(f"{sum(map(Counter.total, counts.values()))} tries, {len(failures)} failures")
    with suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
