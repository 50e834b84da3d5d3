"""Tries thousands of absurd command lines and damaged run folders: each must work, or be refused in one line.

    python benchmarks/fuzz_commands.py [--tries 1000] [--seed 0] [--minutes 9]

Command lines are of inspect, gbuffers, preview, unwrap, verify, resume, evaluate, diagnose and render (up to
where the model would be loaded), with odd numbers, texts, names and paths. Camera files and a run's
`config.json` have entries changed, removed and replaced. All in one process, replaced where it dies or
hangs. A traceback, an exit code other than 0 and 2, control characters on the screen, a library's own line or
warning is a failure; the exit code is 1 if there was one.
"""

import contextlib
import copy
import io
import json
import multiprocessing
import os
import random
import shlex
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from absurd_words import COMMANDS, DEFAULTS, PLACES, SCENE, TEXTS
from damage import JUNK, places
from scene_samples import OBJ
from shared import new_parser

from genrender.storage.limits import bound_memory

MEMORY_BYTES = 2**31
LIMIT_S = 30.0


def words_of(rng: random.Random) -> list[str]:
    """One command line."""
    name = rng.choice(list(COMMANDS))
    positions, options = COMMANDS[name]
    words = [name]
    for position in positions:
        usual = {"SCENE": SCENE, "RUN": "run"}[position]
        words.append(usual if rng.random() < 0.8 else rng.choice(PLACES))
    given: dict[str, str] = {}
    for option in rng.sample(list(options), min(len(options), rng.choice((0, 1, 1, 2, 3)))):
        value = rng.choice(options[option])
        given[option] = option if options[option] == ("",) else f"{option}={value}"
    kept = [word for word in DEFAULTS.get(name, []) if word.partition("=")[0] not in given]
    return [*words, *kept, *given.values()]


def damage(value: Any, rng: random.Random) -> Any:
    """A copy of parsed JSON with entries replaced, removed or exchanged."""
    root = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(places(root))
        if not found:
            break
        parent, key = rng.choice(found)
        match rng.randrange(4):
            case 0:
                del parent[key]
            case 1:
                parent[key] = rng.choice(TEXTS)
            case 2:
                other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
                parent[key], parent[other] = parent[other], parent[key]
            case _:
                parent[key] = copy.deepcopy(rng.choice(JUNK))
    return root


CAMERA = [
    {"eye": [0, 1, 4], "target": [0, 0, 0], "up": [0, 1, 0], "yfov_deg": 45, "time": 0},
    {"eye": [1, 1, 4], "target": [0, 0, 0], "up": [0, 1, 0], "yfov_deg": 30, "time": 1},
]


def make_folder(folder: Path) -> dict[str, Any]:
    """Files for command lines to name: a scene, a finished run, odd things; returns the run's record."""
    from genrender.backbones.recipe import Recipe
    from genrender.runs.folder import RunFolder
    from genrender.runs.record import (
        Cost,
        Making,
        NetworksRecord,
        Origin,
        RunRecord,
        SettingsRecord,
        ShotRecord,
    )
    from genrender.scene.load import load_scene
    from genrender.shots.clip import ShotConfig, render_clip

    (folder / SCENE).write_text(OBJ)
    clip = render_clip(load_scene(folder / SCENE), ShotConfig(size=(16, 16), n_frames=2))
    making = Making(
        ShotRecord.of(clip),
        SettingsRecord("a red fox", 2, "model"),
        NetworksRecord("cpu"),
        Origin(Recipe(), weights="0123"),
    )
    record = RunRecord.now(making, Cost(0.5, 500.0, None), 0, ["genrender", "render", SCENE])
    run = RunFolder(folder / "run")
    with run.replaced() as draft:
        draft.write_record(record)
        for index in range(2):
            draft.write_frame(index, np.full((16, 16, 3), 40 * index, np.uint8))
    (folder / "cam.json").write_text(json.dumps(CAMERA))
    (folder / "zero.json").symlink_to("/dev/zero")
    (folder / "deep.json").write_text("[" * 100_000)
    os.mkfifo(folder / "pipe.json")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "a-file").write_text("")
    (folder / "empty").mkdir()
    return json.loads(run.config_file.read_text())


def try_once(words: list[str]) -> tuple[str, str]:
    """What became of a command line: `done`, `refused` or what went wrong, and the details."""
    from genrender.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except BaseException:
        return "traceback", "".join(traceback.format_exc().splitlines(keepends=True)[-8:])
    said = [stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)]  # pyright: ignore
    if code not in ((0, 1, 2) if words[0] == "inspect" else (0, 2)):
        return f"code {code}", said[1][-400:]
    if any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for text in said for c in text):
        return "control characters", repr("".join(said))[-400:]
    if "--json" in words and code != 2:
        json.loads(said[0])
    is_usage = "full helptext" in said[1] or "Usage" in said[1]
    errors = [line for line in said[1].splitlines() if line.startswith("genrender: error: ")]
    if code == 2 and not is_usage and len(errors) != 1:
        return "no single line", said[1][-400:]
    strange = [line for line in said[1].splitlines() if line.strip() and not line.startswith("genrender: ")]
    if strange and not is_usage:
        return "a library's line", strange[0][:300]
    return ("done" if code != 2 else "refused"), (errors or [""])[0]


def work(seeds: list[int], pipe: Connection) -> None:
    """In a process of its own: tries command lines and reports each."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import genrender.cli
    import genrender.jobs.make

    # The slow half of a render is tried elsewhere; here it ends where the model would be loaded.
    genrender.jobs.make.make = lambda *_args, **_options: None
    folder = Path(tempfile.mkdtemp())
    try:
        os.chdir(folder)
        record = make_folder(folder)
        warnings.simplefilter("error")
        bound_memory(MEMORY_BYTES)
        for seed in seeds:
            rng = random.Random(f"command {seed}")
            words = words_of(rng)
            config = damage(record, rng) if rng.random() < 0.5 else record
            (folder / "run" / "config.json").write_text(json.dumps(config))
            camera = damage(CAMERA, rng) if rng.random() < 0.5 else CAMERA
            (folder / "cam.json").write_text(json.dumps(camera))
            pipe.send(words)
            started_s = time.process_time()
            outcome = try_once(words)
            pipe.send((*outcome, time.process_time() - started_s))
            if not (folder / SCENE).exists() or (folder / "run").is_symlink():
                raise SystemExit(f"{words} has removed what it was given")
            for left in ("out", "new-run", "runs", "out.glb", "out.png", "out.mp4"):
                path = folder / left
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first try")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time")
    args = parser.parse_args()
    seeds = list(range(args.seed, args.seed + args.tries))
    counts: Counter[str] = Counter()
    failures: list[str] = []
    slowest: list[tuple[float, str]] = []
    until_s = time.monotonic() + 60 * args.minutes
    context = multiprocessing.get_context("spawn")
    while seeds and time.monotonic() < until_s:
        ours, theirs = context.Pipe()
        child = context.Process(target=work, args=(seeds, theirs))
        child.start()
        theirs.close()
        words: list[str] = []
        try:
            while seeds and time.monotonic() < until_s:
                outcome, detail, seconds = "hang", "", 6 * LIMIT_S
                words = ours.recv()
                if ours.poll(6 * LIMIT_S):
                    outcome, detail, seconds = ours.recv()
                if outcome in ("done", "refused") and seconds > LIMIT_S:
                    outcome = "slow"
                _count(seeds.pop(0), words, outcome, detail, counts, failures)
                slowest = sorted([*slowest, (seconds, shlex.join(words)[:120])])[-3:]
                if outcome == "hang":
                    break
        except EOFError:
            child.join()
            _count(seeds.pop(0), words, f"crash {child.exitcode}", "", counts, failures)
        child.kill()
        child.join()
    if args.json:
        print(json.dumps({"counts": {"all": counts}, "failures": [f"all {text}" for text in failures]}))
        sys.exit(1 if failures else 0)
    print(f"{sum(counts.values())} tries: {', '.join(f'{n} {what}' for what, n in counts.most_common())}")
    for seconds, text in slowest:
        print(f"slow  {seconds:5.1f} s  {text!r}")
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


def _count(
    seed: int, words: list[str], outcome: str, detail: str, counts: Counter[str], failures: list[str]
) -> None:
    counts[outcome] += 1
    if outcome not in ("done", "refused"):
        failures.append(f"{seed}: {outcome}")
        said = " ".join(repr(word if len(word) < 60 else word[:60] + "...") for word in words)
        print(f"{seed}: {outcome}: {said}\n    {detail.strip()}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
