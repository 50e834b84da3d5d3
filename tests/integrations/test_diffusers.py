"""The folders that diffusers loads from disk as it would from a hub: equal to our own pipelines."""

from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.modular_pipelines.modular_pipeline import ModularPipelineBlocks
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from tiny_adapters import save_ip_adapter, tiny_image_encoder
from tiny_models import sliding_card, tiny_components
from tiny_sdxl import sdxl_pipeline
from transformers import CLIPImageProcessor

from genrender.blocks import GenerativeRenderingBlock, GenerativeRenderingXLBlock
from genrender.config import ControlKind, MethodConfig
from genrender.gbuffer.control import depth_control, inverse_depth_range
from genrender.pipeline import GenerativeRenderingPipeline, GenerativeRenderingXLPipeline
from genrender.sampling.appearance import Appearance

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
    pipe: Any = DiffusionPipeline.from_pretrained(
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
    pipe = blocks.init_pipeline()
    pipe.update_components(**components)
    inputs = {"prompt": "a red fox", "gbuffers": CLIP, "negative_prompt": "blurry", **CALL}
    np.testing.assert_array_equal(pipe(**inputs, output="frames"), expected)
    # Settings of the method go through.
    other = pipe(**inputs, config=MethodConfig(), output="frames")
    assert np.abs(other - expected).max() > 1e-4
    with pytest.raises(ValueError, match="gbuffers"):
        pipe(prompt="a red fox")


def test_a_block_reads_pictures_by_ip_adapters(tmp_path, family, components):
    """What the model has, loaded by the block itself; adapter and encoder by diffusers' own loader."""
    own = FAMILIES[family][0](**components)
    own.save_pretrained(tmp_path / "model")
    save_ip_adapter(tmp_path / "adapter.safetensors", own.unet)
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDERS / family), trust_remote_code=True)
    pipe = blocks.init_pipeline(str(tmp_path / "model"))
    pipe.load_components()
    side = {"height": 32, "width": 32}
    pipe.update_components(
        image_encoder=tiny_image_encoder(), feature_extractor=CLIPImageProcessor(size=side, crop_size=side)
    )
    parts = {name: part for name, part in pipe.components.items() if part is not None}
    adapted = FAMILIES[family][0](**parts)
    adapted.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="adapter.safetensors", image_encoder_folder=None
    )
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    made = pipe(prompt="a red fox", gbuffers=CLIP, ip_adapter_image=picture, **CALL, output="frames")
    expected = adapted("a red fox", CLIP, ip_adapter_image=picture, **CALL).frames
    np.testing.assert_array_equal(made, expected)
    assert np.abs(made - own("a red fox", CLIP, **CALL).frames).max() > 1e-4


def borrowed() -> Appearance:
    """A frame of another run, as its file keeps it."""
    drawn = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    control: dict[ControlKind, np.ndarray] = {"depth": depth_control(CLIP)[:1, ..., None].astype(np.float32)}
    return Appearance(drawn[:2], drawn[2], control, (CLIP[0],), (0,), inverse_depth_range(CLIP))


@pytest.mark.parametrize(
    "asked",
    [
        {"prompts_at": ((2, "a blue dog"),)},
        {"control_kinds": ("segmentation",)},
        {"appearance": borrowed(), "config": MethodConfig()},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_a_block_passes_on_what_its_pipeline_takes(family, components, asked):
    blocks = {"stable_diffusion": GenerativeRenderingBlock, "stable_diffusion_xl": GenerativeRenderingXLBlock}
    pipe = blocks[family]().init_pipeline()
    pipe.update_components(**components)
    own = FAMILIES[family][0](**components)
    usual = own("a red fox", CLIP, **CALL, **{key: asked[key] for key in asked if key == "config"}).frames
    expected = own("a red fox", CLIP, **CALL, **asked).frames
    made = pipe(prompt="a red fox", gbuffers=CLIP, **CALL, **asked, output="frames")
    np.testing.assert_array_equal(made, expected)
    assert np.abs(made - usual).max() > 1e-4


def test_a_block_has_every_input_of_its_pipeline(family):
    call = signature(FAMILIES[family][0].__call__).parameters
    names = {str(one.name) for one in GenerativeRenderingBlock().inputs}
    assert set(call) - {"self", "keywords"} <= names


def test_the_stored_settings_are_what_the_block_says(tmp_path, family):
    blocks = ModularPipelineBlocks.from_pretrained(str(FOLDERS / family), trust_remote_code=True)
    blocks.save_pretrained(tmp_path)
    stored = (FOLDERS / family / "modular_config.json").read_text().splitlines()
    written = (tmp_path / "modular_config.json").read_text().splitlines()
    assert [line for line in stored if "_diffusers_version" not in line] == [
        line for line in written if "_diffusers_version" not in line
    ]
