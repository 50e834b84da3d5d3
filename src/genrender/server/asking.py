"""Requests made into jobs: what is named by an id becomes a path of this server, and nothing else does."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrender.backbones.hub import cached_folder
from genrender.backbones.recipe import Recipe
from genrender.backbones.recipe_files import recipe_sources
from genrender.backbones.spelling import control_of, lora_of
from genrender.errors import ConfigError
from genrender.jobs.also import KINDS, read_kinds, read_seeds
from genrender.jobs.job import RenderJob, job_to_json
from genrender.options.settings import job_of, setting_in
from genrender.server.database import RunEntry, SceneEntry
from genrender.server.queue import has_video, now, pace_key
from genrender.server.refused import Refused, conflict, not_found
from genrender.server.studio import Studio, new_id
from genrender.server.upload_tasks import find_exr_map
from genrender.storage.atomic import atomic_write
from genrender.storage.limits import bytes_as_text, duration_as_text
from genrender.storage.untrusted import SHOWN_LENGTH, check_text, json_text, shown

OWN_MODELS = ("pocket",)
CHECK_TIMEOUT_S = 120.0
MAX_NAME = 200
# Names of folders, as new ones are made and as adopted ones may be called.
_ID = re.compile(r"[\w][\w .,+=@()\[\]-]{0,120}")
# How many times the frames of a run its video may show.
MAX_SHOWN = 10
# Settings that name a single source, and those that name several.
SOURCES = ("model", "vae", "motion_adapter", "upscale")
LISTED_SOURCES = ("lora", "embedding", "controlnet", "ip_adapter")


@dataclass(frozen=True)
class Asked:
    """A request that has become a job.

    Attributes:
        scene: what it shows; None: a scene of an adopted run, which is no upload.
        settings: as they were asked for, with ids.
        seeds: of a sheet that is wanted instead of a video.
    """

    scene: SceneEntry | None
    settings: dict[str, Any]
    job: RenderJob
    seeds: str | None = None

    @property
    def plain_job(self) -> dict[str, Any]:
        """The job for helpers."""
        return job_to_json(self.job)


def _is_id(text: str) -> bool:
    """Whether a text can name something here; no other becomes a part of a path or is looked up."""
    return _ID.fullmatch(text) is not None


def find_scene(studio: Studio, id: str) -> SceneEntry:
    """Raises Refused where there is none."""
    entry = studio.database.scene(id) if _is_id(id) else None
    if entry is None:
        raise not_found(f"scene {shown(id, SHOWN_LENGTH)}")
    return entry


def find_run(studio: Studio, id: str) -> RunEntry:
    """Raises Refused where there is none."""
    entry = studio.database.run(id) if _is_id(id) else None
    if entry is None:
        raise not_found(f"run {shown(id, SHOWN_LENGTH)}")
    return entry


def ask(studio: Studio, scene: str | None, settings: Mapping[str, Any], of: str | None = None) -> Asked:
    """What a request asks for.

    Args:
        scene: id; None: that of the run `of`.
        settings: override those of the run `of`.

    Raises:
        Refused: there is no such scene or run.
        ConfigError: a setting cannot be used.
    """
    before = None if of is None else find_run(studio, of)
    merged = {**({} if before is None else before.settings), **settings}
    merged = {name: value for name, value in merged.items() if value is not None}
    seeds = merged.pop("seeds", None)
    if seeds is not None:
        _check_seeds(seeds)
    if scene is None and before is None:
        raise Refused("no scene is named: give the id of one", field="scene")
    if scene is None and before is not None and before.scene is None:
        path, entry = Path(before.job["clip"]["scene"]), None
    else:
        entry = find_scene(studio, str(scene or (before and before.scene)))
        path = studio.scene_path(entry)
    job = job_of(_resolved(studio, merged), path, find_exr_map(path))
    return Asked(entry, merged, job, seeds)


def _check_seeds(seeds: Any) -> None:
    if not isinstance(seeds, str):
        raise Refused("seeds is no text, expected numbers such as 0-3 or 1,5,9", field="seeds")
    try:
        read_seeds(seeds)
    except ConfigError as error:
        raise Refused(str(error).removeprefix("--"), field="seeds") from error


def wish(studio: Studio, also: Sequence[str], upscale: str | None) -> dict[str, Any]:
    """Files that a finished run is to get.

    Raises:
        Refused: there are none of these, or this server knows no such network.
        ConfigError: likewise.
    """
    if not also and upscale is None:
        raise Refused(f"nothing is asked for: name some of {', '.join(KINDS)}, or a network as upscale")
    text = ",".join(also) or None
    read_kinds(text)
    if upscale is not None:
        check_source(studio, "upscale", upscale)
    return {"also": text, "upscale": upscale}


def _resolved(studio: Studio, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which ids have become paths; what would be a path of its own is refused."""
    made = dict(settings)
    if "camera" in made:
        made["camera"] = _camera(studio, made["camera"])
    if "appearance_from" in made:
        lender = find_run(studio, str(made["appearance_from"]))
        if not has_video(studio.run_folder(lender)):
            raise conflict(
                f"the run {lender.name!r} is not finished: wait until it is, or take another run's look"
            )
        made["appearance_from"] = str(studio.run_folder(lender))
    pictures = made.get("ip_image")
    if isinstance(pictures, list):
        made["ip_image"] = [str(find_picture(studio, str(id))) for id in pictures]
    for name in SOURCES:
        if isinstance(made.get(name), str):
            check_source(studio, name, made[name])
    for name in LISTED_SOURCES:
        texts = made.get(name)
        for text in texts if isinstance(texts, list) else ():
            check_source(studio, name, _source_of(name, str(text)))
    return made


def _source_of(name: str, text: str) -> str:
    """The source in a text such as `ink.safetensors:0.8`."""
    if name == "controlnet":
        return control_of(text).source or "own"
    return lora_of(text).source if name in ("lora", "ip_adapter") else text


def check_source(studio: Studio, field: str, name: str) -> None:
    """Raises Refused for models and files that whoever began the server did not name."""
    own = () if field == "upscale" else OWN_MODELS
    if name in (*own, *(["own"] if own else []), *studio.config.sources):
        return
    known = ", ".join((*own, *studio.config.sources)) or "none, for none is named here"
    raise Refused(
        f"{field} is {shown(name, SHOWN_LENGTH)!r}, expected one of {known}; others are named when the "
        "server begins: genrender serve --source NAME",
        field=field,
    )


def _camera(studio: Studio, camera: Any) -> str:
    if isinstance(camera, str):
        if camera.lower().endswith(".json"):
            raise Refused("camera is a file, expected the camera itself: what the file holds", field="camera")
        return camera
    if not isinstance(camera, dict | list):
        raise Refused("camera is no text and no camera, expected either", field="camera")
    text = json_text(camera, indent=None)
    check_text("camera", text, ConfigError, 200_000)
    file = studio.folder / "cameras" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    if not file.exists():
        with atomic_write(file) as part:
            part.write_text(text, encoding="utf-8")
    return str(file)


def find_picture(studio: Studio, id: str) -> Path:
    """An uploaded picture."""
    file = studio.folder / "pictures" / f"{id}.png"
    if not _is_id(id) or not file.is_file():
        raise not_found(f"picture {shown(id, SHOWN_LENGTH)}")
    return file


def check(studio: Studio, asked: Asked, folder: Path) -> dict[str, Any]:
    """A `Check` of the API, with everything that a run would be refused for."""
    _check_asked_numbers(studio, asked.job)
    found, _ = studio.reader.call("check", CHECK_TIMEOUT_S, job=asked.plain_job, folder=str(folder))
    unknown = studio.reader.call(
        "words", CHECK_TIMEOUT_S, model=asked.job.recipe.base, text=asked.job.prompt
    )[0]
    # The page underlines them; everything else is told in words.
    told = {**found, **unknown, "field": None, "seconds": None, "memory_bytes": None, "text": None}
    told["notes"], told["warnings"] = (
        [studio.plain(t) for t in told[kind]] for kind in ("notes", "warnings")
    )
    if found["error"] is not None:
        text = studio.plain(found["error"])
        return told | {"error": text, "field": setting_in(text)}
    limits = studio.config.jobs
    for name, value, most in (
        ("frames", found["n_frames"], limits.frames),
        ("size", max(found["width"], found["height"]), limits.side),
        ("steps", found["steps"], limits.steps),
        ("repeat", asked.job.repeat * found["n_frames"], limits.frames * MAX_SHOWN),
    ):
        if value > most:
            what = "the number of frames with repeats" if name == "repeat" else name
            raise Refused(f"{what} is {value}, expected at most {most} on this server", field=name)
    key = pace_key(asked.job, found["width"], found["height"])
    pace = studio.database.pace(key)
    if pace is None:
        if is_here(asked.job.recipe):
            studio.queue.ask_pace(key, asked.job)
        return told
    told["seconds"] = pace[0] * found["n_frames"] * found["steps"]
    told["memory_bytes"] = pace[1]
    memory = "" if pace[1] is None else f", {bytes_as_text(round(pace[1]))} of memory"
    disk = bytes_as_text(found["disk_bytes"])
    told["text"] = f"about {duration_as_text(told['seconds'])}{memory} and {disk} on the disk meanwhile"
    return told


def is_here(recipe: Recipe) -> bool:
    """Whether all that paints is on this machine: a question shall not fetch gigabytes."""
    base, *parts = recipe_sources(recipe)
    has_base = base.is_local or cached_folder(base.location, base.revision) is not None
    return has_base and all(part.is_local for part in parts)


def _check_asked_numbers(studio: Studio, job: RenderJob) -> None:
    """What is too much before anything is planned, which would itself take long."""
    limits, shot = studio.config.jobs, job.clip.shot
    if shot.n_frames is not None and shot.n_frames > limits.frames:
        raise Refused(
            f"frames is {shot.n_frames}, expected at most {limits.frames} on this server", field="frames"
        )


def submit(studio: Studio, asked: Asked, name: str | None, batch: str | None = None) -> RunEntry:
    """Puts a run into the queue.

    Raises:
        Refused: the queue is full, or the job is larger than this server takes.
        ConfigError: something is wrong with it.
    """
    waiting = len(studio.database.positions())
    if waiting >= studio.config.jobs.queued:
        raise Refused(f"{waiting} runs wait already: wait until some are done, or cancel some", 429)
    title = (name or asked.job.prompt).strip()
    check_text("name", title, ConfigError, 20_000)
    if batch is not None:
        check_text("batch", batch, ConfigError)
    scene_name = asked.job.clip.scene.name if asked.scene is None else asked.scene.name
    id = new_id(Path(scene_name).stem)
    told = check(studio, asked, studio.runs / id)
    if told["error"] is not None:
        raise ConfigError(told["error"])
    shape = {field: told[field] for field in ("n_frames", "fps", "width", "height", "steps")}
    entry = RunEntry(
        id,
        title[:MAX_NAME],
        None if asked.scene is None else asked.scene.id,
        scene_name,
        json.loads(json_text(asked.settings)),
        asked.plain_job,
        now(),
        notes=told["notes"],
        warnings=told["warnings"],
        shape=shape,
        seeds=asked.seeds,
        batch=batch,
    )
    studio.database.add_run(entry)
    studio.queue.wake()
    studio.events.tell(id)
    return entry
