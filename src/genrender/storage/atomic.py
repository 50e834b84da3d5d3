"""Files and folders that appear whole or not at all, and outlive a crash of the machine once they have.

What is being written has a temporary name beside its place, and is locked by the process that writes it. So a
name without a lock was left behind by a process that was killed, and whoever writes there next removes it.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from genrender.errors import MediaError

try:
    import fcntl
except ImportError:  # on Windows, where what a killed process leaves behind stays
    fcntl = None

# Names of what is being written, of what it takes the place of, and of files that only try a folder.
TEMPORARY = re.compile(r"\.(.+\.)?[0-9a-f]{8}\.(part|old|probe)(\..*)?", re.DOTALL)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to, and renames it to `path` when the block ends well.

    If the block raises, the temporary file is removed and whatever stood at `path` before is still there. The
    temporary name keeps the suffix, because libraries choose the file format by it; the file is there, empty.

    Raises:
        MediaError: the folder of `path` is missing or cannot be written to, or `path` is a folder.
    """
    path = Path(path)
    _check_is_folder(path.parent)
    if path.is_dir():
        raise MediaError(f"cannot write {path}: it is a folder; give the name of a file")
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        raise MediaError(
            f"cannot write {path}: {error.strerror}; choose another place or change its permissions"
        ) from error
    try:
        with _locked(part):
            yield part
            _sync(part)
            if fcntl is not None:
                os.replace(part, path)
        if fcntl is None:  # where there are no locks, an open file cannot be renamed
            os.replace(part, path)
    except MediaError:
        raise
    except OSError as error:
        if error.filename is None or str(error.filename) == str(part):
            raise MediaError(
                f"cannot write {path}: {error.strerror or error}; choose another place"
            ) from error
        raise  # not about this file: it came from whatever feeds the block
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def exchanged_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the whole place of `path` when the block ends well.

    Nothing of what was in `path` stays: the caller knows that it may go. If the block raises, everything
    is as before.

    Raises:
        MediaError: the folder cannot be made or replaced.
    """
    path = Path(path).absolute()
    check_can_hold_files(path.parent)
    name = f".{path.name}.{secrets.token_hex(4)}"
    part, old = path.with_name(f"{name}.part"), path.with_name(f"{name}.old")
    try:
        with _told_as_media_errors(path):
            part.mkdir(parents=True)
        with _locked(part):
            yield part
            with _told_as_media_errors(path):
                for file in part.rglob("*"):
                    if file.is_file():
                        _sync(file)
                if path.exists():
                    os.replace(path, old)
                try:
                    os.replace(part, path)
                except BaseException:
                    if old.exists():
                        os.replace(old, path)
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    remove_leftovers(path.parent, of=path.name, kinds=("old",))


@contextmanager
def atomic_folder(path: str | os.PathLike[str], replaces: Sequence[str] = ()) -> Iterator[Path]:
    """Gives an empty folder to fill, and puts what is in it at `path` when the block ends well.

    If `path` is missing, it is made, with its parents. If it is there, files of the new names and those that
    match `replaces` give way, and all others stay. If the block raises, everything is as before.

    Args:
        path: the folder.
        replaces: glob patterns, relative to `path`, of what an earlier result may have left there.

    Raises:
        MediaError: the folder cannot be made or written to, or `path` is a file.
    """
    path = Path(path)
    check_can_hold_files(path)
    # A folder that is there may be on a disk of its own, or lie in one that is not ours to write to.
    home = path if path.exists() else path.parent
    name = f".{path.name}.{secrets.token_hex(4)}"
    part, old = home / f"{name}.part", home / f"{name}.old"
    made: list[Path] = []
    is_done = False
    try:
        with _told_as_media_errors(path):
            _make_folders(part, made)
        with _locked(part):
            yield part
            with _told_as_media_errors(path):
                if path.exists():
                    _exchange(part, path, old, replaces)
                else:
                    os.replace(part, path)
        is_done = True
    finally:
        for leftover in (part, old) if is_done else (part,):
            shutil.rmtree(leftover, ignore_errors=True)
        if not is_done:
            _remove_empty(made)
    # What kills in the middle of earlier exchanges have left of older results.
    remove_leftovers(home, of=path.name, kinds=("old",))


@contextmanager
def _told_as_media_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MediaError(
            f"cannot write to folder {folder}: {error.strerror or error}; choose another place"
        ) from error


def _make_folders(folder: Path, made: list[Path]) -> None:
    """Makes a folder with its missing parents, and adds to `made` what was missing, outermost first."""
    for place in [place for place in (folder, *folder.parents) if not place.exists()][::-1]:
        made.append(place)
        place.mkdir(exist_ok=True)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in reversed(folders):
        with suppress(OSError):  # it is gone already, or somebody else has put something into it
            folder.rmdir()


def _exchange(part: Path, path: Path, old: Path, replaces: Sequence[str]) -> None:
    """Moves all files of `part` into `path`, and what they replace into `old`; all of it or nothing."""
    arriving = [file.relative_to(part) for file in part.rglob("*") if not file.is_dir()]
    leaving = {file.relative_to(path) for pattern in replaces for file in path.glob(pattern)}
    leaving |= {file for file in arriving if (path / file).exists()}
    moves = [(path / file, old / file) for file in sorted(leaving)]
    moves += [(part / file, path / file) for file in arriving]
    begun: list[tuple[Path, Path]] = []
    made: list[Path] = []
    try:
        for source, destination in moves:
            _make_folders(destination.parent, made)
            begun.append((source, destination))
            os.replace(source, destination)
    except BaseException:
        for source, destination in reversed(begun):
            if not source.exists():
                os.replace(destination, source)
        _remove_empty(made)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Shows that this process is at work on a file or folder, until the block ends or the process does."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every network file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_abandoned(path: Path) -> bool:
    """Whether no process is at work on what has a temporary name."""
    if fcntl is None:
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # a process is at work on it, or this file system cannot tell
    finally:
        os.close(handle)
    return True


def remove_leftovers(folder: Path, of: str | None = None, kinds: Sequence[str] = ("part", "probe")) -> None:
    """Removes what killed processes have left in a folder; what other processes are writing there stays.

    Args:
        folder: where to look; nothing below it.
        of: the name of the folder whose leftovers these are; None: those of all files and folders.
        kinds: `part` is half-written, `probe` only tried the folder, `old` are files of an earlier result,
            which count until there is a new one.
    """
    for left in [file for file in folder.iterdir() if TEMPORARY.fullmatch(file.name)]:
        name, kind = _parts_of_temporary(left.name)
        if kind not in kinds or (of is not None and name != of):
            continue
        # An older result is in use as long as the one that takes its place.
        if not _is_abandoned(left.with_suffix(".part") if kind == "old" else left):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _parts_of_temporary(name: str) -> tuple[str, str]:
    found = TEMPORARY.fullmatch(name)
    assert found is not None
    return (found.group(1) or "").removesuffix("."), found.group(2)


def _sync(file: Path) -> None:
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())


def _check_is_folder(folder: Path) -> None:
    if not folder.exists():
        raise MediaError(f"cannot write to {folder}: there is no such folder; create it first")
    if not folder.is_dir():
        raise MediaError(f"cannot write to {folder}: it is a file, expected a folder; choose another place")


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raises MediaError unless a file can be made in `folder`: one is made, for permissions do not tell.

    Commands do this before they begin; what killed ones have left in the folder goes.
    """
    folder = Path(folder)
    _check_is_folder(folder)
    probe = folder / f".{secrets.token_hex(4)}.probe"
    try:
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)
        remove_leftovers(folder)
    except OSError as error:
        raise MediaError(
            f"cannot write to folder {folder}: {error.strerror}; choose another or change its permissions"
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """The same file in another place; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_can_hold_files(folder: str | os.PathLike[str]) -> None:
    """Raises MediaError unless files can be made in `folder`, or it is missing and can be made."""
    folder = Path(folder)
    try:
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        raise MediaError(f"cannot make folder {folder}: {error.strerror}; choose another place") from error
    try:
        check_writable(nearest)
    except MediaError as error:
        if nearest == folder:
            raise
        raise MediaError(f"cannot make folder {folder}: {error}") from error
