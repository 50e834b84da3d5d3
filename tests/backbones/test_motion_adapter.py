"""Motion modules by a recipe: from folders and from AnimateDiff's own files, into models that they fit."""

import re

import pytest
import torch
from diffusers import AnimateDiffControlNetPipeline, MotionAdapter
from safetensors.torch import save_file
from tiny_models import sliding_card, tiny_components, tiny_unet
from tiny_motion import tiny_adapter
from tiny_sources import save_sd, save_sdxl

from genrender.backbones.animatediff import AnimateDiff
from genrender.backbones.families import backbone_of
from genrender.backbones.loading import load_networks
from genrender.backbones.motion_adapter import read_motion_file
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import Recipe
from genrender.backbones.weight_files import Reading
from genrender.config import OURS
from genrender.errors import ModelError
from genrender.pipeline import load_pipeline
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.surface import ClipSurface

pytestmark = pytest.mark.usefixtures("no_network")


def loaded(base, adapter):
    return load_networks(Recipe(str(base), motion_adapter=str(adapter), device="cpu", precision="float32"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_sd(tmp_path_factory.mktemp("motion") / "sd")


def test_a_folder(model, tmp_path):
    tiny_adapter().save_pretrained(tmp_path / "adapter")
    networks = loaded(model, tmp_path / "adapter")
    assert isinstance(networks, AnimateDiffControlNetPipeline)
    assert isinstance(backbone_of(networks), AnimateDiff)
    expected = AnimateDiffControlNetPipeline(**tiny_components(), motion_adapter=tiny_adapter())
    ours, theirs = networks.unet.state_dict(), expected.unet.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # A second copy of the modules would only take memory.
    assert networks.motion_adapter is None


def test_the_noise_levels_are_those_that_motion_modules_were_trained_on(model, tmp_path):
    tiny_adapter().save_pretrained(tmp_path / "adapter")
    networks = loaded(model, tmp_path / "adapter")
    assert tiny_components()["scheduler"].config.beta_schedule == "scaled_linear"
    assert networks.scheduler.config.beta_schedule == "linear"
    assert networks.scheduler.config.beta_end == tiny_components()["scheduler"].config.beta_end


ORIGINAL_NAMES = {
    "attn1": "attention_blocks.0",
    "attn2": "attention_blocks.1",
    "norm1": "norms.0",
    "norm2": "norms.1",
    "norm3": "ff_norm",
}


def original_layout(adapter: MotionAdapter, n_places: int) -> dict[str, torch.Tensor]:
    """Names as AnimateDiff's own files have them, with the table of places that diffusers computes."""
    stored = {}
    for name, weights in adapter.state_dict().items():
        if name.endswith("pos_embed.pe"):
            continue
        key = re.sub(r"(motion_modules\.\d+)", r"\1.temporal_transformer", name)
        for ours, theirs in ORIGINAL_NAMES.items():
            key = key.replace(ours, theirs)
        stored[key] = weights.clone()
    first = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
    width = adapter.config.block_out_channels[0]
    stored[f"{first}.pos_encoder.pe"] = torch.zeros(1, n_places, width)
    return stored


@pytest.mark.parametrize("has_middle", [True, False])
def test_a_file_in_animatediffs_own_layout(tmp_path, has_middle):
    torch.manual_seed(8)
    adapter = MotionAdapter(
        block_out_channels=(32, 64), motion_max_seq_length=24, use_motion_mid_block=has_middle
    )
    file = tmp_path / "mm_sd.safetensors"
    stored = original_layout(adapter, 24)
    assert any("attention_blocks.1.to_q" in name for name in stored)
    save_file(stored, file)
    read = read_motion_file(file, Reading())
    assert read.config.motion_max_seq_length == 24
    ours, theirs = read.state_dict(), adapter.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_file_reaches_the_unet(tmp_path):
    torch.manual_seed(8)
    adapter = MotionAdapter(block_out_channels=(32, 64), motion_max_seq_length=24)
    file = tmp_path / "mm_sd.safetensors"
    save_file(original_layout(adapter, 24), file)
    unet = tiny_unet(
        block_out_channels=(32, 64), layers_per_block=2, norm_num_groups=32, attention_head_dim=8
    )
    networks = loaded(save_sd(tmp_path / "sd", unet), file)
    module = "mid_block.motion_modules.0.proj_in.weight"
    assert torch.equal(networks.unet.state_dict()[module], adapter.state_dict()[module])
    assert networks.unet.config.motion_max_seq_length == 24


def test_what_does_not_fit_is_refused_in_one_line(model, tmp_path):
    MotionAdapter(
        block_out_channels=(8, 8, 16), motion_norm_num_groups=4, motion_num_attention_heads=2
    ).save_pretrained(tmp_path / "levels")
    MotionAdapter(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
    ).save_pretrained(tmp_path / "widths")
    for name in ("levels", "widths"):
        with pytest.raises(
            ModelError, match=r"motion adapter .*does not fit the model's UNet.*made for this"
        ):
            loaded(model, tmp_path / name)
    tiny_adapter().save_pretrained(tmp_path / "adapter")
    with pytest.raises(
        ModelError, match=r"into models of Stable Diffusion 1\.x, and this is a StableDiffusionXL"
    ):
        loaded(save_sdxl(tmp_path / "sdxl"), tmp_path / "adapter")


def test_a_model_that_takes_guidance_as_an_input_has_no_place_for_them(tmp_path):
    tiny_adapter().save_pretrained(tmp_path / "adapter")
    distilled = save_sd(tmp_path / "lcm")
    tiny_unet(time_cond_proj_dim=8).save_pretrained(distilled / "unet")
    with pytest.raises(ModelError, match="does not take guidance as an input"):
        loaded(distilled, tmp_path / "adapter")


def test_the_front_door_is_the_same(model, tmp_path):
    tiny_adapter().save_pretrained(tmp_path / "adapter")
    recipe = Recipe(str(model), motion_adapter=str(tmp_path / "adapter"), device="cpu", precision="float32")
    front = load_pipeline(recipe)
    front.set_progress_bar_config(disable=True)
    clip = sliding_card(3, 48, 64)
    called = front("a fox", clip, seed=2, num_inference_steps=2, guidance_scale=5.0, output_type="latent")
    backbone = backbone_of(load_networks(recipe))
    surface = ClipSurface(clip, backbone.vae_factor, OURS, 2, backbone.device)
    asked = Conditions("a fox", guidance_scale=5.0)
    expected = sample(backbone, asked, surface, OURS, SamplingConfig(2, seed=2))
    assert torch.equal(called.latents, expected[range(3)])


def test_files_that_are_no_motion_modules(model, tmp_path):
    (tmp_path / "mm.ckpt").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="pickle"):
        loaded(model, tmp_path / "mm.ckpt")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no whole safetensors file"):
        loaded(model, tmp_path / "broken.safetensors")
    save_file({"unet.weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match="holds no motion modules"):
        loaded(model, tmp_path / "lora.safetensors")
    stored = original_layout(MotionAdapter(block_out_channels=(32, 64)), 24)
    stored.pop(next(name for name in stored if name.startswith("up_blocks")))
    save_file(stored, tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match="lacks the weights up_blocks"):
        loaded(model, tmp_path / "cut.safetensors")
