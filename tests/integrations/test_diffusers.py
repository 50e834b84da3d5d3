"""The folders that diffusers loads from disk as it would from a hub: equal to our own pipelines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import DiffusionPipeline
from diffusers.modular_pipelines import ModularPipelineBlocks
from tiny_models import sliding_card, tiny_components
from tiny_sdxl import sdxl_pipeline

from genrender.config import MethodConfig
from genrender.pipeline import GenerativeRenderingPipeline, GenerativeRenderingXLPipeline

FOLDERS = Path(__file__).parents[2] / "integrations" / "diffusers"
FAMILIES = {
    "stable_diffusion": (GenerativeRenderingPipeline, tiny_components),
    "stable_diffusion_xl": (GenerativeRenderingXLPipeline, lambda: sdxl_pipeline().components),
}
CLIP = sliding_card(3, 64, 64)
CALL: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 4.0, "seed": 3}


@pytest.fixture(autouse=True)
def modules_of_this_test(tmp_path, monkeypatch):
    """Diffusers copies code that it loads."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture
def components(family) -> dict[str, Any]:
    made = FAMILIES[family][1]()
    return {name: part for name, part in made.items() if part is not None and not isinstance(part, bool)}


@pytest.fixture
def expected(family, components) -> np.ndarray:
    pipe = FAMILIES[family][0](**components)
    return pipe("a red fox", CLIP, negative_prompt="blurry", **CALL).frames


def test_a_model_is_loaded_with_the_custom_pipeline(tmp_path, family, components, expected):
    FAMILIES[family][0](**components).save_pretrained(tmp_path / "model")
    pipe = DiffusionPipeline.from_pretrained(
        tmp_path / "model",
        custom_pipeline=str(FOLDERS / family),
        trust_remote_code=True,
        use_safetensors=True,
    )
    assert isinstance(pipe, FAMILIES[family][0])
    frames = pipe("a red fox", CLIP, negative_prompt="blurry", **CALL).frames
    np.testing.assert_array_equal(frames, expected)


def test_blocks_are_loaded_and_make_a_modular_pipeline(family, components, expected):
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDERS / family), trust_remote_code=True)
    assert {one.name for one in blocks.expected_components} <= set(components)
    pipe = blocks.init_pipeline()
    pipe.update_components(**{one.name: components[one.name] for one in blocks.expected_components})
    inputs = {"prompt": "a red fox", "gbuffers": CLIP, "negative_prompt": "blurry", **CALL}
    np.testing.assert_array_equal(pipe(**inputs, output="frames"), expected)
    # Settings of the method go through.
    other = pipe(**inputs, config=MethodConfig(), output="frames")
    assert np.abs(other - expected).max() > 1e-4
    with pytest.raises(ValueError, match="gbuffers"):
        pipe(prompt="a red fox")


def test_the_stored_settings_are_what_the_block_says(tmp_path, family):
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDERS / family), trust_remote_code=True)
    blocks.save_pretrained(tmp_path)
    stored = (FOLDERS / family / "modular_config.json").read_text().splitlines()
    written = (tmp_path / "modular_config.json").read_text().splitlines()
    assert [line for line in stored if "_diffusers_version" not in line] == [
        line for line in written if "_diffusers_version" not in line
    ]
