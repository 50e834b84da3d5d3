"""Files and folders appear whole or not at all, and nothing is lost when they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genrender.errors import MediaError
from genrender.storage.atomic import (
    atomic_folder,
    atomic_write,
    check_can_hold_files,
    check_writable,
    exchanged_folder,
)


def tree(folder: Path) -> dict[str, str | None]:
    """Every file below a folder with its content, and every folder."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
    }


def fill(folder: Path, **files: str) -> None:
    for name, content in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


OLD = {"a": "old", "b": "old", "sub__c": "old", "mine": "kept"}


def test_a_new_folder_appears_with_its_parents_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "folder"
    with atomic_folder(path) as part:
        fill(part, a="1", sub__c="2")
        assert not path.exists()
    assert tree(tmp_path) == {"new": None, "new/folder": None} | {
        "new/folder/a": "1",
        "new/folder/sub": None,
        "new/folder/sub/c": "2",
    }


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_no_folder_and_no_parents(tmp_path, error):
    with pytest.raises(error), atomic_folder(tmp_path / "new" / "deep" / "folder") as part:  # noqa: PT012
        fill(part, a="1")
        raise error
    assert tree(tmp_path) == {}


def test_parents_that_somebody_else_uses_meanwhile_stay(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "new" / "folder"):  # noqa: PT012
        fill(tmp_path / "new", theirs="1")
        raise RuntimeError
    assert tree(tmp_path) == {"new": None, "new/theirs": "1"}


def test_an_old_result_is_replaced_and_other_files_stay(tmp_path):
    fill(tmp_path, **OLD)
    with atomic_folder(tmp_path, replaces=["a", "b", "sub/*"]) as part:
        fill(part, a="new", more__d="new")
        assert (tmp_path / "a").read_text() == "old"
    assert tree(tmp_path) == {"a": "new", "mine": "kept", "sub": None, "more": None, "more/d": "new"}


def test_a_failure_keeps_an_old_result(tmp_path):
    fill(tmp_path, **OLD)
    before = tree(tmp_path)
    with pytest.raises(RuntimeError), atomic_folder(tmp_path, replaces=["a", "b", "sub/*"]) as part:  # noqa: PT012
        fill(part, a="new")
        raise RuntimeError
    assert tree(tmp_path) == before


@pytest.mark.parametrize("n_moves", range(5))
def test_a_failure_in_the_middle_of_the_exchange_puts_everything_back(tmp_path, monkeypatch, n_moves):
    fill(tmp_path, **OLD)
    before = tree(tmp_path)
    replace, left = os.replace, [n_moves]

    def fails_once(source, destination):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(28, "No space left on device")
        replace(source, destination)

    monkeypatch.setattr("genrender.storage.atomic.os.replace", fails_once)
    message = "cannot write to folder .*: No space left on device"
    with (
        pytest.raises(MediaError, match=message),
        atomic_folder(tmp_path, replaces=["a", "b", "sub/*"]) as part,
    ):
        fill(part, a="new", more__d="new")
    assert left[0] < 0
    assert tree(tmp_path) == before


def test_a_folder_that_appears_meanwhile_keeps_its_files(tmp_path):
    path = tmp_path / "folder"
    with atomic_folder(path) as part:
        fill(part, a="new")
        fill(path, a="theirs", b="theirs")
    assert tree(tmp_path) == {"folder": None, "folder/a": "new", "folder/b": "theirs"}


def test_errors_of_the_block_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "new"):
        (tmp_path / "nothing").read_text()
    assert tree(tmp_path) == {}


def test_a_folder_that_can_be_made_is_not_made(tmp_path):
    check_can_hold_files(tmp_path / "a" / "b")
    check_can_hold_files(tmp_path)
    assert tree(tmp_path) == {}


def test_places_that_can_hold_no_files(tmp_path):
    fill(tmp_path, file="")
    with pytest.raises(MediaError, match="it is a file, expected a folder"):
        check_can_hold_files(tmp_path / "file")
    with pytest.raises(MediaError, match=r"cannot make folder .*: it is a file, expected a folder"):
        check_can_hold_files(tmp_path / "file" / "run")


WRITERS = {
    "file": "with atomic_write(Path('out/a.txt')) as part: part.write_text('half'); wait()",
    "folder": "with atomic_folder(Path('out/sub')) as part: (part / 'b').write_text('half'); wait()",
    "whole folder": "with exchanged_folder(Path('out/sub')) as part: (part / 'b').write_text('half'); wait()",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_killed_process_leaves_goes_and_what_a_living_one_writes_stays(tmp_path, writer):
    out = tmp_path / "out"
    out.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from genrender.storage.atomic import *\n"
        "def wait(): print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code + WRITERS[writer]], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    fill(out, **{".0123abcd.probe": ""})
    check_writable(out)
    assert [".part" in name for name in tree(out) if "/" not in name] == [True]
    process.kill()
    process.communicate()
    check_writable(out)
    assert tree(out) == {}


def test_a_whole_folder_is_exchanged_or_stays(tmp_path, monkeypatch):
    path = tmp_path / "model"
    fill(path, a="old", sub__b="old")
    before = tree(tmp_path)
    with pytest.raises(RuntimeError), exchanged_folder(path) as part:  # noqa: PT012
        fill(part, a="new")
        raise RuntimeError
    assert tree(tmp_path) == before
    with monkeypatch.context() as broken:
        replace = os.replace
        broken.setattr(os, "replace", lambda a, b: replace(a, b) if ".part" not in str(a) else 1 / 0)
        with pytest.raises(ZeroDivisionError), exchanged_folder(path) as part:
            fill(part, a="new")
    assert tree(tmp_path) == before
    fill(tmp_path, **{".model.0123abcd.old__a": "older"})  # of a kill in the middle of an earlier exchange
    with exchanged_folder(path) as part:
        fill(part, a="new")
    assert tree(tmp_path) == {"model": None, "model/a": "new"}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(os.pread(handle, 10, 0)))
    with atomic_write(tmp_path / "a") as part:
        part.write_text("new")
    assert seen == [b"new"]
    assert tree(tmp_path) == {"a": "new"}
