"""A studio with its application, asked as a browser would ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from genrender.server.app import make_app
from genrender.server.guard import Access
from genrender.server.studio import JobLimits, Studio, StudioConfig
from genrender.server.uploads import UploadLimits

SCENES = Path(__file__).parents[2] / "examples" / "scenes"
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
    with TestClient(make_app(studio, Access()), HOST, raise_server_exceptions=False) as asking:
        yield asking


@pytest.fixture(scope="module")
def biped(client: TestClient) -> str:
    """The id of an uploaded scene."""
    data = (SCENES / "walking_biped.glb").read_bytes()
    answer = client.post("/api/scenes", files={"file": ("walking_biped.glb", data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
