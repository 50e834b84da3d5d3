"""What commands do where the scene is a sequence of EXR files."""

from pathlib import Path

from genrender.cli.console import note, warn
from genrender.cli.options import Render, parse_size
from genrender.config import RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr_channels import AUTOMATIC, ExrMap, read_exr_map
from genrender.gbuffer.exr_files import is_exr_sequence
from genrender.gbuffer.exr_shot import ExrShot
from genrender.gbuffer.exr_survey import survey_files
from genrender.scene.backdrop import parse_backdrop


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


def check_needs_no_geometry(options: Render, config: RunConfig) -> None:
    """Raises ConfigError for what EXR files hold no triangles and no camera for."""
    wrong = {
        "--camera": options.camera is not None,
        "--animation": options.animation is not None,
        "--loop": options.loop,
        f"--uv {options.uv}": options.uv != "auto",
        f"--objects {options.objects}": options.objects != "node",
        "--merge": bool(options.merge),
        "--ignore": bool(options.ignore),
        f"--backdrop {options.backdrop}": parse_backdrop(options.backdrop).kind != "none",
        "--stabilise": config.stabilise > 0,
        "--engine reproject": config.method.correspondence.engine == "reproject",
        f"--method {options.method}": _is_baked(options),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ConfigError(
                f"{name} needs triangles and a camera, and EXR files hold none; leave it out, or render from "
                "the scene itself"
            )


def _is_baked(options: Render) -> bool:
    if options.method == "generative":
        return False
    # Only here: it loads torch, and most mistakes can be told before that.
    from genrender.baselines.methods import METHODS

    return METHODS[options.method].is_baked


def plan_exr_shot(options: Render, config: RunConfig, vae_factor: int) -> ExrShot:
    """The frames that a run shows; tells what may look worse than it could.

    Raises:
        ConfigError: an option needs more than EXR files hold, or the size does not fit.
        MediaError: the files cannot be used.
    """
    check_needs_no_geometry(options, config)
    survey = survey_files(options.scene, exr_map(options.scene, options.exr_map))
    if survey.sequence is None:
        raise MediaError(survey.problems[0])
    for text in survey.notes:
        warn(text)
    size = survey.size if options.size is None else parse_size(options.size)
    if any(side % vae_factor for side in size):
        near = "x".join(str(max(1, round(side / vae_factor)) * vae_factor) for side in size)
        raise ConfigError(
            f"size is {size[0]}x{size[1]}, expected multiples of {vae_factor}, the model's VAE factor; "
            f"give --size {near}"
        )
    return ExrShot.of(survey.sequence, options.frames, options.fps, size, options.start, options.end)


def note_missing_geometry(has_geometry: bool) -> None:
    """Says why figures are missing."""
    if not has_geometry:
        note("surface errors need the scene's triangles and cameras; this clip was read from EXR files")
