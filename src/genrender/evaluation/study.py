"""One setting at many values: the runs of a study made and measured, and its files written."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import Judges, evaluate
from genrender.evaluation.page import check_plots
from genrender.evaluation.runs import finished_run, keep_metrics, load_judges
from genrender.evaluation.studies import STUDIES, StudyName, Variant
from genrender.evaluation.study_report import Measured, write_study
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.gbuffer.exr.survey import open_sequence
from genrender.jobs.clips import check_needs_no_geometry
from genrender.jobs.job import RenderJob
from genrender.jobs.plan import check_method_needs_no_geometry, run_config
from genrender.jobs.reuse import is_done
from genrender.jobs.worker import Worker
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.scene.load import load_scene, scene_label
from genrender.shots.clip import Clip
from genrender.storage.limits import duration_as_text
from genrender.storage.scratch import gbuffer_file


@dataclass(frozen=True)
class StudyJob:
    """A study.

    Attributes:
        name: one of `STUDIES`.
        shots: scenes with what their videos show.
        seeds: every variant runs with each of these.
        job: what all runs have in common; scene, prompt and seed of it are not looked at.
        out: folder for the study's files.
        folder: holds the runs.
        clip_model: CLIP model to judge by; None: pocket's.
        debug: show on stderr where an error of a run comes from.
    """

    name: StudyName
    shots: tuple[tuple[Path, str], ...]
    seeds: tuple[int, ...]
    job: RenderJob
    out: Path
    folder: Path
    clip_model: str | None = None
    debug: bool = False


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    job: RenderJob
    seed: int
    variant: Variant

    @property
    def scene(self) -> Path:
        return self.job.clip.scene

    @property
    def n_frames(self) -> int:
        n_frames = self.job.clip.shot.n_frames
        assert n_frames is not None
        return n_frames

    @property
    def frame_steps(self) -> int:
        """What a run's time goes by: how often the model looks at a frame."""
        return self.n_frames * run_config(self.job).n_steps


def study(asked: StudyJob, hooks: RunHooks = SILENT) -> Judges:
    """Makes and measures every run of a study, and writes its files after each of them.

    Returns:
        The networks that looked at the runs; `check` tells which were missing.

    Raises:
        Cancelled: the hooks say so.
        ConfigError: a setting is wrong, or a run fails.
        MediaError: the folder cannot be made.
        SceneError: a scene cannot be used.
    """
    # 1. What is wrong is told before any slow work.
    cells, n_triangles = checked_cells(asked, hooks)
    labels = _labels(asked.shots)
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"cannot make folder {asked.out}: {error.strerror}; choose another place") from error
    folders = [RunFolder(folder_of(cell, asked)) for cell in cells]
    is_new = [not is_done(cell.job, folder) for cell, folder in zip(cells, folders, strict=True)]
    for folder, new in zip(folders, is_new, strict=True):
        if new:
            folder.check_can_be_filled()
    judges = load_judges(asked.clip_model, None, hooks)

    # 2. Runs that are not there yet, and their figures.
    measured: list[Measured] = []
    known: tuple[Path, int] | None = None
    clip: Clip | None = None
    ahead = [cell.frame_steps for cell, new in zip(cells, is_new, strict=True) if new]
    hooks.note(f"{len(cells)} runs, of which {len(cells) - len(ahead)} are there already")
    pace = _Pace()
    with gbuffer_file() as file, Worker(asked.debug) as worker:
        for number, (cell, folder, new) in enumerate(zip(cells, folders, is_new, strict=True), start=1):
            name = labels[cell.scene]
            label = f"{name}, seed {cell.seed}, {cell.variant.name} ({number} of {len(cells)})"
            begun_s = time.monotonic()
            if known != (cell.scene, cell.n_frames):
                known, clip = (cell.scene, cell.n_frames), None
            made = finished_run(cell.job, folder, label, worker, file, clip, hooks)
            clip, record = made.clip, made.record
            metrics = evaluate(made, judges)
            keep_metrics(made, metrics, hooks)
            figures = metrics | asdict(record.cost)
            made_with = {"device": record.making.networks.device, **record.versions}
            measured.append(
                Measured(name, n_triangles[cell.scene], cell.seed, cell.variant, made_with, figures)
            )
            # After every run, so that one may look at a long study while it goes on.
            write_study(asked.out, asked.name, measured)
            if new:
                pace.add(ahead.pop(0), time.monotonic() - begun_s)
                if ahead:
                    left = f"{len(ahead)} {'run is' if len(ahead) == 1 else 'runs are'} ahead"
                    hooks.note(f"{left}, about {duration_as_text(pace.seconds(sum(ahead)))}")
    hooks.note(f"figures, plots and table: {asked.out / asked.name}.csv, .svg, .md")
    return judges


def checked_cells(asked: StudyJob, hooks: RunHooks = SILENT) -> tuple[list[Cell], dict[Path, int]]:
    """The runs of a study, and how many triangles its scenes have; finds out what can be wrong, quickly.

    Raises:
        ConfigError: a setting is wrong.
        SceneError: a scene cannot be used.
    """
    check_plots()
    _labels(asked.shots)
    n_frames = asked.job.clip.shot.n_frames or 0
    cells = study_cells(asked)
    for cell in cells:
        run_config(cell.job).check()
    cells = possible_cells(cells, hooks)
    allow_folder = asked.job.clip.allow_folder
    n_triangles = {scene: _n_triangles(scene, allow_folder) for scene, _ in asked.shots}
    if n_frames < 2:
        raise ConfigError(f"frames is {n_frames}, expected at least 2: one has nothing to agree with")
    return cells, n_triangles


class _Pace:
    """How long runs take, from those that were made."""

    def __init__(self) -> None:
        self._frame_steps, self._seconds = 0, 0.0

    def add(self, frame_steps: int, seconds: float) -> None:
        self._frame_steps += frame_steps
        self._seconds += seconds

    def seconds(self, frame_steps: int) -> float:
        return self._seconds * frame_steps / self._frame_steps


def folder_of(cell: Cell, asked: StudyJob) -> Path:
    """Where a run of a study is or will be."""
    return asked.folder / scene_label(cell.scene) / str(cell.seed) / cell.variant.name


def study_cells(asked: StudyJob) -> list[Cell]:
    """Every variant of a study, of every scene and with every seed."""
    # More keyframes than frames are all frames, whatever their number.
    n_frames = asked.job.clip.shot.n_frames or 0
    variants = [v for v in STUDIES[asked.name].variants if v.options.get("keyframes", 1) <= n_frames]
    cells = []
    for scene, prompt in asked.shots:
        for seed in asked.seeds:
            common = replace(asked.job, clip=replace(asked.job.clip, scene=scene), prompt=prompt, seed=seed)
            cells += [Cell(changed(common, variant.options), seed, variant) for variant in variants]
    return cells


def changed(job: RenderJob, options: Mapping[str, Any]) -> RenderJob:
    """A job with some options of `genrender render` changed, by their names there."""
    of_shot = {"frames": "n_frames", "loop": "loop"}
    shot = {of_shot[name]: value for name, value in options.items() if name in of_shot}
    others = {
        "settings" if name == "set" else name: value for name, value in options.items() if name not in of_shot
    }
    return replace(job, clip=replace(job.clip, shot=replace(job.clip.shot, **shot)), **others)


def possible_cells(cells: Sequence[Cell], hooks: RunHooks) -> list[Cell]:
    """The runs but for those that need triangles and a camera where the scene is EXR files.

    Raises:
        ConfigError: none is left.
    """
    possible, reasons = [], {}
    for cell in cells:
        if cell.job.clip.is_exr:
            try:
                check_needs_no_geometry(cell.job.clip.shot)
                check_method_needs_no_geometry(cell.job, run_config(cell.job))
            except ConfigError as error:
                reasons[cell.variant.name] = error
                continue
        possible.append(cell)
    if reasons and not possible:
        raise next(iter(reasons.values()))
    for name, reason in reasons.items():
        hooks.note(f"leaves out {name}: {reason}")
    return possible


def _labels(shots: Sequence[tuple[Path, str]]) -> dict[Path, str]:
    """A folder's name for every scene."""
    if not shots:
        raise ConfigError('no scene is given, expected SCENE=TEXT, for instance fox.glb="a red fox"')
    labels = {scene: scene_label(scene) for scene, _ in shots}
    if len(set(labels.values())) < len(shots):
        raise ConfigError(
            "two scenes have the same file name, and their runs would lie in one folder; rename one of them"
        )
    return labels


def _n_triangles(scene: Path, allow_folder: tuple[Path, ...]) -> int:
    """0 for EXR files; that they can be used is seen all the same, before any slow work."""
    if is_exr_sequence(scene):
        open_sequence(scene)
        return 0
    return len(load_scene(scene, allow_folder).tris)
