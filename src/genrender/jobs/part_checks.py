"""What is asked of a clip's part and of what another run lends, checked before any slow work.

PyTorch is not imported here.
"""

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from genrender.backbones.recipe import Recipe
from genrender.backbones.recipe_files import recipe_digest
from genrender.config import RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.jobs.job import RenderJob
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.runs.record import Making, SettingsRecord
from genrender.scene.names import partners
from genrender.shots.clip import Shot
from genrender.shots.exr_shot import ExrShot
from genrender.shots.objects import atlas_ids_by_name
from genrender.storage.run_files import APPEARANCE_FILE

KEYFRAMES = "keyframes"
# Beyond that parts of a clip are too short for what each costs.
MAX_WORKERS = 1000
# Names in a message.
N_LISTED = 8
# Settings of a range that keyframes do not depend on.
_OF_RANGES = ("chunk_size", "lock", "repeat", "background_color")


def read_range(job: RenderJob, n_frames: int) -> range:
    """The consecutive frames that a job makes.

    Raises:
        ConfigError: `only` is no range, or the clip has no such frames.
    """
    if job.only is None:
        return range(n_frames)
    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", job.only)
    if found is None:
        raise ConfigError(
            f"--only is {job.only!r}, expected {KEYFRAMES}, or numbers from 0 such as 0-49, or 7"
        )
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < n_frames:
        raise ConfigError(
            f"--only is {job.only}, expected the first before the last of frames 0 to {n_frames - 1}"
        )
    return range(first, last + 1)


def check_part(job: RenderJob, n_frames: int) -> None:
    """Raises ConfigError where a job's frames cannot be made apart from the rest of the clip."""
    _check_workers(job)
    if job.only is None and job.keyframes_from is None and job.workers is None:
        return
    asked = "--only and --keyframes-from" if job.workers is None else "--workers"
    if job.method != "generative":
        raise ConfigError(f"{asked}: parts are made by --method generative alone; leave one of them out")
    if job.recipe.motion_adapter is not None:
        raise ConfigError(
            f"{asked}: parts are made apart, and --motion-adapter sees frames together; leave one of them out"
        )
    if job.only == KEYFRAMES:
        if job.keyframes_from is not None:
            raise ConfigError(
                "--only keyframes makes keyframes, and --keyframes-from takes some: leave one out"
            )
        return
    if job.keyframes_from is None:
        if job.workers is not None:
            return
        raise ConfigError(
            "--only has frames and nothing to make them against: run it with --only keyframes first, and "
            "give that run's folder as --keyframes-from"
        )
    if job.appearance_from is not None:
        raise ConfigError(
            "--keyframes-from and --appearance-from are given, expected one: keyframes hold the look that "
            "was taken over when they were made"
        )
    read_range(job, n_frames)


def _check_workers(job: RenderJob) -> None:
    if job.ray is not None and job.workers is None:
        raise ConfigError(
            f"--ray {job.ray} has no --workers: give how many of the cluster's GPUs make the clip"
        )
    if job.workers is None:
        return
    if not 1 <= job.workers <= MAX_WORKERS:
        raise ConfigError(f"--workers is {job.workers}, expected 1 to {MAX_WORKERS}")
    if job.only is not None:
        raise ConfigError("--workers makes a clip of all its parts, and --only makes one: leave one out")


def check_lender(path: Path, job: RenderJob, config: RunConfig, shot: Shot | ExrShot) -> Making:
    """What a run was made of whose frames another one takes along.

    Raises:
        ConfigError: it is unlike the other one in what both must share.
        MediaError: it is no run, or keeps no frames for others.
    """
    theirs = RunFolder(path).read_record().making
    if not (path / APPEARANCE_FILE).is_file():
        raise MediaError(f"{path} keeps no appearance: there is no {APPEARANCE_FILE} in it; render it again")
    recipe, lender = job.recipe, Recipe() if theirs.origin is None else theirs.origin.recipe
    for name, found, ours in (
        ("weights", None if theirs.origin is None else theirs.origin.weights, recipe_digest(recipe)),
        ("sampler", theirs.settings.sampler, config.sampler),
        ("n_steps", theirs.settings.n_steps, config.n_steps),
        ("timesteps", lender.timesteps, recipe.timesteps),
        ("sigmas", lender.sigmas, recipe.sigmas),
        ("width", theirs.shot.width, shot.width),
        ("height", theirs.shot.height, shot.height),
    ):
        if found != ours:
            raise ConfigError(
                f"the run {path} is of other {name} ({found}, here {ours}): make both runs alike in model, "
                "preset, steps and size"
            )
    return theirs


def check_keyframes(path: Path, job: RenderJob, config: RunConfig, shot: Shot | ExrShot) -> None:
    """Raises ConfigError or MediaError unless a run's keyframes are of this shot and made alike.

    Args:
        path: of that run.
        config: its guidance and its number of keyframes may still be open.
    """
    theirs = check_lender(path, job, config, shot)
    if theirs.shot.times_s != shot.times_s:
        raise ConfigError(
            f"the run {path} shows other moments ({theirs.shot.n_frames} frames, here {shot.n_frames}): give "
            "the whole clip's --frames, --fps, --start and --end to every part of it"
        )
    found, ours = _open_settings(theirs.settings), _open_settings(SettingsRecord.of(config))
    for name, value in ours.items():
        if found.get(name) != value:
            raise ConfigError(
                f"the run {path} was made with other {name} ({found.get(name)}, here {value}): give the same "
                "settings to every part of a clip"
            )


def _open_settings(settings: SettingsRecord) -> dict[str, Any]:
    """Everything that must be the same, but for what depends on the model or the number of frames."""
    plain = json.loads(json.dumps(settings.plain()))  # as it was read: lists, no tuples
    injection = {**plain["method"]["injection"], "n_keyframes": None}
    method = {**plain["method"], "injection": injection}
    left_out = (*_OF_RANGES, "guidance_scale")
    return {name: value for name, value in {**plain, "method": method}.items() if name not in left_out}


def check_lent(job: RenderJob, config: RunConfig, shot: Shot | ExrShot, hooks: RunHooks) -> None:
    """Raises ConfigError or MediaError unless a run's appearance can be taken over."""
    assert job.appearance_from is not None
    theirs = check_lender(job.appearance_from, job, config, shot)
    config.method.check_can_carry_appearance()
    # What EXR files show is known when they have been read.
    if isinstance(shot, Shot):
        note_partners(job.appearance_from, theirs.shot.atlas_ids, atlas_ids_by_name(shot.scene), hooks)


def note_partners(path: Path, theirs: Collection[str], ours: Collection[str], hooks: RunHooks) -> None:
    """Names the objects of a shot that the run at `path` has no look for.

    Raises:
        ConfigError: it has one for none of them.
    """
    known = partners(ours, theirs)
    lacking = [name for name in ours if name not in known]
    if len(lacking) == len(ours):
        raise ConfigError(
            f"no object of this shot is called as one of the run {path}: here {listed(ours)}; there "
            f"{listed(theirs)}; name them alike, for instance with --merge"
        )
    if lacking:
        hooks.note(
            f"no look is taken over by what the run {path} has no object of that name for: {listed(lacking)}"
        )


def listed(names: Iterable[str]) -> str:
    """Names one after the other, the first few of many; a backdrop's begin with a zero that is not shown."""
    every = [name.removeprefix("\0") for name in names]
    more = f" and {len(every) - N_LISTED} more" if len(every) > N_LISTED else ""
    return ", ".join(every[:N_LISTED]) + more
