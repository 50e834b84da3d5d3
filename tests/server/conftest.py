"""A studio with its application, asked as a browser would ask it."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from server.scene_files import SCENES
from starlette.testclient import TestClient

from genrender.server import answers
from genrender.server.app import make_app
from genrender.server.guard import Access
from genrender.server.studio import JobLimits, Studio, StudioConfig
from genrender.server.uploads import UploadLimits

HOST = "http://127.0.0.1"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio of the module's own, of small limits."""
    limits = JobLimits(frames=100, side=256, steps=30, queued=3)
    config = StudioConfig(
        tmp_path_factory.mktemp("studio") / "folder", jobs=limits, uploads=UploadLimits(2_000_000, 40)
    )
    with Studio(config) as made:
        yield made


@pytest.fixture(scope="module")
def client(studio: Studio) -> Iterator[TestClient]:
    """Who asks it, from this machine."""
    app = make_app(studio, Access())
    with TestClient(app, HOST, raise_server_exceptions=False) as asking:
        described = asking.get("/api/openapi.json").json()
        asking.event_hooks["response"] = [partial(check_described, described)]
        yield asking


def check_described(described: dict[str, Any], answer: Any) -> None:
    """Every answer has the form that the API's description tells of it."""
    answer.read()
    path, method = answer.request.url.path, answer.request.method.lower()
    for template, told in described["paths"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if not re.fullmatch(pattern, path) or method not in told:
            continue
        wanted = told[method]["responses"].get(str(answer.status_code), {})
        if "schema" in (form := wanted.get("content", {}).get("application/json", {})) and form["schema"]:
            name = form["schema"].get("$ref", "").rpartition("/")[2]
            if model := getattr(answers, name, None):
                model.model_validate(answer.json())


@pytest.fixture(scope="module")
def biped(client: TestClient) -> str:
    """The id of an uploaded scene."""
    data = (SCENES / "walking_biped.glb").read_bytes()
    answer = client.post("/api/scenes", files={"file": ("walking_biped.glb", data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
