"""The runs behind docs/results.md: scenes, prompts, methods, and their figures, made once and kept.

A method to compare is an entry in `CONTENDERS`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from shared import SCENES, WALKING_BIPED

from genrender import __version__
from genrender.config import PRESETS, RunConfig
from genrender.evaluation.evaluate import METRICS_FILE, Judges, evaluate, write_metrics
from genrender.methods.table import EVERY_METHOD, METHODS, Method
from genrender.pipeline import load_pipeline
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.train.diffusion import weights_hash

PER_FRAME_NAME = "per-frame"
Wording = Literal["named", "open"]
Texts: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Take:
    """A scene, how it is shown and what the prompts say.

    Attributes:
        prompt: names the look.
        open_prompt: leaves it open, so that frames have to agree on one.
        object_prompts: beside `prompt`, what single objects show.
    """

    scene: Path
    prompt: str
    open_prompt: str
    animation: str | None = None
    camera: str | None = None
    object_prompts: Texts = ()

    def config(self, wording: Wording) -> RunConfig:
        if wording == "open":
            return RunConfig(prompt=self.open_prompt)
        return RunConfig(prompt=self.prompt, object_prompts=self.object_prompts)

    def shot(self, n_frames: int) -> ShotConfig:
        return ShotConfig(
            animation=self.animation, camera=self.camera, n_frames=n_frames, loop=bool(self.animation)
        )


def takes(fox: Path | None = None) -> dict[str, Take]:
    """The scenes. Without a fox, the project's own quadruped runs in its place."""
    scene, noun, run = (
        (fox, "fox", "Run") if fox else (SCENES / "trotting_quadruped.glb", "quadruped", "Trot")
    )
    return {
        "running": Take(scene, f"a white and orange striped {noun} on a blue background", f"a {noun}", run),
        "orbit": Take(
            WALKING_BIPED,
            "a red and white striped biped on a green background",
            "a biped",
            "Walk",
            camera="orbit",
        ),
        "objects": Take(
            SCENES / "still_life.glb",
            "a purple vase and a yellow ball on a gray background",
            "a vase and a ball",
            camera="scene:Dolly",
        ),
        "pair": Take(
            SCENES / "walking_pair.glb",
            "two bipeds on a gray background",
            "two bipeds",
            "Walk",
            object_prompts=(
                ("tall", "a red and white striped biped on a gray background"),
                ("stout", "a blue and yellow spotted biped on a gray background"),
            ),
        ),
    }


@dataclass(frozen=True)
class Contender:
    """Settings that are compared with others.

    Attributes:
        config: what is set; prompt and seed come from the take.
        meaning: in half a sentence.
        method: whose attention, and whether it is baked.
    """

    config: RunConfig
    meaning: str
    method: Method = METHODS["generative"]

    @classmethod
    def of(cls, name: str, **settings: Any) -> "Contender":
        """A method of `genrender.methods`, by name."""
        method = EVERY_METHOD[name]
        return cls(RunConfig(method=method.settings, **settings), method.summary, method)


_NOISE = EVERY_METHOD["surface-noise"].settings
CONTENDERS: dict[str, Contender] = {
    **{
        name: Contender.of(name)
        for name in (
            PER_FRAME_NAME,
            "fixed-noise",
            "surface-noise",
            "extended-attention",
            "post-only",
            "half-alpha",
            "generative",
            "partition",
            "all-bands",
            "unsynchronised",
            "reproject",
            "normalised",
            "screen-noise",
        )
    },
    "noise-locked": Contender(RunConfig(method=_NOISE, lock=1.0), "surface noise, and the lock"),
    "half-alpha-locked": Contender(RunConfig(lock=1.0), "half-alpha, and the lock"),
    "unsynchronised-locked": Contender.of("unsynchronised", lock=1.0),
    **{
        name: Contender.of(name)
        for name in ("cross-frame", "pix2video", "tokenflow", "tex4d", "syncmvd", "static-texture")
    },
    **{name: Contender(preset, f"the preset `{name}`") for name, preset in PRESETS.items()},
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    scene: str
    wording: Wording
    seed: int
    method: str


Figures: TypeAlias = Mapping[Cell, Mapping[str, Any]]


@dataclass(frozen=True)
class Laboratory:
    """What all runs have in common.

    Attributes:
        model: as `genrender render --model` has it.
        folder: where runs are kept.
        n_frames: of every clip.
        n_steps: of a contender without steps of its own; others in proportion. None: as configured.
        fox: file of a running fox.
        depth_model: estimates depth; None: it is not judged.
    """

    model: str
    folder: Path
    n_frames: int
    n_steps: int | None = None
    fox: Path | None = None
    depth_model: str | None = None

    def config(self, cell: Cell) -> RunConfig:
        """All settings of a run."""
        contender, asked = CONTENDERS[cell.method], takes(self.fox)[cell.scene].config(cell.wording)
        n_steps = contender.config.n_steps
        if self.n_steps is not None:
            n_steps = max(2, round(n_steps * self.n_steps / RunConfig().n_steps))
        return replace(
            contender.config,
            prompt=asked.prompt,
            object_prompts=asked.object_prompts,
            seed=cell.seed,
            n_steps=n_steps,
        )

    def run_folder(self, cell: Cell) -> RunFolder:
        """Where a run is kept. Two names of one configuration, as a preset may be, share their runs."""
        mine = CONTENDERS[cell.method]
        first = next(name for name, other in CONTENDERS.items() if _does_the_same(mine, other))
        length = f"{self.n_frames}-frames"
        return RunFolder(self.folder / length / cell.scene / cell.wording / str(cell.seed) / first)

    def measure(self, cells: Sequence[Cell]) -> dict[Cell, dict[str, Any]]:
        """Figures of runs; those that are not there, or were made of something else, are made.

        Raises:
            GenRenderError: a run cannot be made.
        """
        pipeline = load_pipeline(self.model)
        pipeline.set_progress_bar_config(disable=True)
        weights = weights_hash(pipeline.unet)
        judges = Judges.load(depth=self.depth_model)
        judges.check()
        figures = {}
        for cell, clip in self._clips(cells):
            config = self.config(cell)
            take = takes(self.fox)[cell.scene]
            made_of = _fingerprint(config, cell.method, take, self.n_frames, weights, self.depth_model)
            folder = self.run_folder(cell)
            file = folder.path / METRICS_FILE
            stored = json.loads(file.read_text()) if file.exists() else {}
            if stored.get("made_of") != made_of:
                make_video(pipeline, clip, config, folder, method=CONTENDERS[cell.method].method)
                run = open_run(folder.path, clip=clip)
                stored = {**evaluate(run, judges), **asdict(run.record.cost), "made_of": made_of}
                write_metrics(run, stored)
            figures[cell] = stored
        return figures

    def _clips(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Clip]]:
        """Runs one by one, scene by scene, with a bar on stderr."""
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=len(cells))
            for scene in dict.fromkeys(cell.scene for cell in cells):
                take = takes(self.fox)[scene]
                clip = render_clip(load_scene(take.scene), take.shot(self.n_frames))
                for cell in (cell for cell in cells if cell.scene == scene):
                    progress.update(
                        task, description=f"{scene}, {cell.wording}, seed {cell.seed}, {cell.method}"
                    )
                    yield cell, clip
                    progress.advance(task)


def _does_the_same(one: Contender, other: Contender) -> bool:
    return (one.config, one.method.rival, one.method.is_baked) == (
        other.config,
        other.method.rival,
        other.method.is_baked,
    )


def _fingerprint(
    config: RunConfig, name: str, take: Take, n_frames: int, weights: str, depth_model: str | None
) -> str:
    """A short name for everything that a run's frames and figures depend on."""
    method = CONTENDERS[name].method
    parts = (
        asdict(config),
        (method.rival, method.is_baked),
        asdict(take.shot(n_frames)),
        hashlib.sha256(take.scene.read_bytes()).hexdigest(),
        weights,
        depth_model,
        __version__,
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
