"""Runs that a comparison or a study needs: made where they are missing, kept where they are there.

Every run is a `genrender render` in a process of its own, so that its peak memory is its own.
"""

import datetime
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import genrender
from genrender.cli.console import note
from genrender.cli.options import Render
from genrender.diffusion.models import find_model
from genrender.errors import ConfigError, MediaError
from genrender.evaluate import Judges
from genrender.finished_run import FinishedRun, open_run
from genrender.gbuffer.exr_files import exr_files, is_exr_sequence
from genrender.media.run_folder import APPEARANCE_FILE, RunFolder
from genrender.render import Clip
from genrender.scene.load import scene_files


def load_judges(clip: str | None, depth: str | None = None) -> Judges:
    """The networks that look at runs; says at once which figures there will be none of."""
    judges = Judges.load(clip, depth)
    for error in judges.missing:
        note(f"{error}; the other figures will be measured")
    return judges


def finished(options: Render, folder: RunFolder, label: str, clip: Clip | None = None) -> FinishedRun:
    """The run that these options make, in that folder.

    Args:
        options: of `genrender render`, or of a command that has these options, too.
        folder: where the run is or will be.
        label: what it is called in notes.
        clip: what it shows, where that is known.

    Raises:
        ConfigError: the run fails; its process has said why.
    """
    words = render_words(options, folder.path)
    is_there = is_done(folder, options.scene, words, inputs(options))
    note(f"{label}{' is there already' if is_there else ''}")
    if not is_there:
        child = [sys.executable, "-m", "genrender", *words]
        if subprocess.run(child, stdout=subprocess.DEVNULL, check=False).returncode:
            raise ConfigError(f"the run {label} failed; what went wrong stands above")
    return open_run(folder.path, clip=clip)


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
        stored = run.read_config()
    except MediaError:
        return False
    config = stored["config"]
    if len(run.frame_files()) != config.get("n_frames") or not run.video_file.is_file():
        return False
    took_s = config["cost"]["seconds_per_frame"] * config["n_frames"]
    try:
        begun = datetime.datetime.fromisoformat(stored["created"]).timestamp() - took_s
    except (ValueError, OverflowError):
        return False
    return (
        stored["command"] == ["genrender", *words]
        and Path(config["scene"]) == scene.resolve()
        and stored["versions"]["genrender"] == genrender.__version__
        and max(file.stat().st_mtime for file in files) <= begun
    )
