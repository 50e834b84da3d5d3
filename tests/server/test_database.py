"""Entries come back as they went in, in their order, whatever happened to the process."""

import sqlite3
import subprocess
import sys
import threading

import pytest

from genrender.errors import MediaError
from genrender.server.database import Database, RunEntry, SceneEntry


def entry(id: str, **changes) -> RunEntry:
    settings = {"prompt": f"a red {id}", "model": "pocket"}
    return RunEntry(id, f"run {id}", "s", "It.glb", settings, {"job": 1}, "2026-01-01", **changes)


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path / "studio.sqlite")
    yield made
    made.close()


def test_entries_come_back(database):
    scene = SceneEntry("s", "Fox.glb", "scene", "2026-01-01", 3, "Fox.glb", {"report": [1, None]})
    database.put_scene(scene)
    database.add_run(entry("a", notes=["x"], shape={"fps": 24.0}))
    assert database.scene("s") == scene
    assert database.scenes() == [scene]
    assert database.run("a") == entry("a", notes=["x"], shape={"fps": 24.0})
    assert database.run("b") is database.scene("b") is None
    database.drop_scene("s")
    database.drop_run("a")
    assert database.scenes() == database.runs()[0] == []


def test_the_queue_keeps_its_order_and_who_comes_back_is_last(database):
    for id in "abc":
        database.add_run(entry(id))
    assert database.positions() == {"a": 0, "b": 1, "c": 2}
    assert database.first_waiting() == entry("a")
    database.change_run("a", ("waiting",), state="running")
    database.change_run("a", ("running",), state="stopped")
    database.change_run("a", ("stopped",), state="waiting")
    assert database.positions() == {"b": 0, "c": 1, "a": 2}


def test_a_change_happens_only_in_the_state_that_is_meant(database):
    database.add_run(entry("a"))
    assert database.change_run("a", ("running",), state="stopped") is None
    assert database.change_run("none", state="stopped") is None
    assert database.run("a").state == "waiting"


def test_two_who_take_the_same_run_do_not_both_get_it(database):
    database.add_run(entry("a"))
    got = []

    def take():
        got.append(database.change_run("a", ("waiting",), state="running"))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in got) == 1


def test_a_search_finds_words_in_any_order_and_nothing_is_a_pattern(database):
    for id in ("fox", "dragon", "100%_duck"):
        database.add_run(entry(id))
    found = [
        [run.id for run in database.runs(text)[0]]
        for text in ("FOX red", "red", "%_d", "%", "' OR 1=1", "x y")
    ]
    assert found == [["fox"], ["100%_duck", "dragon", "fox"], ["100%_duck"], ["100%_duck"], [], []]
    database.change_run("fox", state="deleted")
    assert database.runs("fox") == ([], 0)
    assert [run.id for run in database.runs("", ("deleted",))[0]] == ["fox"]
    assert database.runs("", ("' OR 1=1",)) == ([], 0)


def test_pages_follow_each_other(database):
    for number in range(7):
        database.add_run(entry(str(number)))
    pages, before = [], None
    while True:
        found, total = database.runs("", (), 3, before)
        assert total == 7
        pages.append([run.id for run in found])
        if len(found) < 3:
            break
        before = found[-1].id
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


def test_what_was_said_to_be_kept_is_there_after_a_kill(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from genrender.server.database import Database, RunEntry\n"
        "database = Database(Path(sys.argv[1]))\n"
        "for n in range(5):\n"
        "    database.add_run(RunEntry(str(n), '', None, '', {}, {}, ''))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    file = tmp_path / "studio.sqlite"
    subprocess.run([sys.executable, "-c", code, file], check=False, timeout=60)
    database = Database(file)
    assert database.runs()[1] == 5
    database.close()


def test_files_that_are_no_database_or_of_a_later_version_are_told(tmp_path):
    (tmp_path / "a").write_bytes(b"no database" * 100)
    with pytest.raises(MediaError, match="cannot use "):
        Database(tmp_path / "a")
    later = sqlite3.connect(tmp_path / "b")
    later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(MediaError, match="later version"):
        Database(tmp_path / "b")
