"""Starts the engine, where this is its process, and makes what its tests share."""

import os

import engine
import pytest

if engine.FOLDER in os.environ:
    engine.start()
    import tiny_checkpoints
    from families import Family

    tiny_checkpoints.register()

    @pytest.fixture(scope="session", params=["sd15", "sdxl"])
    def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
        """A tiny checkpoint as ComfyUI and diffusers load it."""
        return Family.load(request.param, tmp_path_factory.mktemp(request.param))
