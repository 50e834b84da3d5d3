"""Everything that a server works with: its folder, what runs there, and what reads for it.

scenes/ID/      an upload, as it came
runs/ID/        a run folder like any other
trash/ID/       what was deleted less than a day ago
cameras/        camera files of views, by a digest of what they hold
pictures/       reference pictures that were uploaded
studio.sqlite   scenes, runs and their order
server.lock     who serves this folder
"""

import json
import os
import re
import secrets
import shutil
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from genrender.errors import GenRenderError, MediaError
from genrender.jobs.job import job_to_json
from genrender.jobs.resume import read_begun
from genrender.options.settings import job_of, settings_of_words
from genrender.runs.folder import RunFolder
from genrender.runs.unfinished import has_steps
from genrender.server.database import Database, RunEntry, SceneEntry
from genrender.server.events import Events
from genrender.server.queue import Queue, left_state, now
from genrender.server.uploads import UploadLimits
from genrender.storage.atomic import check_can_hold_files
from genrender.storage.helper import Helper
from genrender.storage.limits import available_memory
from genrender.storage.run_files import CONFIG_FILE
from genrender.storage.untrusted import file_name, parse_json

try:
    import fcntl
except ImportError:  # on Windows, where a second server is not noticed
    fcntl = None

FOLDERS = ("scenes", "runs", "trash", "cameras", "pictures", "work")
TRASH_S = 86_400.0
# Remedies of the command line that nobody can follow who asks a server, and theirs.
_OF_THE_COMMAND_LINE = (
    (
        "put it there, or allow its folder with --allow-folder",
        "send both at once, or a zip of the folder that holds them",
    ),
    ("--exr-map", "a file exr_map.json among the passes"),
    (", or pass --allow-pickle if you trust where it is from", ""),
    (", or let `genrender render --allow-pickle` read them as they are", ""),
    ("try --device cpu", "begin the server with another device"),
)
# Of the memory that is free, what one reader of files may take.
READER_SHARE = 0.5
# Less than this even the libraries that read do not take.
READER_BYTES = 2_000_000_000


@dataclass(frozen=True)
class JobLimits:
    """How much a run may ask for."""

    frames: int = 2_000
    side: int = 4_096
    steps: int = 200
    queued: int = 200


@dataclass(frozen=True)
class StudioConfig:
    """How a server is set up.

    Attributes:
        folder: where everything lies; made where it is missing.
        devices: one worker for each; None is what this machine takes by itself.
        sources: models, LoRAs and the like that jobs may name beside pocket: files, folders, hub ids.
        jobs: limits of runs.
        uploads: limits of uploads.
    """

    folder: Path
    devices: tuple[str | None, ...] = (None,)
    sources: tuple[str, ...] = ()
    jobs: JobLimits = field(default_factory=JobLimits)
    uploads: UploadLimits = field(default_factory=UploadLimits)


class Studio:
    """A served folder, as a context: nobody else serves it meanwhile.

    Args:
        config: how it is set up.
        address: where the server answers, for whoever finds the folder held.

    Raises:
        MediaError: another server holds the folder, or it cannot be used.
    """

    def __init__(self, config: StudioConfig, address: str = "") -> None:
        check_can_hold_files(config.folder)
        self.config = config
        self.folder = config.folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _held(self.folder / "server.lock", address)
        for name in FOLDERS:
            (self.folder / name).mkdir(exist_ok=True)
        self.runs, self.scenes = self.folder / "runs", self.folder / "scenes"
        shutil.rmtree(self.folder / "work")
        (self.folder / "work").mkdir()
        self.database = Database(self.folder / "studio.sqlite")
        self.events = Events()
        self._tidy()
        memory = max(int(READER_SHARE * available_memory()), READER_BYTES)
        # What is dragged and what is read for long do not wait for each other.
        self.viewer = Helper("genrender.server.tasks", memory)
        self.reader = Helper("genrender.server.tasks", memory)
        self.judge = Helper("genrender.server.run_tasks")
        self.queue = Queue(self.database, self.runs, self.events, config.devices)

    def __enter__(self) -> "Studio":
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.end()
        for helper in (self.viewer, self.reader, self.judge):
            helper.end()
        self.database.close()
        (self.folder / "server.lock").write_bytes(b"")
        if self._lock is not None:
            os.close(self._lock)

    def run_folder(self, entry: RunEntry) -> Path:
        """Where the files of a run are."""
        return self.folder / ("trash" if entry.state == "deleted" else "runs") / entry.id

    def scene_path(self, entry: SceneEntry) -> Path:
        """What a scene is read from."""
        return self.scenes / entry.id / entry.scene

    def work_folder(self) -> Path:
        """A new folder for what is under way."""
        place = self.folder / "work" / secrets.token_hex(8)
        place.mkdir()
        return place

    def plain(self, text: str) -> str:
        """A message for whoever asks, who knows nothing of this server's folders nor gives it options."""
        text = re.sub(re.escape(str(self.folder)) + r"[/\\](?:[^/\\\s]+[/\\])*", "", text)
        for words, others in _OF_THE_COMMAND_LINE:
            text = text.replace(words, others)
        # A camera of a request lies in a file that whoever asks knows nothing of.
        return re.sub(r"\b[0-9a-f]{24}\.json\b", "the camera", text)

    def _tidy(self) -> None:
        """Puts in order what the server before has left."""
        entries, _ = self.database.runs(
            states=("waiting", "running", "stopped", "failed", "finished", "deleted")
        )
        known = {entry.id for entry in entries}
        for entry in entries:
            place = self.run_folder(entry)
            if entry.state == "running":
                text = "the server ended while it went on"
                notes = [*(note for note in entry.notes if note != text), text]
                state = left_state(place)
                self.database.change_run(entry.id, state=state, ended=now(), notes=notes, wish=None)
            if entry.state == "deleted" and _is_older(place, TRASH_S):
                shutil.rmtree(place, ignore_errors=True)
                self.database.drop_run(entry.id)
            elif entry.state == "finished" and not place.is_dir():
                self.database.drop_run(entry.id)
        for place in sorted(self.runs.iterdir(), key=lambda place: place.stat().st_mtime):
            if place.name not in known and place.is_dir():
                self._adopt(place)

    def _adopt(self, place: Path) -> None:
        """A run folder that the database does not know: it was lost, or somebody put the folder here."""
        is_finished = (place / CONFIG_FILE).is_file()
        if not (is_finished or has_steps(place)) or file_name(place.name) != place.name:
            return
        try:
            entry = _entry_of(place, is_finished)
        except GenRenderError:
            return  # of another version: it stays as it is
        self.database.add_run(entry)


def _entry_of(place: Path, is_finished: bool) -> RunEntry:
    """What is known of a run from its folder alone."""
    if is_finished:
        record = RunFolder(place).read_record()
        settings, scene = settings_of_words(record.command), Path(record.shot.scene)
        shot = record.shot
        shape = {"n_frames": shot.n_frames, "fps": shot.fps, "width": shot.width, "height": shot.height}
        shape["steps"] = record.making.settings.n_steps
        job, created = job_to_json(job_of(settings, scene)), record.created
    else:
        begun = read_begun(place)
        settings, scene, shape = settings_of_words(begun.command), begun.job.clip.scene, {}
        job, created = job_to_json(begun.job), now()
    state = "finished" if is_finished else "stopped"
    name = str(settings["prompt"])[:80]
    return RunEntry(place.name, name, None, scene.name, settings, job, created, state, shape=shape)


def _is_older(place: Path, age_s: float) -> bool:
    return not place.exists() or time.time() - place.stat().st_mtime > age_s


def _held(file: Path, address: str) -> int | None:
    """A lock on a folder until it is closed, with who holds it.

    Raises:
        MediaError: another server does.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise MediaError(
                f"the folder {file.parent} is served already{_who(file)}: use that one, or give another "
                "--folder"
            ) from error
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "address": address, "since": now()}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(facts).encode())
    return handle


def held_by(folder: Path) -> dict[str, object] | None:
    """Who serves a folder: `pid`, `host`, `address` and `since`; None: nobody, as far as can be told."""
    try:
        facts = parse_json((folder / "server.lock").read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _who(file: Path) -> str:
    facts = held_by(file.parent)
    if facts is None:
        return ""
    pid, host, address, since = (facts.get(name) for name in ("pid", "host", "address", "since"))
    return f" by process {pid} on {host} at {address} since {since}"


def new_id(label: str) -> str:
    """A name for a folder: a label in plain letters, date and time, and eight digits of chance."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in label.lower()).strip("-")[:40] or "run"
    return f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"


def facts_of(limits: StudioConfig) -> dict[str, int]:
    """The limits as the API tells them."""
    return {
        "upload_bytes": limits.uploads.bytes,
        "upload_files": limits.uploads.files,
        **asdict(limits.jobs),
    }
