"""Sixteen small runs and a hash of each one's frames: what a change of structure must leave alone.

    python benchmarks/frame_hashes.py [--model pocket] [--device cpu] > before.txt
    ... change something ...
    python benchmarks/frame_hashes.py | diff before.txt -

In float32. The resumed run must equal the one that nothing stopped, and what each run is like is in `RUNS`;
together they pass through every mechanism, both engines, all unify rules, the rules for latents, the rivals,
the lock, object prompts, an appearance lent by another run, and G-buffers read from EXR files. What a
scheduler draws at every step is not among it: tests/sampling/test_scheduler.py holds that to its law.
"""

import argparse
import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import torch

import genrender.cli
from genrender.sampling.store import RunStore
from genrender.scene.load import load_scene

SCENES = Path(__file__).parent.parent / "examples" / "scenes"
BIPED, STILL_LIFE = SCENES / "walking_biped.glb", SCENES / "still_life.glb"
PROMPT = ("--prompt", "a red and white striped biped on a green background")
SMALL = ("--frames", "5", "--size", "128", "--steps", "4", "--seed", "3", "--dtype", "float32")

# Name of the run, scene, options. The run `balanced` also lends its appearance and is the one resumed.
RUNS: dict[str, tuple[Path | str, tuple[str, ...]]] = {
    "balanced": (BIPED, ()),
    "fast": (BIPED, ("--preset", "fast")),
    "paper": (BIPED, ("--preset", "paper")),
    "reproject": (BIPED, ("--engine", "reproject")),
    "object prompts": (STILL_LIFE, ("--objects", "mesh", "--camera", "orbit")),
    "appearance": (BIPED, ("--camera", "orbit", "--appearance-from", "balanced")),
    "exr": ("exr", ()),
    "resumed": (BIPED, ()),
    "fill": (BIPED, ("--unify", "fill")),
    "mean, reproject": (BIPED, ("--unify", "mean", "--engine", "reproject")),
    "low band, bridge": (BIPED, ("--noise", "bridge", "--set", "injection.low_band=0.03")),
    "latent rules": (BIPED, ("--set", "latents.normalise=objects", "--set", "latents.synchronise=0.5")),
    "tokenflow": (BIPED, ("--method", "tokenflow")),
    "pix2video": (BIPED, ("--method", "pix2video")),
    "static texture": (BIPED, ("--method", "static-texture")),
    "locked": (BIPED, ("--lock", "0.7")),
}


class Stopped(KeyboardInterrupt):
    """A run is stopped on purpose."""


def call(*words: str | Path) -> int:
    """One genrender command in this process; its exit code."""
    # Standard output is for the hashes.
    with contextlib.redirect_stdout(sys.stderr):
        return genrender.cli.main([str(word) for word in words])


def succeed(*words: str | Path) -> None:
    if code := call(*words):
        sys.exit(f"genrender {' '.join(map(str, words))} ended with {code}")


def stopping_commit(original, after: int):
    """`RunStore.commit`, stopping the run when so many steps are done."""

    def commit(self: RunStore, generators: Sequence[torch.Generator]) -> None:
        original(self, generators)
        if self.step == after:
            raise Stopped

    return commit


def frames_hash(run: Path) -> str:
    """Of the bytes of all frames, in order."""
    digest = hashlib.sha256()
    files = sorted((run / "frames").glob("*.png"))
    for file in files:
        digest.update(file.read_bytes())
    return f"{digest.hexdigest()[:16]}  {len(files)} frames"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        exr = root / "passes"
        succeed("gbuffers", BIPED, "--out", exr, "--size", "128", "--times", "0,0.1,0.2,0.3,0.4")
        hashes: dict[str, str] = {}
        for name, (scene, options) in RUNS.items():
            run = root / name.replace(" ", "_").replace(",", "")
            options = tuple(str(root / "balanced") if word == "balanced" else word for word in options)
            words = ["render", exr if scene == "exr" else scene, *PROMPT, *SMALL, *options]
            words += ["--model", args.model, "--device", args.device, "--run-dir", run]
            if name == "object prompts":
                first, second = object_names(STILL_LIFE)[:2]
                words += ["--prompt-for", f"{first}=a blue ball", "--prompt-for", f"{second}=a yellow cone"]
            if scene == "exr":
                words = [word for word in words if word not in ("--frames", "5")]
            if name == "resumed":
                with patch.object(RunStore, "commit", stopping_commit(RunStore.commit, 2)):
                    assert call(*words) == 130
                words = ["resume", run]
            succeed(*words)
            hashes[name] = frames_hash(run)
            print(f"{name:16} {hashes[name]}", flush=True)
    if hashes["resumed"] != hashes["balanced"]:
        sys.exit("the resumed run differs from the one that nothing stopped")


def object_names(scene: Path) -> list[str]:
    """Names of a scene's objects, as `--prompt-for` wants them."""
    return [thing.name for thing in load_scene(scene).objects]


if __name__ == "__main__":
    main()
