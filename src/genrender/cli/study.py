"""`genrender study`: one setting at many values."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from genrender.cli.console import note
from genrender.cli.exr import check_method_needs_no_geometry, check_needs_no_geometry
from genrender.cli.options import Render, Study
from genrender.cli.render import run_config
from genrender.cli.runs import Renderer, finished, is_there, keep_metrics, load_judges
from genrender.cli.scratch import gbuffer_file
from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import evaluate
from genrender.evaluation.page import check_plots
from genrender.evaluation.studies import STUDIES, Variant
from genrender.evaluation.study_report import Measured, write_study
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.gbuffer.exr.survey import open_sequence
from genrender.runs.folder import RunFolder
from genrender.scene.load import load_scene, scene_label
from genrender.shots.clip import Clip
from genrender.storage.limits import duration_as_text


def study(options: Study) -> None:
    """Makes and measures every run of a study, then writes its files.

    Raises:
        ConfigError: a shot or a seed cannot be read, a setting is wrong, or a run fails.
        MediaError: the folder cannot be made.
        SceneError: a scene cannot be used.
        ModelError: the CLIP is not there; told in the end, with all other figures.
    """
    # 1. What is wrong is told before any slow work.
    check_plots()
    shots = [parse_shot(text) for text in options.shots]
    if not shots:
        raise ConfigError('no scene is given, expected SCENE=TEXT, for instance fox.glb="a red fox"')
    labels = {scene: scene_label(scene) for scene, _ in shots}
    if len(set(labels.values())) < len(shots):
        raise ConfigError("two scenes have the same file name, and their runs would lie in one folder")
    seeds = parse_seeds(options.seeds)
    # More keyframes than frames are all frames, whatever their number.
    variants = [v for v in STUDIES[options.name].variants if v.options.get("keyframes", 1) <= options.frames]
    root = options.run_dir or Path("runs") / f"study-{options.name}"
    runs = [
        (_render(options, scene, prompt, seed, variant.options), scene, seed, variant)
        for scene, prompt in shots
        for seed in seeds
        for variant in variants
    ]
    for run, *_ in runs:
        run_config(run).check()
    runs = _possible(runs)
    n_triangles = {scene: _n_triangles(scene, options.allow_folder) for scene, _ in shots}
    if options.frames < 2:
        raise ConfigError(f"frames is {options.frames}, expected at least 2: one has nothing to agree with")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(
            f"cannot make folder {options.out}: {error.strerror}; choose another place"
        ) from error
    folders = [RunFolder(root / labels[scene] / str(seed) / v.name) for _, scene, seed, v in runs]
    is_new = [not is_there(run, folder) for (run, *_), folder in zip(runs, folders, strict=True)]
    for folder, new in zip(folders, is_new, strict=True):
        if new:
            folder.check_can_be_filled()
    judges = load_judges(options.clip)

    # 2. Runs that are not there yet, and their figures.
    measured: list[Measured] = []
    known: tuple[Path, int | None] | None = None
    clip: Clip | None = None
    ahead = [_frame_steps(run) for (run, *_), new in zip(runs, is_new, strict=True) if new]
    note(f"{len(runs)} runs, of which {len(runs) - len(ahead)} are there already")
    pace = _Pace()
    with gbuffer_file() as file, Renderer() as renderer:
        for number, (run, scene, seed, variant) in enumerate(runs, start=1):
            folder = folders[number - 1]
            label = f"{labels[scene]}, seed {seed}, {variant.name} ({number} of {len(runs)})"
            begun_s = time.monotonic()
            if known != (scene, run.frames):
                known, clip = (scene, run.frames), None
            made = finished(run, folder, label, renderer, file, clip)
            clip = made.clip
            metrics = evaluate(made, judges)
            keep_metrics(made, metrics)
            figures = metrics | asdict(made.record.cost)
            made_with = {"device": made.record.making.networks.device, **made.record.versions}
            measured.append(Measured(labels[scene], n_triangles[scene], seed, variant, made_with, figures))
            # After every run, so that one may look at a long study while it goes on.
            write_study(options.out, options.name, measured)
            if is_new[number - 1]:
                pace.add(ahead.pop(0), time.monotonic() - begun_s)
                if ahead:
                    left = f"{len(ahead)} {'run is' if len(ahead) == 1 else 'runs are'} ahead"
                    note(f"{left}, about {duration_as_text(pace.seconds(sum(ahead)))}")
    note(f"figures, plots and table: {options.out / options.name}.csv, .svg, .md")
    judges.check()


class _Pace:
    """How long runs take, from those that were made."""

    def __init__(self) -> None:
        self._frame_steps, self._seconds = 0, 0.0

    def add(self, frame_steps: int, seconds: float) -> None:
        self._frame_steps += frame_steps
        self._seconds += seconds

    def seconds(self, frame_steps: int) -> float:
        return self._seconds * frame_steps / self._frame_steps


def _frame_steps(options: Render) -> int:
    """What a run's time goes by: how often the model looks at a frame."""
    assert options.frames is not None
    return options.frames * run_config(options).n_steps


def _possible(runs: list[tuple[Render, Path, int, Variant]]) -> list[tuple[Render, Path, int, Variant]]:
    """The runs but for those that need triangles and a camera where the scene is EXR files.

    Raises:
        ConfigError: none is left.
    """
    possible, reasons = [], {}
    for entry in runs:
        run, scene, _, variant = entry
        if is_exr_sequence(scene):
            try:
                check_needs_no_geometry(run)
                check_method_needs_no_geometry(run, run_config(run))
            except ConfigError as error:
                reasons[variant.name] = error
                continue
        possible.append(entry)
    if reasons and not possible:
        raise next(iter(reasons.values()))
    for name, reason in reasons.items():
        note(f"leaves out {name}: {reason}")
    return possible


def _n_triangles(scene: Path, allow_folder: tuple[Path, ...]) -> int:
    """0 for EXR files; that they can be used is seen all the same, before any slow work."""
    if is_exr_sequence(scene):
        open_sequence(scene)
        return 0
    return len(load_scene(scene, allow_folder).tris)


def _render(options: Study, scene: Path, prompt: str, seed: int, changes: Mapping[str, Any]) -> Render:
    common = Render(
        scene,
        prompt,
        frames=options.frames,
        start=options.start,
        camera=options.camera,
        size=options.size,
        model=options.model,
        steps=options.steps,
        seed=seed,
        device=options.device,
        allow_folder=options.allow_folder,
    )
    return replace(common, **changes)


def parse_shot(text: str) -> tuple[Path, str]:
    """`SCENE=TEXT`: a scene file and what its video shows.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, prompt = text.partition("=")
    if not equals or not path or not prompt.strip():
        raise ConfigError(f'shot {text!r}: expected SCENE=TEXT, for instance fox.glb="a red fox"')
    return Path(path), prompt.strip()


def parse_seeds(text: str) -> list[int]:
    """The numbers of "0,1,2", each once.

    Raises:
        ConfigError: there is none, or one is no whole number.
    """
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"seeds are {text!r}, expected whole numbers separated by commas") from error
    return list(dict.fromkeys(seeds))
