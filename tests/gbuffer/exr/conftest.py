"""What tests of EXR files compare with."""

from pathlib import Path

import pytest

from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

STILL_LIFE = Path(__file__).resolve().parents[3] / "examples" / "scenes" / "still_life.glb"


@pytest.fixture(scope="session")
def truth() -> list[GBuffer]:
    """Ray-cast G-buffers of six objects, two frames."""
    return list(render_clip(load_scene(STILL_LIFE), ShotConfig(size=(64, 48), times_s=(0.0, 0.5))).gbuffers)
