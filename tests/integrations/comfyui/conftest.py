"""Starts the engine, where this is its process, and makes what its tests share."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import engine
import pytest
import torch

if engine.FOLDER in os.environ:
    engine.start()
    import tiny_checkpoints
    from families import Family, rendered

    tiny_checkpoints.register()

    @pytest.fixture(scope="session")
    def families(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Family]:
        """Tiny checkpoints by name, each loaded when it is first asked for."""
        return cache(lambda name: Family.load(name, tmp_path_factory.mktemp(name)))

    @pytest.fixture(scope="session", params=["sd15", "sdxl"])
    def family(request: pytest.FixtureRequest, families: Callable[[str], Family]) -> Family:
        """Each of them."""
        return families(request.param)

    @pytest.fixture(scope="session")
    def sd15(families: Callable[[str], Family]) -> Family:
        """For what does not depend on the family."""
        return families("sd15")

    @pytest.fixture(scope="session")
    def clip_and_depth() -> tuple[Any, torch.Tensor]:
        """A clip of five frames and its depth pictures, both of which stay as they are."""
        return rendered()
