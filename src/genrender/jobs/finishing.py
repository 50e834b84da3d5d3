"""What is kept while files are added to a finished run, so that who is stopped makes what is left.

finishing/request.json   what is wanted, and of what
finishing/gbuffers.bin   what the run shows
finishing/alpha.bin      how much of every pixel objects cover, as far as it is known
finishing/KIND/          the files of a kind, as far as they are made
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from genrender.errors import MediaError
from genrender.jobs.also import KINDS
from genrender.runs.folder import RunFolder
from genrender.runs.unfinished import file_digest
from genrender.storage.atomic import atomic_folder, atomic_write, link_or_copy, remove_leftovers
from genrender.storage.folder_lock import lock_folder
from genrender.storage.json_kinds import from_json, misfit
from genrender.storage.run_files import (
    ALPHAS_FILE,
    FINISHING_DIR,
    GBUFFERS_FILE,
    NUMBERED,
    REQUEST_FILE,
    UPSCALED_DIR,
)
from genrender.storage.untrusted import json_text, ordinary_bytes, read_json


@dataclass(frozen=True)
class Wish:
    """Files that a finished run is to get.

    Attributes:
        also: some of `genrender.jobs.also.KINDS`.
        upscale: the network that enlarges frames, a folder or a hub id; None: they stay as they are.
        device: where it computes; None: where models do.
    """

    also: list[str]
    upscale: str | None = None
    device: str | None = None


@dataclass(frozen=True)
class _Kept:
    """A wish, and digests of what the kept files were made from; None: none was made from it."""

    wish: Wish
    frames: str
    clip: str | None = None
    network: str | None = None


class Finishing:
    """The folder `finishing` of a run, as a context; it goes when the block ends well.

    Attributes:
        gbuffer_file: a place for the clip's G-buffers.
        alpha_file: a place for alpha, whose frames are told from never written ones by their checksums.

    Raises:
        MediaError: it is no finished run, or another process is at work there.
    """

    def __init__(self, folder: RunFolder, wish: Wish) -> None:
        folder.read_record()
        self._folder = folder.path
        self.path = folder.path / FINISHING_DIR
        self.gbuffer_file = self.path / GBUFFERS_FILE
        self.alpha_file = self.path / ALPHAS_FILE
        self._kept = _Kept(wish, _frames_digest(folder))

    @property
    def has_frames(self) -> bool:
        """Whether something is kept that need not be made again."""
        return any(self.files(kind) for kind in _PLACES)

    def __enter__(self) -> "Finishing":
        self._lock = lock_folder(self._folder)
        was_there = self.path.is_dir()
        try:
            before = None
            with suppress(MediaError):  # damaged: all is made again
                before = _read_kept(self._folder)
            if before is None or before.frames != self._kept.frames:
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                self._kept = replace(before, wish=self._kept.wish)
                for place in filter(Path.is_dir, (self.path, *map(self.place, _PLACES))):
                    remove_leftovers(place)
            self._write()
        except BaseException:
            self._leave()
            raise
        self._was_there = was_there
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What fails before it has begun leaves nothing; a wish that was there before stays.
        if kind is None or not (self._was_there or self.has_frames):
            drop_wish(self._folder)
        self._leave()

    def _leave(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _write(self) -> None:
        _write_kept(self._folder, self._kept)

    def place(self, name: str) -> Path:
        """Where the frames of a kind are kept, whole files each."""
        return self.path / name

    def files(self, name: str) -> list[Path]:
        """Those of them that are there, in order."""
        return sorted(self.place(name).glob(f"{NUMBERED}.*"))

    def check_clip(self) -> None:
        """Looks at the G-buffers: what was made from others is made again."""
        digest = file_digest(self.gbuffer_file)
        if digest != self._kept.clip:
            for kind in KINDS:
                shutil.rmtree(self.place(kind), ignore_errors=True)
            self.alpha_file.unlink(missing_ok=True)
            self._kept = replace(self._kept, clip=digest)
            self._write()

    def check_network(self, digest: str) -> None:
        """Likewise, of what another network has enlarged."""
        if digest != self._kept.network:
            shutil.rmtree(self.place(UPSCALED_DIR), ignore_errors=True)
            self._kept = replace(self._kept, network=digest)
            self._write()

    def show(self, name: str) -> Path:
        """Puts the files of a kind, which are all there, into the run folder; they stay here as well."""
        files, target = self.files(name), self._folder / name
        with atomic_folder(target, replaces=(f"*{files[0].suffix}",)) as part:
            for file in files:
                link_or_copy(file, part / file.name)
        return target


_PLACES = (*KINDS, UPSCALED_DIR)


def keep_wish(folder: RunFolder, wish: Wish) -> None:
    """Writes down what a run that has just been finished is to get, for `genrender resume` to go on with.

    Raises:
        MediaError: it cannot be written.
    """
    drop_wish(folder.path)
    _write_kept(folder.path, _Kept(wish, _frames_digest(folder)))


def kept_wish(folder: Path) -> Wish | None:
    """What a finished run was to get when that was stopped; None: nothing.

    Raises:
        MediaError: what says so is damaged.
    """
    kept = _read_kept(folder)
    return None if kept is None else kept.wish


def drop_wish(folder: Path) -> None:
    """Takes away what is kept; the request first, lest half of it count."""
    (folder / FINISHING_DIR / REQUEST_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / FINISHING_DIR, ignore_errors=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MediaError(
            f"cannot write to {folder}: {error.strerror or error}; free some space or change its permissions"
        ) from error


def _write_kept(folder: Path, kept: _Kept) -> None:
    file = folder / FINISHING_DIR / REQUEST_FILE
    with _told(folder):
        file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as part:
        part.write_text(json_text(asdict(kept)) + "\n", encoding="utf-8")


def _read_kept(folder: Path) -> _Kept | None:
    file = folder / FINISHING_DIR / REQUEST_FILE
    expected = "what genrender writes: give genrender finish with its options again"
    try:
        stored = read_json(file, MediaError, expected)
    except FileNotFoundError:
        return None
    if (wrong := misfit(stored, _Kept, "request")) is not None:
        raise MediaError(f"{file}: {wrong}; expected {expected}")
    return from_json(_Kept, stored)


def _frames_digest(folder: RunFolder) -> str:
    """Of all that the files depend on beside the scene.

    Raises:
        MediaError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    for file in (folder.config_file, *folder.frame_files()):
        try:
            digest.update(ordinary_bytes(file))
        except OSError as error:
            raise MediaError(
                f"cannot read {file}: {error.strerror}; expected what genrender writes: render the run again"
            ) from error
    return digest.hexdigest()[:16]
