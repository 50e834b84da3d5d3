"""Damages files in thousands of ways: each must load and show, or be refused in one line.

    python benchmarks/fuzz_scenes.py [--mutations 1000] [--seed 0] [--only glb obj] [--small] [FILE ...]

Scenes of all formats, EXR files, and the files of `other_files.py`. Bytes are flipped, cut off and inserted,
numbers and keys of JSON and text changed, accessors swapped. Every damaged scene is loaded, its animation
evaluated and one small G-buffer rendered, in a process that may take 2 GB. Anything
but success and this package's own errors is a failure, and so are more than `--limit` seconds. Prints counts
per kind of file and the slowest; the exit code is 1 if anything failed.
"""

import json
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from damage import damaged
from other_files import READERS, make_other_samples
from scene_samples import make_samples
from shared import new_parser

ROOT = Path(__file__).resolve().parents[1]
BYTES = 2**31
SIDE = 24
DAMAGED = "damaged-"


# Files


def default_files(folder: Path, is_small: bool) -> list[Path]:
    """The assets, the example scenes and `make_samples`; small ones alone if asked."""
    found = [
        *(ROOT.parent / "shared" / "assets").glob("*.gl*"),
        *(ROOT / "examples" / "scenes").glob("*.glb"),
    ]
    files = [*sorted(found), *make_samples(folder), *make_other_samples(folder)]
    return [file for file in files if file.stat().st_size < 50_000] if is_small else files


# Trying


def show(path: Path) -> None:
    """Loads a file and renders one small G-buffer; raises whatever goes wrong."""
    from genrender.gbuffer.exr.survey import open_sequence
    from genrender.scene.load import load_scene
    from genrender.shots.clip import ShotConfig, plan_shot
    from genrender.shots.exr_shot import ExrShot

    if (read := READERS.get(path.name.removeprefix(DAMAGED))) is not None:
        read(path)
        return
    if path.suffix == ".exr":
        ExrShot.of(open_sequence(path)).gbuffer(0)
        return
    scene = load_scene(path)
    middle_s = scene.animations[0].duration_s / 2 if scene.animations else 0.0
    shot = plan_shot(scene, ShotConfig(size=(SIDE, SIDE), times_s=(0.0, middle_s)))
    shot.gbuffer(1)
    for camera in scene.camera_names[:1]:
        scene.camera(camera, middle_s, 0 if scene.animations else None)


def work(files: list[Path], jobs: list[tuple[int, int]], folder: Path, pipe: Connection) -> None:
    """In a process of its own: tries jobs (index of the file, seed) and reports each."""
    from genrender.errors import GenRenderError
    from genrender.scene.formats.apart import end_idle
    from genrender.storage.limits import bound_memory

    for file in files:  # whole: what they import, and the threads that are begun, are no file's fault
        with suppress(GenRenderError):
            show(file)
    end_idle()  # the next readers have the bound of this process, as on a page
    bound_memory(BYTES)
    warnings.simplefilter("error")
    pipe.send("ready")
    for index, seed in jobs:
        path = folder / f"{DAMAGED}{files[index].name}"
        path.write_bytes(damaged(files[index], random.Random(f"{files[index].name} {seed}")))
        started_s = time.process_time()  # other work on the machine is not the file's fault
        try:
            show(path)
            outcome = "shown", ""
        except GenRenderError as error:
            outcome = ("refused", str(error)) if "\n" not in str(error) else ("several lines", str(error))
        except BaseException as error:
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            outcome = type(error).__name__, f"{error} at {where}"
        pipe.send((*outcome, time.process_time() - started_s))


def run(
    files: list[Path],
    jobs: list[tuple[int, int]],
    limit_s: float,
    report: Callable[[int, int, str, str, float], None],
    until_s: float,
) -> None:
    """Tries all jobs, or as many as there is time for; a process that dies or takes too long is replaced."""
    context = multiprocessing.get_context("spawn")
    while jobs and time.monotonic() < until_s:
        folder = Path(tempfile.mkdtemp())
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=(files, jobs, folder, theirs))
        child.start()
        theirs.close()
        done = 0
        if not ours.poll(300):
            raise SystemExit("a process takes longer than five minutes to import what reads files")
        ours.recv()  # EOFError: a whole file cannot be read, and its traceback has been printed
        try:
            while done < len(jobs) and time.monotonic() < until_s:
                if not ours.poll(60 * limit_s):  # other work may slow everything down
                    report(*jobs[done], "hang", "", 60 * limit_s)
                    done += 1
                    break
                report(*jobs[done], *ours.recv())
                done += 1
        except EOFError:
            child.join()
            report(*jobs[done], f"crash {child.exitcode}", "", 0.0)
            done += 1
        child.kill()
        child.join()
        shutil.rmtree(folder)
        jobs = jobs[done:]


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: all that are at hand")
    parser.add_argument("--mutations", type=int, default=1000, help="in all, the same number of each file")
    parser.add_argument("--seed", type=int, default=0, help="number of the first mutation of each file")
    parser.add_argument("--only", nargs="*", help="suffixes without the dot")
    parser.add_argument("--small", action="store_true", help="only files below 50 kB")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of processor time for each")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = args.files or default_files(Path(folder), args.small)
        if args.only:
            files = [file for file in files if file.suffix[1:] in args.only]
        jobs = [
            (index, args.seed + n)
            for n in range(max(1, args.mutations // len(files)))
            for index in range(len(files))
        ]
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        slowest: list[tuple[float, str]] = []
        failures: list[str] = []

        def report(index: int, seed: int, outcome: str, text: str, seconds: float) -> None:
            file = files[index]
            counts[file.suffix[1:]][outcome] += 1
            slowest.append((seconds, f"{file.name} {seed}: {outcome}"))
            if outcome in ("shown", "refused") and seconds <= args.limit:
                return
            failures.append(f"{file.name} {seed}: {outcome} {text}")
            print(failures[-1], file=sys.stderr if args.json else sys.stdout, flush=True)
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                copy = damaged(file, random.Random(f"{file.name} {seed}"))
                (args.keep / f"{file.stem}_{seed}{file.suffix}").write_bytes(copy)

        run(files, jobs, args.limit, report, time.monotonic() + 60 * args.minutes)
    if args.json:
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            json.dumps(
                {
                    "counts": counts,
                    "failures": failures,
                    "slowest_s": max(slowest, default=(0.0, ""))[0],
                    "peak_mb": peak_mb,
                }
            )
        )
        sys.exit(1 if failures else 0)
    for kind, of_kind in sorted(counts.items()):
        print(
            f"{kind:5} {sum(of_kind.values()):6}  "
            + ", ".join(f"{n} {what}" for what, n in of_kind.most_common())
        )
    for seconds, what in sorted(slowest, reverse=True)[:5]:
        print(f"{seconds:6.2f} s  {what}")
    print(f"{len(slowest)} mutations, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
