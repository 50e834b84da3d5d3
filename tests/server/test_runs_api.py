"""A run from its request to its deletion, and what can be had of it, as the page asks for it."""

import io
import json
import shutil
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from server.scene_files import SCENES

from genrender.gbuffer.exr.frame import read_exr
from genrender.media.video import read_comment, read_video
from genrender.runs.told import read_told
from genrender.server import answers
from genrender.server.studio import Studio, StudioConfig

JOB = {"prompt": "a red biped", "frames": 3, "steps": 8, "size": "32", "seed": 3}


def wait_for(client, run, is_so, timeout_s=90.0):
    ends_s = time.monotonic() + timeout_s
    while not is_so(told := client.get(f"/api/runs/{run}").json()):
        assert time.monotonic() < ends_s, told
        time.sleep(0.01)
    return told


@pytest.fixture(scope="module")
def run(client, biped) -> str:
    """A finished run, which was cancelled in the middle and resumed."""
    made = client.post("/api/runs", json={"scene": biped, "settings": JOB}).json()
    assert (made["state"], made["n_frames"]) == ("waiting", 3)
    id = made["id"]
    wait_for(
        client,
        id,
        lambda told: (told["progress"] or {}).get("work") == "diffusion" and told["progress"]["done"] > 1,
    )
    assert client.delete(f"/api/runs/{id}").status_code == 409
    assert client.delete(f"/api/scenes/{biped}").status_code == 409
    assert client.post(f"/api/runs/{id}/cancel").status_code == 200
    told = wait_for(client, id, lambda told: told["state"] != "running")
    assert (told["state"], told["can_resume"], told["keeps_steps"]) == ("stopped", True, True)
    assert client.get(f"/api/runs/{id}/frames.zip").status_code == 409
    assert client.post(f"/api/runs/{id}/resume").json()["state"] == "waiting"
    told = wait_for(client, id, lambda told: told["state"] not in ("waiting", "running"))
    assert (told["state"], told["error"]) == ("finished", None)
    return id


def test_the_files_of_a_run_are_those_of_its_folder(studio, client, run):
    folder = studio.runs / run
    for name in ("video.mp4", "contact_sheet.png", "config.json"):
        assert client.get(f"/api/runs/{run}/{name}").content == (folder / name).read_bytes()
    part = client.get(f"/api/runs/{run}/video.mp4", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, (folder / "video.mp4").read_bytes()[10:20])
    assert client.get(f"/api/runs/{run}/frames/2.png").content == (folder / "frames/00002.png").read_bytes()
    assert client.get(f"/api/runs/{run}/frames/3.png").status_code == 404
    assert client.get(f"/api/runs/{run}/preview.png").status_code == 404
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"/api/runs/{run}/frames.zip").content))
    assert packed.read("00002.png") == (folder / "frames/00002.png").read_bytes()
    whole = zipfile.ZipFile(io.BytesIO(client.get(f"/api/runs/{run}/run.zip").content))
    assert {"config.json", "video.mp4", "frames/00000.png"} < set(whole.namelist())
    assert list((studio.folder / "work").iterdir()) == []


def test_what_the_model_was_given_can_be_seen_and_had(client, run, tmp_path):
    shown = {
        kind: np.asarray(Image.open(io.BytesIO(client.get(f"/api/runs/{run}/{kind}/1.png").content)))
        for kind in ("depth", "uv", "objects")
    }
    assert {picture.shape for picture in shown.values()} == {(32, 32, 3)}
    assert client.get(f"/api/runs/{run}/depth/3.png").status_code == 404
    assert client.get(f"/api/runs/{run}/normals/1.png").status_code == 422
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"/api/runs/{run}/exr.zip").content))
    packed.extract("frame_0001.exr", tmp_path)
    gbuffer = read_exr(tmp_path / "frame_0001.exr")
    assert (gbuffer.visible == shown["objects"].any(axis=2)).all()


@pytest.mark.parametrize(
    "brought",
    ["video.mp4", "contact_sheet.png", "config.json", "frames/1.png?download=1", "frames/1.png", "run.zip"],
)
def test_every_result_tells_what_it_was_made_with(client, run, biped, brought):
    data = client.get(f"/api/runs/{run}/{brought}").content
    name = brought.partition("?")[0].replace("/", "-")
    told = client.post("/api/recover", files={"file": (name, data)})
    assert told.status_code == 200, told.text
    assert told.json() == {"scene": biped, "run": run, "settings": JOB, "notes": []}


def test_settings_of_elsewhere_come_without_its_files(studio, client, biped, run):
    record = json.loads((studio.runs / run / "config.json").read_text())
    record["command"] += ["--camera=/home/x/camera.json", "--ip-image", "/home/x/look.png", "--seed=9"]
    told = client.post("/api/recover", files={"file": ("config.json", json.dumps(record))}).json()
    assert (told["scene"], told["run"], told["settings"]) == (biped, None, JOB | {"seed": 9})
    assert len(told["notes"]) == 2
    made = client.post(
        "/api/check",
        json={"scene": biped, "settings": JOB | {"camera": {"eye": [0, 1, 4], "target": [0, 0.6, 0]}}},
    )
    assert made.json()["error"] is None
    file = next((studio.folder / "cameras").iterdir())
    record["command"][-3:] = [f"--appearance-from={studio.runs / run}"]
    record["command"][-2] = f"--camera={file}"
    told = client.post("/api/recover", files={"file": ("config.json", json.dumps(record))}).json()
    assert told["settings"]["camera"] == {"eye": [0, 1, 4], "target": [0, 0.6, 0]}
    assert (told["settings"]["appearance_from"], told["notes"]) == (run, [])


def test_a_downloaded_frame_has_the_same_pixels(client, run):
    plain, told = (
        client.get(f"/api/runs/{run}/frames/0.png{query}").content for query in ("", "?download=1")
    )
    assert (np.asarray(Image.open(io.BytesIO(plain))) == np.asarray(Image.open(io.BytesIO(told)))).all()
    assert len(told) > len(plain)


def test_a_video_tells_no_folder_of_whoever_made_it(studio, run):
    comment = read_comment(studio.runs / run / "video.mp4")
    assert read_told(comment).scene == "walking_biped.glb"
    assert str(studio.folder) not in comment
    assert len(read_video(studio.runs / run / "video.mp4")[0]) == 3


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.mp4", b"no video"),
        ("a.png", b"no picture"),
        ("a.json", b"{}"),
        ("a.zip", b"PK"),
        ("a.txt", b"x"),
        ("a", b""),
    ],
)
def test_files_that_tell_of_no_run_are_told(client, name, data):
    answer = client.post("/api/recover", files={"file": (name, data)})
    assert (answer.status_code, set(answer.json())) == (422, {"error", "field"})


def test_a_run_may_be_asked_for_again_with_changes(client, run, biped):
    assert client.get(f"/api/runs/{run}/settings").json() == {"scene": biped, "settings": JOB}
    told = client.post(
        "/api/check", json={"from": run, "settings": {"seed": 4, "prompt": "a blue biped"}}
    ).json()
    assert (told["error"], told["n_frames"]) == (None, 3)
    assert told["seconds"] > 0  # from the run that was made
    assert told["text"].startswith("about ")
    lent = client.post(
        "/api/check", json={"from": run, "settings": {"appearance_from": run, "animation": "Dance"}}
    )
    assert lent.json()["error"] is None
    assert client.post("/api/check", json={"settings": JOB}).json()["field"] == "scene"


def test_figures_and_faults_are_measured_and_kept(client, run):
    told = client.post(f"/api/runs/{run}/metrics").json()
    assert client.get(f"/api/runs/{run}/metrics").json() == told
    rows = {row["key"]: row for row in told["table"]}
    assert rows["surface_error.1"]["value"] == told["metrics"]["surface_error"]["1"]
    assert rows["surface_error.1"]["better"] == "less"
    found = client.post(f"/api/runs/{run}/diagnose").json()["symptoms"]
    assert [one["name"] for one in found] == ["flicker", "texture sticking", "blur", "colour drift"]
    changes = [change for one in found for change in one["changes"]]
    assert changes
    for change in changes:
        checked = client.post("/api/check", json={"from": run, "settings": change["settings"]}).json()
        assert checked["error"] is None, change


def test_a_run_is_named_found_deleted_and_restored(studio, client, run):
    told = client.post(f"/api/runs/{run}/name", json={"name": "my <b>fox</b>"}).json()
    assert told["name"] == "my <b>fox</b>"
    assert [one["id"] for one in client.get("/api/runs?search=BIPED my").json()["runs"]] == [run]
    assert client.get("/api/runs?search=dragon").json()["runs"] == []
    assert client.delete(f"/api/runs/{run}").status_code == 204
    assert client.get("/api/runs").json()["total"] == 0
    assert [one["id"] for one in client.get("/api/runs?state=deleted").json()["runs"]] == [run]
    assert not (studio.runs / run).exists()
    assert client.delete(f"/api/runs/{run}").status_code == 409
    assert client.post(f"/api/runs/{run}/restore").json()["state"] == "finished"
    assert client.get(f"/api/runs/{run}/video.mp4").status_code == 200
    for wrong in ("resume", "cancel", "restore"):
        assert client.post(f"/api/runs/{run}/{wrong}").status_code == 409


def test_events_begin_with_now_and_end_with_the_run(client, run):
    lines = client.get(f"/api/runs/{run}/events").text.splitlines()
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [one["state"] for one in told] == ["finished"]


def test_a_queue_takes_so_many_and_no_more_and_gives_them_back(client, biped):
    # The first of these is taken up at once.
    asked = [
        client.post("/api/runs", json={"scene": biped, "settings": JOB | {"steps": 30}}) for _ in range(6)
    ]
    assert [one.status_code for one in asked][:3] == [201] * 3
    full = next(one for one in asked if one.status_code != 201)
    assert (full.status_code, "runs wait already" in full.json()["error"]) == (429, True)
    taken = [one.json()["id"] for one in asked if one.status_code == 201]
    for id in reversed(taken):
        assert client.post(f"/api/runs/{id}/cancel").status_code == 200
        told = wait_for(client, id, lambda told: told["state"] == "stopped")
        assert told["can_resume"]
        assert client.delete(f"/api/runs/{id}").status_code == 204


def test_answers_about_runs_have_the_form_that_is_described(client, run):
    for answer, form in (
        (client.get(f"/api/runs/{run}"), answers.Run),
        (client.get("/api/runs"), answers.Runs),
        (client.get(f"/api/runs/{run}/settings"), answers.Asked),
        (client.post(f"/api/runs/{run}/metrics"), answers.Metrics),
        (client.post(f"/api/runs/{run}/diagnose"), answers.Diagnosis),
    ):
        form.model_validate(answer.json())


def test_runs_are_found_again_without_their_database(studio, run, tmp_path):
    shutil.copytree(studio.runs / run, tmp_path / "runs" / run)
    with Studio(StudioConfig(tmp_path)) as other:
        found = other.database.run(run)
        assert (found.state, found.settings, found.scene_name) == ("finished", JOB, "walking_biped.glb")
        assert found.shape == {"n_frames": 3, "fps": 24, "width": 32, "height": 32, "steps": 8}


def test_a_finished_run_gets_files_for_compositors(studio, client, run):
    def asked(**wish):
        return client.post(f"/api/runs/{run}/finish", json=wish)

    assert client.get(f"/api/runs/{run}/also/alpha.zip").status_code == 404
    assert asked().status_code == 422
    assert "there is no 'tiff'" in asked(also=["tiff"]).json()["error"]
    refused = asked(upscale="/etc").json()
    assert (refused["field"], "expected one of none" in refused["error"]) == ("upscale", True)
    waiting = asked(also=["alpha", "prores"]).json()
    assert (waiting["state"], waiting["has_video"], waiting["also"]) == ("waiting", True, [])
    # What waits can be taken back, and the video is a result all the while.
    assert client.get(f"/api/runs/{run}/frames.zip").status_code == 200
    told = wait_for(client, run, lambda told: told["state"] == "finished")
    assert (told["error"], told["also"]) == (None, ["alpha", "prores"])
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"/api/runs/{run}/also/alpha.zip").content))
    assert packed.namelist() == [f"{frame:05d}.png" for frame in range(3)]
    for frame in range(3):
        assert packed.read(f"{frame:05d}.png") == (studio.runs / run / f"alpha/{frame:05d}.png").read_bytes()
    video = client.get(f"/api/runs/{run}/also/prores.mov")
    assert video.content == (studio.runs / run / "prores.mov").read_bytes()
    assert video.headers["content-disposition"].endswith('prores.mov"')


def test_files_that_cannot_be_made_leave_a_result(studio, client, biped, run):
    entry = studio.database.run(run)
    moved = studio.scenes / biped / "moved"
    scene = studio.scene_path(studio.database.scene(entry.scene))
    scene.rename(moved)
    try:
        client.post(f"/api/runs/{run}/finish", json={"also": ["mattes"]})
        told = wait_for(client, run, lambda told: told["state"] not in ("waiting", "running"))
    finally:
        moved.rename(scene)
    assert (told["state"], told["has_video"], "mattes" in told["also"]) == ("finished", True, False)
    assert "scene file not found" in told["error"]


def test_a_sheet_of_seeds_comes_before_a_video(client, biped):
    asked = {"scene": biped, "settings": {**JOB, "seeds": "4-5"}}
    refused = client.post("/api/runs", json={**asked, "settings": {**JOB, "seeds": "5-4"}}).json()
    assert (refused["field"], refused["error"][:5]) == ("seeds", "seeds")
    made = client.post("/api/runs", json=asked).json()
    assert (made["seeds"], made["changed"]) == ("4-5", JOB)
    told = wait_for(client, made["id"], lambda told: told["state"] not in ("waiting", "running"))
    assert (told["state"], told["has_video"]) == ("finished", False)
    sheet = Image.open(io.BytesIO(client.get(f"/api/runs/{made['id']}/seeds.png").content))
    assert sheet.height > 2 * 192
    assert client.post(f"/api/runs/{made['id']}/metrics").status_code == 409
    assert client.post(f"/api/runs/{made['id']}/finish", json={"also": ["alpha"]}).status_code == 409
    video = client.post("/api/runs", json={"from": made["id"], "settings": {"seed": 5}}).json()
    assert (video["seeds"], video["seed"]) == (None, 5)
    client.post(f"/api/runs/{video['id']}/cancel")


def test_a_scene_of_a_run_that_is_gone_is_told(client, run):
    data = (SCENES / "walking_biped.glb").read_bytes()
    other = client.post("/api/scenes", files={"file": ("other.glb", data)}).json()["id"]
    assert client.delete(f"/api/scenes/{other}").status_code == 204
    answer = client.post("/api/runs", json={"scene": other, "from": run, "settings": {}})
    assert (answer.status_code, answer.json()["error"][:17]) == (404, "there is no scene")
