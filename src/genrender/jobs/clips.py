"""The clip of a job: its scene read, its shot planned, its objects' texture coordinates made ready.

What is worth knowing is told through `RunHooks`; nothing is rendered here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import NoReturn

import numpy as np

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.survey import survey_files
from genrender.jobs.job import ClipJob
from genrender.jobs.reuse import clip_files, file_stamps
from genrender.runs.hooks import SILENT, RunHooks
from genrender.scene.cameras.path import CameraPath
from genrender.scene.load import load_scene
from genrender.scene.moments import DEFAULT_ASPECT, rate_as_text, shape_as_text
from genrender.scene.scene import ALL_ANIMATIONS, Scene
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.clip import Shot, ShotConfig, plan_shot
from genrender.shots.exr_shot import ExrShot

# Shapes that differ by less are the same: sides are whole numbers of pixels.
SAME_SHAPE = 0.02
# Settings of a shot that EXR files can have, too; all others are about triangles and a camera.
OF_EXR_FILES = ("size", "n_frames", "fps", "start", "end")


def plan_clip(job: ClipJob, usual: tuple[int, int], factor: int, hooks: RunHooks = SILENT) -> Shot | ExrShot:
    """Which frames a job shows, without rendering them.

    Args:
        usual: width and height where neither the job nor a camera of the file says otherwise.
        factor: what sides that are chosen here are multiples of.

    Raises:
        ConfigError: a setting is out of range, or needs more than EXR files hold.
        MediaError: EXR files cannot be used.
        SceneError: the scene cannot be read, or has no such animation, camera or objects.
    """
    if job.is_exr:
        return plan_exr_clip(job, hooks)
    job.read_exr_map()
    scene = load_scene(job.scene, job.allow_folder)
    size = picture_size(job.size, scene, job.shot.camera, usual, factor, hooks)
    return framed(scene, job, size)


def framed(scene: Scene, job: ClipJob, size: tuple[int, int]) -> Shot:
    """The shot of a scene that has been read; raises what `plan_shot` does.

    Placing a camera takes a look at every frame. A process that makes parts of a clip one after the other
    does so for the first.
    """
    config = replace(job.shot, size=size)
    kept = _kept_paths(job, config, tuple(file_stamps(clip_files(job)).items()))
    shot = plan_shot(scene, config, *kept)
    if not kept:
        cameras = dict(zip(shot.times_s, shot.cameras, strict=True))
        kept.append(CameraPath(str(shot.config.camera), cameras.__getitem__))
    return shot


@lru_cache(maxsize=1)
def _kept_paths(
    _clip: ClipJob, _config: ShotConfig, _stamps: tuple[tuple[str, str], ...]
) -> list[CameraPath]:
    """Holds the camera path of the clip that was planned last, once there is one."""
    return []


def plan_exr_clip(job: ClipJob, hooks: RunHooks = SILENT) -> ExrShot:
    """The frames of EXR files that a job asks for; tells what may look worse than it could.

    Raises:
        ConfigError: a setting needs more than EXR files hold, or the size or the frames do not fit.
        MediaError: the files cannot be used.
    """
    check_needs_no_geometry(job.shot)
    survey = survey_files(job.scene, job.read_exr_map())
    if survey.sequence is None:
        raise MediaError(survey.problems[0])
    for text in survey.notes:
        hooks.warn(text)
    shot, size = job.shot, job.size
    if isinstance(size, int):
        size = (size, size)
    return ExrShot.of(survey.sequence, shot.n_frames, shot.fps, size or survey.size, shot.start, shot.end)


def check_needs_no_geometry(shot: ShotConfig) -> None:
    """Raises ConfigError for settings about what EXR files do not hold: triangles and a camera."""
    for field in fields(shot):
        value = getattr(shot, field.name)
        if field.name in OF_EXR_FILES or value == field.default:
            continue
        if field.name == "objects":
            rule = shot.objects
            refuse_without_geometry("--merge" if rule.merge else "--ignore" if rule.ignore else "--objects")
        refuse_without_geometry(
            {"backdrop": f"--backdrop {value}", "times_s": "--times"}.get(field.name, f"--{field.name}")
        )


def refuse_without_geometry(what: str) -> NoReturn:
    """Raises ConfigError: EXR files do not hold what this needs."""
    raise ConfigError(
        f"{what} needs triangles and a camera, and EXR files hold none; leave it out, or render from the "
        "scene itself"
    )


def picture_size(
    wanted: tuple[int, int] | int | None,
    scene: Scene,
    camera: str | None,
    usual: tuple[int, int],
    factor: int,
    hooks: RunHooks = SILENT,
) -> tuple[int, int]:
    """Width and height of the pictures. Where a camera of the file is used, its shape decides.

    Args:
        wanted: width and height are taken as said; one number is the longer side of a camera's shape, else
            both sides; None: as many pixels as `usual` has.
        camera: as in `ShotConfig`.
        usual: width and height without a camera's shape.
        factor: what sides that are chosen here are multiples of.

    Raises:
        SceneError: the file has no such camera.
    """
    width, height = usual if wanted is None else (wanted, wanted) if isinstance(wanted, int) else wanted
    if camera is None or not camera.startswith("scene:"):
        return width, height
    seen = scene.find_camera(camera.removeprefix("scene:"))
    aspect = seen.aspect or DEFAULT_ASPECT
    shape = shape_as_text(aspect)
    if isinstance(wanted, tuple):
        if seen.aspect is not None and abs(np.log(width / height / aspect)) > SAME_SHAPE:
            what = "cut off" if width / height < aspect else "beyond what it framed"
            hooks.note(
                f"camera {seen.name} was made for {shape} pictures: in {width}x{height} the sides are {what}"
            )
        return width, height
    if wanted is None:
        height = max(1, round(np.sqrt(width * height / aspect) / factor)) * factor
        width = max(1, round(height * aspect / factor)) * factor
    else:
        longer, shorter = width, max(1, round(width / max(aspect, 1 / aspect) / factor)) * factor
        width, height = (longer, shorter) if aspect >= 1 else (shorter, longer)
    told = f"{seen.name} is {shape}" if seen.aspect else f"{seen.name} tells no shape, {shape} is taken"
    hooks.note(f"pictures of {width}x{height}: camera {told}")
    return width, height


def with_all_uvs(shot: Shot, hooks: RunHooks = SILENT) -> Shot:
    """The shot with texture coordinates on every object; tells what is new, why, and what is left out."""
    note_left_out(shot.scene, hooks)
    note_clip(shot, hooks)
    nobody_chose = (shot.config.animation or ALL_ANIMATIONS).lower() == ALL_ANIMATIONS
    if nobody_chose and (playing := shot.scene.describe_animation(shot.animation)):
        hooks.note(playing)
    unwrapped = unwrap(shot.scene, shot.config.uv)
    lacking = {index: reason for index, reason in unwrapped.made.items() if reason.endswith("has none")}
    if lacking:
        hooks.note(f"made texture coordinates for what has none: {names(shot.scene, list(lacking))}")
    if remade := {index: reason for index, reason in unwrapped.made.items() if index not in lacking}:
        hooks.note(f"made new texture coordinates: {by_reason(shot.scene, remade)}")
    if unwrapped.kept:
        hooks.warn(f"texture coordinates kept with faults: {by_reason(shot.scene, unwrapped.kept)}")
    return replace(shot, scene=unwrapped.scene)


def note_clip(shot: Shot, hooks: RunHooks) -> None:
    """Tells which moments the clip shows, and at what rate."""
    own = None if shot.animation is None else shot.scene.animations[shot.animation]
    rate = rate_as_text(shot.fps)
    if own is None:
        hooks.note(f"{shot.n_frames} frames at {rate} a second; nothing is animated")
        return
    numbered_at = own.fps or shot.fps
    first, last = (
        f"{round((time_s + own.file_s) * numbered_at, 2):g}" for time_s in (shot.times_s[0], shot.times_s[-1])
    )
    told = f", of which {rate_as_text(own.fps)} make a second" if own.fps and own.fps != shot.fps else ""
    hooks.note(
        f"{shot.n_frames} frames at {rate} a second, from frame {first} of the file to frame {last}{told}"
    )


def note_left_out(scene: Scene, hooks: RunHooks) -> None:
    """Tells what of the file is not shown: its warnings, and how many triangles are left out."""
    for text in scene.warnings:
        hooks.warn(f"{scene.path.name}: {text}")
    if n := scene.n_dropped:
        hooks.note(
            f"left out {n:,} triangle{'s' * (n > 1)} of {scene.path.name}: without an area or finite corners"
        )


def by_reason(scene: Scene, reasons: Mapping[int, str]) -> str:
    """Parts of a scene, by their index, with the reason that they share: "Hat, Coat (has none)"."""
    indices: dict[str, list[int]] = {}
    for index, reason in reasons.items():
        indices.setdefault(reason, []).append(index)
    return ", ".join(f"{names(scene, of_reason)} ({reason})" for reason, of_reason in indices.items())


def names(scene: Scene, indices: Sequence[int]) -> str:
    """The names of some parts of a scene, three at most."""
    found = list(dict.fromkeys(scene.parts[index].name for index in indices))
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more
