"""Runs that a comparison or a study needs: made where they are missing, kept where they are there.

Runs are made in a process apart, so that their peak memory is their own; it loads a model once for all.
"""

import datetime
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

import genrender
from genrender.backbones.sources import find_model
from genrender.cli.console import note
from genrender.cli.options import Render
from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import Judges, metrics_text, write_metrics
from genrender.gbuffer.exr.files import exr_files, is_exr_sequence
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.folder import RunFolder
from genrender.scene.load import scene_files
from genrender.shots.clip import Clip
from genrender.storage.run_files import APPEARANCE_FILE


def load_judges(clip: str | None, depth: str | None = None) -> Judges:
    """The networks that look at runs; says at once which figures there will be none of."""
    judges = Judges.load(clip, depth)
    for error in judges.missing:
        note(f"{error}; the other figures will be measured")
    return judges


def keep_metrics(run: FinishedRun, metrics: Mapping[str, Any]) -> str:
    """Metrics as JSON, stored in the run's folder, too; where nothing can be written there, that is said."""
    try:
        return write_metrics(run, metrics)
    except MediaError as error:
        note(f"the figures are not stored: {error}")
        return metrics_text(metrics)


class Renderer:
    """Makes runs, as a context: the process that does so keeps the model from run to run.

    Example:
        >>> with Renderer() as renderer:
        ...     code = renderer(["render", "fox.glb", "--prompt", "a fox", "--run-dir", "runs/fox"])
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> int:
        """Lets the process go; returns its exit code."""
        if self._process is None:
            return 0
        with suppress(BrokenPipeError), self._process:
            pass  # closes the pipes, which ends it, and waits
        code, self._process = self._process.returncode, None
        return code

    def __call__(self, words: Sequence[str]) -> int:
        """The exit code of a command; what it says on stderr is the user's to read."""
        if self._process is None:
            child = [sys.executable, "-m", "genrender.cli.worker"]
            self._process = subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(list(words)) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return int(answer)
        # It is gone, killed for its memory for instance; the next run has another.
        return self._end() or 1


def is_there(options: Render, folder: RunFolder) -> bool:
    """Whether the folder holds, complete, what these options make of the files as they are now."""
    return is_done(folder, options.scene, render_words(options, folder.path), inputs(options))


def check_can_be_had(options: Render, folder: RunFolder) -> None:
    """Raises MediaError unless the run that these options make is in that folder, or can be made there."""
    if not is_there(options, folder):
        folder.check_can_be_filled()


def finished(
    options: Render,
    folder: RunFolder,
    label: str,
    renderer: Renderer,
    file: Path,
    clip: Clip | None = None,
) -> FinishedRun:
    """The run that these options make, in that folder.

    Args:
        options: of `genrender render`, or of a command that has these options, too.
        folder: where the run is or will be.
        label: what it is called in notes.
        renderer: makes it where it is missing.
        file: where the clip's G-buffers go, unless it is known.
        clip: what it shows, where that is known.

    Raises:
        ConfigError: the run fails; its process has said why.
    """
    is_made = is_there(options, folder)
    note(f"{label}{' is there already' if is_made else ''}")
    if not is_made and renderer(render_words(options, folder.path)):
        raise ConfigError(f"the run {label} failed; what went wrong stands above")
    return open_run(folder.path, clip=clip, gbuffer_file=file)


def render_words(options: Render, folder: Path) -> list[str]:
    """The words after `genrender` that make one method's run: everything that was asked for otherwise."""
    words = ["render", str(options.scene)]
    for field in fields(Render):
        value = getattr(options, field.name)
        if field.name in ("scene", "out", "run_dir") or value == field.default:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag)
        else:
            words += [f"{flag}={one}" for one in (value if isinstance(value, tuple) else (value,))]
    return [*words, f"--run-dir={folder}"]


def inputs(options: Render) -> list[Path]:
    """The files that runs depend on, as far as they are on this machine."""
    if is_exr_sequence(options.scene):
        files = exr_files(options.scene)
    else:
        files = scene_files(options.scene, options.allow_folder)
    if options.exr_map is not None:
        files.append(options.exr_map)
    if options.camera is not None and Path(options.camera).is_file():
        files.append(Path(options.camera))
    if options.appearance_from is not None and (lent := options.appearance_from / APPEARANCE_FILE).exists():
        files.append(lent)
    model = find_model(options.model)
    if model.is_local:
        files += [path for path in Path(model.location).rglob("*") if path.is_file()]
    return files


def is_done(run: RunFolder, scene: Path, words: list[str], files: list[Path]) -> bool:
    """Whether the folder holds, complete, what these words make of the files as they are now."""
    try:
        record = run.read_record()
    except MediaError:
        return False
    if len(run.frame_files()) != record.shot.n_frames or not run.video_file.is_file():
        return False
    took_s = record.cost.seconds_per_frame * record.shot.n_frames
    try:
        begun = datetime.datetime.fromisoformat(record.created).timestamp() - took_s
    except (ValueError, OverflowError):
        return False
    return (
        list(record.command) == ["genrender", *words]
        and Path(record.shot.scene) == scene.resolve()
        and record.versions["genrender"] == genrender.__version__
        and max(file.stat().st_mtime for file in files) <= begun
    )
