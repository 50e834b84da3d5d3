"""Nothing that is on by default depends on one model's size: networks of other shapes run it in bfloat16."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipelines import make_pipe
from scene.gltf_builder import one_triangle
from tiny_models import sd15_shaped_unet
from tiny_sdxl import sdxl_pipeline

from genrender.config import PRESETS
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip

# Everything that can be on is on, whatever the preset has: the lock, too.
DEFAULT = replace(PRESETS["balanced"], prompt="a red fox", n_steps=1, guidance_scale=3.0, lock=1.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    scene = load_scene(one_triangle().save(tmp_path_factory.mktemp("scene") / "triangle.glb"))
    return render_clip(scene, ShotConfig(size=(64, 64), n_frames=3, camera="orbit"))


@pytest.mark.parametrize("make", [lambda: make_pipe(sd15_shaped_unet()), sdxl_pipeline], ids=["sd15", "sdxl"])
def test_other_models_run_what_is_on_by_default_in_half_precision(
    make: Callable[[], Any], clip: Clip, tmp_path: Path
):
    pipeline = make()
    runs = []
    for dtype in (torch.float32, torch.bfloat16):
        folder = RunFolder(tmp_path / str(dtype))
        make_video(pipeline.to(dtype), clip, DEFAULT, folder)
        runs.append(np.stack(list(folder.frames())).astype(np.float32))
    full, half = runs
    assert full.std() > 5
    assert np.abs(half - full).mean() < 1
    assert np.abs(half - full).max() < 10
