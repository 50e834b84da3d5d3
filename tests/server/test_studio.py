"""A served folder: who holds it, what is found again after a crash, and when what was deleted goes."""

import os
import re
import time
from pathlib import Path

import pytest
from server.scene_files import SCENES

from genrender.errors import MediaError
from genrender.jobs.job import job_to_json
from genrender.options.settings import job_of
from genrender.server.database import Database, RunEntry
from genrender.server.studio import Studio, StudioConfig, held_by, new_id

SETTINGS = {"prompt": "a red biped", "frames": 3, "steps": 2, "size": "32"}


def entry(id: str, **changes) -> RunEntry:
    job = job_to_json(job_of(SETTINGS, SCENES / "walking_biped.glb"))
    return RunEntry(id, "a name", None, "walking_biped.glb", SETTINGS, job, "2026-01-01", **changes)


def prepared(folder: Path, *entries: RunEntry) -> None:
    """What a server leaves that was killed with these runs."""
    folder.mkdir(parents=True, exist_ok=True)
    database = Database(folder / "studio.sqlite")
    for one in entries:
        database.add_run(one)
    database.close()


def test_two_servers_never_serve_one_folder(tmp_path):
    with Studio(StudioConfig(tmp_path / "a"), "http://127.0.0.1:1") as studio:
        with pytest.raises(
            MediaError, match=f"served already by process {os.getpid()} on .* at http://127.0.0.1:1"
        ):
            Studio(StudioConfig(tmp_path / "a"))
        assert held_by(tmp_path / "a")["address"] == "http://127.0.0.1:1"
        assert studio.database.runs() == ([], 0)
    assert held_by(tmp_path / "a") is None
    with Studio(StudioConfig(tmp_path / "a")):
        pass


def test_what_went_on_when_the_server_ended_is_offered(tmp_path):
    prepared(tmp_path, entry("a", state="running", started="x"), entry("b", state="stopped"))
    with Studio(StudioConfig(tmp_path)) as studio:
        found = studio.database.run("a")
        assert (found.state, found.notes) == ("stopped", ["the server ended while it went on"])
        assert studio.database.run("b").state == "stopped"
    with Studio(StudioConfig(tmp_path)) as studio:
        assert studio.database.run("a").notes == ["the server ended while it went on"]


def test_deleted_runs_go_after_a_day_and_no_other(tmp_path):
    prepared(tmp_path, *(entry(id, state="deleted", before="finished") for id in ("old", "new")))
    for id in ("old", "new"):
        (tmp_path / "trash" / id).mkdir(parents=True)
    yesterday = time.time() - 90_000
    os.utime(tmp_path / "trash" / "old", (yesterday, yesterday))
    with Studio(StudioConfig(tmp_path)) as studio:
        assert studio.database.run("old") is None
        assert studio.database.run("new").state == "deleted"
    assert [place.name for place in (tmp_path / "trash").iterdir()] == ["new"]


def test_half_an_upload_of_a_server_that_was_killed_goes(tmp_path):
    (tmp_path / "work" / "x").mkdir(parents=True)
    with Studio(StudioConfig(tmp_path)):
        assert list((tmp_path / "work").iterdir()) == []


def test_folders_that_are_no_runs_stay_as_they_are(tmp_path):
    strange = tmp_path / "runs" / "strange"
    strange.mkdir(parents=True)
    (strange / "config.json").write_text("{}")
    (tmp_path / "runs" / "empty").mkdir()
    with Studio(StudioConfig(tmp_path)) as studio:
        assert studio.database.runs() == ([], 0)
    assert (strange / "config.json").read_text() == "{}"


def test_messages_name_no_folder_of_the_server(tmp_path):
    with Studio(StudioConfig(tmp_path / "a")) as studio:
        told = f"{studio.folder}/work/12/scene/Fox.glb: broken; see {studio.folder}/runs/x"
        assert studio.plain(told) == "Fox.glb: broken; see x"


def test_ids_are_plain_and_new():
    made = [new_id(label) for label in ("Fox.glb", "Füchsin 🦊", "../..", "", "x" * 200)]
    assert all(set(id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for id in made)
    assert len(set(made)) == 5
    assert max(map(len, made)) < 80
    # A batch asks for many runs of one scene in a second, and each id is chosen without a look at the others.
    assert re.fullmatch(r"fox-glb-\d{8}-\d{6}-[0-9a-f]{8}", made[0])


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MediaError, match="file"):
        Studio(StudioConfig(tmp_path / "file"))
