"""A command line to call, a scene to show and a tiny model with random weights to show it with."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scene.gltf_builder import SQUARE, GltfBuilder
from tiny_models import tiny_components, tiny_unet

from genrender.cli import main
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.runs.folder import RunFolder

WORDS = ["a", "fox", "green", "red"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs `genrender` with the given words in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def make_model(folder: Path) -> Path:
    """A model that was trained on nothing, natively 64x64, and knows four words."""
    pipeline = GenerativeRenderingPipeline(**tiny_components(tiny_unet(sample_size=8)))
    pipeline.save_pretrained(folder)
    (folder / "vocabulary.json").write_text(json.dumps(WORDS))
    return folder


def make_card(path: Path) -> Path:
    """A card with texture coordinates that can slide (for a quarter of a second) or rise, and a camera."""
    builder = GltfBuilder()
    uvs = builder.accessor([[0, 1], [1, 1], [0, 0], [1, 0]])
    card = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], name="card", attributes={"TEXCOORD_0": uvs})
    node = builder.node(mesh=card, name="card")
    builder.animate("Slide", [(node, "translation", [0, 0.25], np.array([[0, 0, 0], [0.5, 0, 0]]), "LINEAR")])
    builder.animate("Rise", [(node, "translation", [0, 1], np.array([[0, 0, 0], [0, 1, 0]]), "LINEAR")])
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    builder.node(camera=0, name="Front", translation=[0.5, 0.5, 3])
    return builder.save(path)


def make_bare_card(path: Path) -> Path:
    """A card without texture coordinates and without animation."""
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3]), name="bare")
    return builder.save(path)


def frames(folder: Path) -> list[bytes]:
    """The finished pictures of a run, as they lie on the disk."""
    return [file.read_bytes() for file in RunFolder(folder).frame_files()]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `make_model`."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of `make_card`."""
    return make_card(tmp_path_factory.mktemp("scenes") / "card.glb")


@pytest.fixture(scope="session")
def bare_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of `make_bare_card`."""
    return make_bare_card(tmp_path_factory.mktemp("scenes") / "bare.glb")
