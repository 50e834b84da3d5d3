"""`genrender submit` and `genrender jobs` against a server that listens on this machine."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from server.scene_files import SCENES

from genrender.cli import main
from genrender.errors import ConfigError, MediaError
from genrender.server.app import make_app
from genrender.server.client import Client
from genrender.server.guard import Access
from genrender.server.serve import Place, _listening
from genrender.server.studio import Studio, StudioConfig

TOKEN = "a secret of eight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that a server in this process holds; it wants a token."""
    place, listener = tmp_path_factory.mktemp("studio"), _listening(Place(port=0))
    with Studio(StudioConfig(place), f"http://127.0.0.1:{listener.getsockname()[1]}") as studio:
        server = uvicorn.Server(
            uvicorn.Config(make_app(studio, Access(token=TOKEN)), log_level="error", ws="none")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield place
        server.should_exit = True
        thread.join()
    listener.close()


def call(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_run_is_asked_for_listed_and_stopped(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GENRENDER_TOKEN", TOKEN)
    camera = tmp_path / "camera.json"
    camera.write_text('{"eye": [0, 1, 4], "target": [0, 0.6, 0]}')
    scene = SCENES / "walking_biped.glb"
    words = ("--prompt", "a red biped", "--frames", 3, "--steps", 30, "--size", 32, "--camera", camera)
    code, out, _ = call(capsys, "submit", scene, *words, "--folder", folder)
    assert code == 0
    said = dict(line.split() for line in out.splitlines())
    code, out, _ = call(capsys, "jobs", "--folder", folder, "--json", "--search", "biped")
    found = json.loads(out)["runs"][0]
    assert (found["id"], found["scene"]["id"]) == (said["run"], said["scene"])
    assert found["changed"]["camera"] == {"eye": [0, 1, 4], "target": [0, 0.6, 0]}
    assert said["run"] in call(capsys, "jobs", "--folder", folder)[1]
    assert call(capsys, "jobs", "--folder", folder, "--cancel", said["run"])[0] == 0
    code, _, err = call(capsys, "jobs", "--folder", folder, "--wait", said["run"])
    assert (code, f"did not finish: it is stopped: genrender jobs --resume {said['run']} goes on" in err) == (
        2,
        True,
    )
    assert "brings it back" in call(capsys, "jobs", "--folder", folder, "--delete", said["run"])[1]
    assert call(capsys, "jobs", "--folder", folder, "--restore", said["run"])[1].endswith("is stopped\n")
    for name, state in (("delete", "deleted"), ("restore", "stopped")):
        _, out, _ = call(capsys, "jobs", "--folder", folder, f"--{name}", said["run"], "--json")
        told = json.loads(out)
        assert (told["id"], told["state"]) == (said["run"], state)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("jobs", "--token", "wrong"), "the token is missing or wrong"),
        (("submit", "none.glb", "--prompt", "x"), "scene file not found: none.glb"),
        (("submit", "no-scene", "--prompt", "x"), "there is no scene no-scene"),
        (
            ("submit", SCENES / "walking_biped.glb", "--prompt", "x", "--run-dir", "y"),
            "--run-dir cannot be sent",
        ),
        (
            ("submit", SCENES / "walking_biped.glb", "--prompt", "x", "--steps", "500"),
            "steps is 500, expected at most 200",
        ),
        (("jobs", "--cancel", "a", "--resume", "b"), "--cancel and --resume are given, expected one of them"),
        (("jobs", "--out", "x.mp4"), "--out is where --fetch puts a video: give --fetch RUN, too"),
        (("jobs", "--search", "fox", "--wait", "a"), "--search is of the list of runs, and --wait of one"),
        (("jobs", "--resume", "../x"), "there is no such address"),
        (("jobs", "--fetch", "nothing", "--out", "x.mp4"), "there is no run nothing"),
    ],
)
def test_what_goes_wrong_is_one_line(folder, capsys, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENRENDER_TOKEN", TOKEN)
    code, _, err = call(capsys, *words, "--folder", folder)
    assert (code, told in err, err.count("\n")) == (2, True, 1), err
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(MediaError, match="no server holds the folder"):
        Client.of_folder(tmp_path)
    with pytest.raises(MediaError, match="does not answer"):
        Client("http://127.0.0.1:9").ask("GET", "/api/about")
    with pytest.raises(ConfigError, match="expected an address such as"):
        Client("127.0.0.1:7860")
