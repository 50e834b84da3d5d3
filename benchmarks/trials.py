"""What `accidents.py` tries things with: toy scenes and networks, and commands in processes of their own."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

TESTS = str(Path(__file__).resolve().parents[1] / "tests")

CLIP = "card.glb --prompt fox --model model --animation Rise --frames 4 --steps 3 --size 64 --preset preview"
LINES = ({"job": "one", "seed": 1}, {"job": "two", "seed": 2})
STUDY = "study alpha card.glb=fox --model model --frames 2 --steps 1 --size 64 --seeds 0"
TRAINING = "train pocket --work-dir work --size small --init pocket --batch 2"
NEEDED = (
    f"render {CLIP} --run-dir whole",
    f"render {CLIP} --only keyframes --run-dir look",
    f"render {CLIP} --only 0-1 --keyframes-from look --run-dir part-0",
    f"render {CLIP} --only 2-3 --keyframes-from look --run-dir part-2",
    f"{TRAINING} --stage data --shards 2",
)
RESULTS = ("*.png", "*.mp4", "*.exr", "*.npy", "*.pt", "*.safetensors")
PATIENCE_S = 600.0
# That a command may write to: one that takes all there is would end others, too.
MEMORY_BYTES = 6 * 10**9


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
    "study": Command(f"{STUDY} --out out --run-dir runs"),
    "pictures": Command(f"{TRAINING} --stage data --shards 6"),
    "training": Command(f"{TRAINING} --stage diffusion --steps 6"),
}


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
                resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
                from genrender.cli import main

                code = main(words.split())
            except BaseException:  # as an interpreter tells of it
                traceback.print_exc()
                raise
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
    """What commands have made: pictures, videos, EXR files and weights."""
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
    names = sorted(
        name
        for name in found.keys() | expected.keys()
        if not (name in found and name in expected and is_same(name, found[name], expected[name]))
    )
    return f"{len(names)} files differ: {names[:3]}" if names else ""


def is_same(name: str, one: bytes, other: bytes) -> bool:
    """The same bytes; or checkpoints after the same steps, whose moments a lost one would change by half.

    Two trainings that nobody disturbs are not the same to the bit: sums on a CPU depend on where in memory
    numbers lie, which changes weights by some 1e-6.
    """
    if one == other:
        return True
    if not name.endswith(".pt"):
        return False
    import numpy as np
    import torch

    states = [torch.load(io.BytesIO(data), weights_only=True) for data in (one, other)]
    if any(states[0][count] != states[1][count] for count in ("step", "seen")):
        return False
    if ("optimizer" in states[0]) != ("optimizer" in states[1]):
        return False
    moments = [
        [moment["exp_avg"].numpy() for moment in state.get("optimizer", {"state": {}})["state"].values()]
        for state in states
    ]
    apart = sum(float(np.square(a - b).sum()) for a, b in zip(*moments, strict=True))
    return apart <= 0.05**2 * sum(float(np.square(b).sum()) for b in moments[1])
