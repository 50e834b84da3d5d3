"""The settings of a result that somebody brings back: a video, a picture, settings, a run folder as zip."""

from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, MediaError
from genrender.jobs.job import job_from_json
from genrender.jobs.words import job_words, same_words
from genrender.options.settings import settings_of_words
from genrender.runs.told import told_words
from genrender.server.database import RunEntry, SceneEntry
from genrender.server.reception import Upload
from genrender.server.studio import Studio
from genrender.storage.run_files import FRAME_FILES
from genrender.storage.untrusted import SHOWN_LENGTH, parse_json, shown

TIMEOUT_S = 60.0
# Settings that name files of the machine where a run was made.
FILES = ("camera", "appearance_from", "ip_image")


def recover(studio: Studio, upload: Upload) -> dict[str, Any]:
    """Settings, and the scene and the run where this server has them.

    Raises:
        MediaError: the file tells of no run.
    """
    run = _run_of_frame(studio, upload.file)
    if run is not None:
        return {"scene": run.scene, "run": run.id, "settings": run.settings, "notes": []}
    told, _ = studio.reader.call("told", TIMEOUT_S, file=str(upload.file), name=upload.name)
    if told is None:
        raise MediaError(
            f"{shown(upload.name, SHOWN_LENGTH)} does not tell what it was made with: expected the video, a "
            "contact sheet, a downloaded frame, config.json or the run folder of a run of genrender"
        )
    settings, notes = settings_of_words(told["words"]), list[str]()
    run = _run_of_settings(studio, told["scene"], told["words"])
    if run is not None:
        return {"scene": run.scene, "run": run.id, "settings": run.settings, "notes": notes}
    for name in FILES:
        if name in settings and not _is_kept(studio, settings, name):
            notes.append(
                f"--{name.replace('_', '-')} {settings.pop(name)} is a file that is not here: left out"
            )
    scene = next((entry.id for entry in studio.database.scenes() if _is_called(entry, told["scene"])), None)
    if scene is None:
        notes.append(f"the scene {told['scene']} is not here: upload it, or choose another")
    return {"scene": scene, "run": None, "settings": settings, "notes": notes}


def _is_kept(studio: Studio, settings: dict[str, Any], name: str) -> bool:
    """Whether a setting means something here; what this server has by another name gets that."""
    value = settings[name]
    if name == "camera" and not str(value).lower().endswith(".json"):
        return True
    # Results tell the names of files alone; this server's own are digests and ids.
    camera = studio.folder / "cameras" / Path(str(value)).name
    if name == "camera" and camera.is_file():
        settings[name] = parse_json(camera.read_bytes())
        return True
    return name == "appearance_from" and studio.database.run(str(value)) is not None


def _is_called(entry: SceneEntry, name: str) -> bool:
    """By whoever uploaded it, or as its file is kept."""
    return name in (entry.name, Path(entry.scene).name)


def _run_of_frame(studio: Studio, file: Path) -> RunEntry | None:
    """The run of which a file is a frame, bit by bit."""
    size = file.stat().st_size
    data: bytes | None = None
    for place in studio.runs.iterdir():
        for frame in place.glob(FRAME_FILES):
            if frame.stat().st_size != size:
                continue
            data = data or file.read_bytes()
            if frame.read_bytes() == data:
                return studio.database.run(place.name)
    return None


def _run_of_settings(studio: Studio, scene: str, words: list[str]) -> RunEntry | None:
    """The newest run of a scene of that name that was asked for by the same words."""
    entries, _ = studio.database.runs(states=("finished",))
    for entry in entries:
        if entry.seeds is not None:
            continue
        try:
            job = job_from_json(entry.job)
        except ConfigError:
            continue  # of an earlier version
        if job.clip.scene.name == scene and same_words(told_words(job_words(job, Path())), words):
            return entry
    return None
