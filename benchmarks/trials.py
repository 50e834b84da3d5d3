"""What `accidents.py` tries things with: toy scenes and networks, and commands in processes of their own."""

import csv
import hashlib
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
from functools import partial
from pathlib import Path
from typing import Any

import psutil

TESTS = str(Path(__file__).resolve().parents[1] / "tests")

CLIP = "card.glb --prompt fox --model model --animation Rise --frames 4 --steps 3 --size 64 --preset preview"
LINES = ({"job": "one", "seed": 1}, {"job": "two", "seed": 2})
STUDY = "study texture-resolution card.glb=fox --model model --frames 2 --steps 1 --size 64 --seeds 0"
FEW = "--size small --shards 4 --batch 2 --vae-steps 4 --clip-steps 4 --judge-steps 4 --steps 6"
NEEDED = (
    f"render {CLIP} --run-dir whole",
    f"render {CLIP} --only keyframes --run-dir look",
    f"render {CLIP} --only 0-1 --keyframes-from look --run-dir part-0",
    f"render {CLIP} --only 2-3 --keyframes-from look --run-dir part-2",
    f"train pocket --work-dir base {FEW}",
)
RESULTS = ("*.png", "*.mp4", "*.exr", "*.csv", "*.npy", "*.npz", "*.pt", "*.safetensors", "vocab.json")
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
    "train": Command(f"train pocket --work-dir run {FEW}"),
    "motion": Command("train motion --work-dir run --init base/model --steps 6"),
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
    """What commands have made: pictures, videos, EXR files, tables, and all that trainings keep."""
    files = [file for pattern in RESULTS for file in folder.rglob(pattern)]
    found = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
    read = {".csv": _untimed, ".pt": _checkpoint}
    return {name: read.get(Path(name).suffix, bytes)(data) for name, data in found.items()}


def _untimed(table: bytes) -> bytes:
    """A table without what the runs took, which is never the same."""
    from genrender.runs.record import Cost

    rows = list(csv.DictReader(table.decode().splitlines()))
    for row in rows:
        for name in Cost.__dataclass_fields__:
            row.pop(name, None)
    return json.dumps(rows).encode()


def _checkpoint(data: bytes) -> bytes:
    """All that a checkpoint holds, to the bit. Its bytes tell also which of its objects are one in memory,
    and after loading others are.
    """
    import torch

    def told(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            numbers = value.reshape(-1).view(torch.uint8).numpy().tobytes()
            return [str(value.dtype), list(value.shape), hashlib.sha256(numbers).hexdigest()]
        if isinstance(value, dict):
            return {str(key): told(part) for key, part in value.items()}
        return [told(part) for part in value] if isinstance(value, list | tuple) else value

    return json.dumps(told(torch.load(io.BytesIO(data), weights_only=True)), sort_keys=True).encode()


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


def make_trainings_small() -> None:
    """Trainings in processes that are forked from this one take seconds and keep every step.

    There is no option for any of this. The report of a pocket, which takes longest, keeps no state.
    """
    import genrender.cli.train
    import genrender.train.data
    import genrender.train.motion
    import genrender.train.vae
    from genrender.train import pocket
    from genrender.train.loop import LoopConfig
    from genrender.train.models import SIZES, PocketSize

    def config(*args: Any, **others: Any) -> LoopConfig:
        return LoopConfig(*args, **others | {"checkpoint_s": 0.0})

    SIZES["small"] = PocketSize(64, 4, 4, (32, 32), (1, 1), (2, 2), (False, True))
    genrender.train.data.SHARD_SIZE = genrender.train.vae.SHARD_SIZE = 8
    pocket.STAGES = tuple(stage for stage in pocket.STAGES if stage != "report")
    pocket.LoopConfig = genrender.train.motion.LoopConfig = config
    genrender.cli.train.MotionTraining = partial(genrender.train.motion.MotionTraining, clips=3, n_frames=2)
