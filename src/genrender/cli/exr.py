"""What commands do where the scene is a sequence of EXR files."""

from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from genrender.cli.console import note, warn
from genrender.cli.options import Gbuffers, Preview, Render
from genrender.cli.words import parse_size
from genrender.config import RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.channels import AUTOMATIC, ExrMap, read_exr_map
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.gbuffer.exr.survey import survey_files
from genrender.scene.backdrop import parse_backdrop
from genrender.shots.exr_shot import ExrShot


def exr_map(scene: Path, file: Path | None) -> ExrMap:
    """The map that --exr-map names.

    Raises:
        ConfigError: it cannot be used, or the scene is no sequence of EXR files.
    """
    if file is None:
        return AUTOMATIC
    if not is_exr_sequence(scene):
        raise ConfigError(f"--exr-map is about EXR files, and {scene} is none; leave it out")
    return read_exr_map(file)


# What is about triangles and cameras, in whatever command.
GEOMETRY_OPTIONS = ("camera", "animation", "loop", "uv", "objects", "merge", "ignore", "times")


def check_needs_no_geometry(options: Render | Preview | Gbuffers) -> None:
    """Raises ConfigError for options about what EXR files do not hold: triangles and a camera."""
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in GEOMETRY_OPTIONS and value != field.default:
            _refuse(f"--{field.name}")
    if parse_backdrop(options.backdrop).kind != "none":
        _refuse(f"--backdrop {options.backdrop}")


def check_method_needs_no_geometry(options: Render, config: RunConfig) -> None:
    """Raises ConfigError for settings of a run that need triangles and a camera."""
    if config.stabilise > 0:
        _refuse("--stabilise")
    if config.method.correspondence.engine == "reproject":
        _refuse("--engine reproject")
    if _is_baked(options):
        _refuse(f"--method {options.method}")


def _refuse(what: str) -> NoReturn:
    raise ConfigError(
        f"{what} needs triangles and a camera, and EXR files hold none; leave it out, or render from the "
        "scene itself"
    )


def _is_baked(options: Render) -> bool:
    if options.method == "generative":
        return False
    # Only here: it loads torch, and most mistakes can be told before that.
    from genrender.methods.table import METHODS

    return METHODS[options.method].is_baked


def plan_exr_shot(options: Render, config: RunConfig, vae_factor: int) -> ExrShot:
    """The frames that a run shows; tells what may look worse than it could.

    Raises:
        ConfigError: an option needs more than EXR files hold, or the size does not fit.
        MediaError: the files cannot be used.
    """
    check_method_needs_no_geometry(options, config)
    shot = read_exr_shot(options)
    size = shot.width, shot.height
    if any(side % vae_factor for side in size):
        near = "x".join(str(max(1, round(side / vae_factor)) * vae_factor) for side in size)
        raise ConfigError(
            f"size is {size[0]}x{size[1]}, expected multiples of {vae_factor}, the model's VAE factor; "
            f"give --size {near}"
        )
    return shot


def read_exr_shot(options: Render | Preview | Gbuffers) -> ExrShot:
    """The frames that a command asks for; tells what may look worse than it could.

    Raises:
        ConfigError: an option needs more than EXR files hold, or the size or the frames do not fit.
        MediaError: the files cannot be used.
    """
    check_needs_no_geometry(options)
    survey = survey_files(options.scene, exr_map(options.scene, options.exr_map))
    if survey.sequence is None:
        raise MediaError(survey.problems[0])
    for text in survey.notes:
        warn(text)
    size = survey.size if options.size is None else parse_size(options.size)
    return ExrShot.of(survey.sequence, options.frames, options.fps, size, options.start, options.end)


def note_missing_geometry(has_geometry: bool) -> None:
    """Says why figures are missing."""
    if not has_geometry:
        note("surface errors need the scene's triangles and cameras; this clip was read from EXR files")
