"""Models, ControlNets and autoencoders that come as one file: the same weights as in folders, all offline."""

import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel
from original_layout import (
    open_clip,
    original_clip,
    original_controlnet,
    original_unet,
    original_vae,
    under,
)
from pipelines import tiny_autoencoder
from safetensors.torch import load_file, save_file
from tiny_models import tiny_controlnet, tiny_scheduler, tiny_unet, tiny_vae
from tiny_sdxl import SDXL_UNET
from tiny_sources import same_weights
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from genrender.backbones import single_file
from genrender.backbones.clip_words import clip_tokenizer
from genrender.backbones.families import SD1, SD2, SDXL
from genrender.backbones.loading import load_networks
from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.single_file import Header, file_family, file_settings, read_header
from genrender.backbones.sources import find_model
from genrender.errors import ModelError

pytestmark = pytest.mark.usefixtures("no_network")

WIDTHS = {"SD1": 768, "SD2": 1024, "SDXL": 2048}


def clip(width: int, seed: int, kind=CLIPTextModel):
    torch.manual_seed(seed)
    act = "quick_gelu" if width == 768 else "gelu"
    config = CLIPTextConfig(
        vocab_size=100,
        hidden_size=width,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=width,
        hidden_act=act,
        architectures=[kind.__name__],
    )
    return kind(config).eval()


def networks_of(family: str) -> dict:
    """Tiny networks that read text of the family's width."""
    if family != "SDXL":
        unet = tiny_unet(cross_attention_dim=WIDTHS[family], use_linear_projection=family == "SD2")
        return {"unet": unet, "vae": tiny_vae(), "text_encoder": clip(WIDTHS[family], 7)}
    settings = SDXL_UNET | {
        "cross_attention_dim": 2048,
        "projection_class_embeddings_input_dim": 1280 + 6 * SDXL_UNET["addition_time_embed_dim"],
    }
    return {
        "unet": tiny_unet(**settings),
        "vae": tiny_vae(),
        "text_encoder": clip(768, 7),
        "text_encoder_2": clip(1280, 8, CLIPTextModelWithProjection),
    }


def write_model(path: Path, family: str, networks: dict, leave_out: str = "") -> Path:
    weights = under("model.diffusion_model.", original_unet(networks["unet"]))
    weights |= under("first_stage_model.", original_vae(networks["vae"]))
    text = networks["text_encoder"]
    if family == "SD1":
        weights |= under("cond_stage_model.transformer.", original_clip(text))
    elif family == "SD2":
        weights |= under("cond_stage_model.model.", open_clip(text, 2))
    else:
        weights |= under("conditioner.embedders.0.transformer.", original_clip(text))
        weights |= under("conditioner.embedders.1.model.", open_clip(networks["text_encoder_2"], 2))
    if leave_out:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(leave_out)}
    save_file(weights, path)
    return path


@pytest.fixture
def tiny_settings(tmp_path, monkeypatch):
    """Packaged settings of tiny models in place of the real ones, and a writer of these models."""

    def write(family: str) -> dict:
        networks = networks_of(family)
        folder = tmp_path / "configs" / family.lower()
        for part, network in (*networks.items(), ("controlnet", tiny_controlnet(networks["unet"]))):
            (folder / part).mkdir(parents=True)
            network.config.to_json_file(folder / part / "config.json") if "text" in part else (
                network.save_config(folder / part)
            )
        tiny_scheduler().save_config(folder / "scheduler")
        networks["controlnet"] = tiny_controlnet(networks["unet"])
        networks["controlnet"].save_pretrained(tmp_path / "controlnet")
        return networks

    monkeypatch.setattr(single_file, "CONFIGS", tmp_path / "configs")
    return write


def loaded(path: Path, **asked):
    controls = (Control(source=str(path.parent / "controlnet")),)
    given = {"precision": "float32", "controls": controls} | asked
    return load_networks(Recipe(str(path), device="cpu", **given))


@pytest.mark.parametrize("family", WIDTHS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_models_file_gives_the_weights_that_were_written(
    tmp_path, tiny_settings, family, precision, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    networks = tiny_settings(family)
    path = write_model(tmp_path / "model.safetensors", family, networks)
    found = loaded(path, precision=precision)
    for part, network in networks.items():
        made = getattr(found, part)
        assert same_weights(made, network, 0.0 if precision == "float32" else 0.02), part
        assert not made.training
        assert made.dtype == getattr(torch, precision)
    assert found.name_or_path == str(path)
    assert "float32" not in caplog.text
    assert found.tokenizer("fox").input_ids == [49406, 3240, 49407]


def test_early_files_of_stable_diffusion_1_call_the_text_encoder_otherwise(tmp_path, tiny_settings):
    networks = tiny_settings("SD1")
    write_model(tmp_path / "model.safetensors", "SD1", networks)
    weights = load_file(tmp_path / "model.safetensors")
    old = {name.replace(".text_model.", "."): tensor for name, tensor in weights.items()}
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "old.safetensors")
    assert same_weights(loaded(tmp_path / "old.safetensors").text_encoder, networks["text_encoder"])


@pytest.mark.parametrize("family", WIDTHS)
@pytest.mark.parametrize("is_original", [True, False])
def test_a_controlnets_file(tmp_path, tiny_settings, family, is_original):
    networks = tiny_settings(family)
    path = write_model(tmp_path / "model.safetensors", family, networks)
    weights = networks["controlnet"].state_dict()
    if is_original:
        weights = under("control_model.", original_controlnet(networks["controlnet"]))
    save_file(weights, tmp_path / "control.safetensors")
    if is_original and family == "SDXL":
        with pytest.raises(ModelError, match="in its authors' layout, expected diffusers'"):
            loaded(path, controls=(Control(source=str(tmp_path / "control.safetensors")),))
        return
    found = loaded(path, controls=(Control(source=str(tmp_path / "control.safetensors")),))
    assert same_weights(found.controlnet, networks["controlnet"])


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_an_autoencoders_file(tmp_path, tiny_settings, prefix):
    networks = tiny_settings("SD1")
    path = write_model(tmp_path / "model.safetensors", "SD1", networks, leave_out="first_stage_model.")
    with pytest.raises(ModelError, match="it holds no autoencoder, expected one: give --vae"):
        loaded(path)
    other = tiny_vae()
    torch.nn.init.ones_(other.post_quant_conv.weight)
    save_file(under(prefix, original_vae(other)), tmp_path / "vae.safetensors")
    assert same_weights(loaded(path, vae=str(tmp_path / "vae.safetensors")).vae, other)
    tiny_autoencoder().save_pretrained(tmp_path / "tiny")
    with pytest.raises(ModelError, match="it holds no autoencoder, expected one of Stable Diffusion's"):
        loaded(path, vae=str(tmp_path / "tiny" / "diffusion_pytorch_model.safetensors"))


def test_a_file_without_its_text_encoder_is_refused(tmp_path, tiny_settings):
    path = write_model(tmp_path / "m.safetensors", "SDXL", tiny_settings("SDXL"), "conditioner.embedders.1.")
    with pytest.raises(ModelError, match="the refiner of Stable Diffusion XL"):
        loaded(path)


def test_a_file_that_lacks_weights_is_refused(tmp_path, tiny_settings):
    lacking = "model.diffusion_model.middle_block.0.in_layers.2"
    path = write_model(tmp_path / "m.safetensors", "SD1", tiny_settings("SD1"), lacking)
    with pytest.raises(ModelError, match=r"m\.safetensors: it lacks weights of its unet") as caught:
        loaded(path)
    assert "\n" not in str(caught.value)


def header(shapes: dict, metadata: dict | None = None, path: Path = Path("m.safetensors")) -> Header:
    return Header(path, shapes, dict.fromkeys(shapes, "F16"), metadata or {})


UNET = "model.diffusion_model."


def unet_shapes(width: int, n_channels: int = 4) -> dict:
    return {
        f"{UNET}input_blocks.0.0.weight": (320, n_channels, 3, 3),
        f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (320, width),
        f"{UNET}out.2.weight": (4, 320, 3, 3),
    }


CLIP_1 = {"cond_stage_model.transformer.text_model.final_layer_norm.bias": (768,)}
CLIP_2 = {"cond_stage_model.model.ln_final.bias": (1024,)}
CLIP_XL = {
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias": (768,),
    "conditioner.embedders.1.model.ln_final.bias": (1280,),
}
LABELS = {f"{UNET}label_emb.0.0.weight": (1280, 2816)}


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        (unet_shapes(768) | CLIP_1, SD1),
        (unet_shapes(1024) | CLIP_2, SD2),
        (unet_shapes(2048) | CLIP_XL | LABELS, SDXL),
    ],
)
def test_the_family_is_told_by_names_and_shapes(shapes, family):
    assert file_family(header(shapes)) is family


REFINER = {"conditioner.embedders.0.model.ln_final.bias": (1280,)}


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        (unet_shapes(768, 9) | CLIP_1, "an inpainting model, whose UNet reads 9"),
        (unet_shapes(768, 8) | CLIP_1, "InstructPix2Pix"),
        (unet_shapes(1024, 5) | CLIP_2, "a depth-to-image model"),
        (unet_shapes(1280) | REFINER | LABELS, "the refiner"),
        (unet_shapes(640) | CLIP_1, "reads text of 640 channels"),
        (unet_shapes(768), "no text encoder"),
        (unet_shapes(1024) | {f"{UNET}input_blocks.1.0.time_stack.emb": (4,)}, "Stable Video Diffusion"),
        (unet_shapes(2048) | CLIP_XL | LABELS | {"edm_mean": (1,)}, "a Playground model"),
        ({"model.diffusion_model.joint_blocks.0.x": (1,)}, "a Stable Diffusion 3 model"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (1,)}, "a Flux model"),
        ({"blocks.0.cross_attn.q.weight": (1,)}, "a Wan model"),
        ({"lora_unet_down_blocks_0_attentions_0.lora_up.weight": (1, 1)}, "a LoRA: use --lora"),
        ({"control_model.input_blocks.0.0.weight": (1, 4)}, "a ControlNet: use --controlnet"),
        ({"down_blocks.0.motion_modules.0.temporal_transformer.norm.bias": (1,)}, "motion modules"),
        ({"image_proj.proj.weight": (1,)}, "an IP-Adapter: use --ip-adapter"),
        ({"emb_params": (1, 768)}, "a textual inversion: use --embedding"),
        ({"decoder.conv_in.weight": (1,)}, "an autoencoder: use --vae"),
        ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "a UNet alone"),
        ({"lonely.weight": (1,)}, "no model that is known here"),
    ],
)
def test_what_holds_no_model_is_called_by_its_name(shapes, what):
    with pytest.raises(ModelError, match=rf"^model m\.safetensors: .*{what}"):
        file_family(header(shapes))


@pytest.mark.parametrize(
    ("shapes", "metadata", "yaml", "prediction", "side"),
    [
        (unet_shapes(768) | CLIP_1, {}, None, "epsilon", 64),
        (unet_shapes(1024) | CLIP_2, {}, None, "v_prediction", 96),
        (unet_shapes(1024) | CLIP_2, {"modelspec.prediction_type": "epsilon"}, None, "epsilon", 64),
        (unet_shapes(1024) | CLIP_2, {}, "params:\n  beta: 1\n", "epsilon", 64),
        (unet_shapes(1024) | CLIP_2, {}, '  parameterization: "v"\n', "v_prediction", 96),
        (unet_shapes(768) | CLIP_1 | {"v_pred": ()}, {}, None, "v_prediction", 64),
        (unet_shapes(2048) | CLIP_XL | LABELS, {}, None, "epsilon", 128),
        (unet_shapes(2048) | CLIP_XL | LABELS | {"v_pred": ()}, {}, None, "v_prediction", 128),
    ],
)
def test_what_a_file_predicts_is_what_its_writer_says(tmp_path, shapes, metadata, yaml, prediction, side):
    if yaml is not None:
        (tmp_path / "m.yaml").write_text(yaml)
    about = header(shapes, metadata, tmp_path / "m.safetensors")
    assert file_settings(about, "scheduler").get("prediction_type") == prediction
    assert file_settings(about, "unet")["sample_size"] == side


def test_a_model_that_does_not_say_what_it_predicts_is_told_of(tmp_path, tiny_settings, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("genrender.backbones.file_networks"), "propagate", True)
    path = write_model(tmp_path / "model.safetensors", "SD2", tiny_settings("SD2"))
    loaded(path)
    assert "write 'parameterization: eps' into model.yaml beside it" in caplog.text


def test_a_files_picture_size_is_its_familys(tmp_path):
    shapes = unet_shapes(2048) | CLIP_XL | LABELS
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "xl.safetensors")
    size = read_picture_size(find_model(str(tmp_path / "xl.safetensors")))
    assert (size.native, size.vae_factor) == ((1024, 1024), 8)


def test_a_file_that_is_none_is_refused(tmp_path):
    for content in (b"", b"nonsense", b"\xff" * 100):
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match="it is no whole safetensors file") as caught:
            read_header(tmp_path / "m.safetensors")
        assert "\n" not in str(caught.value)


def test_a_checkpoint_that_could_run_code_is_refused_and_converted_as_the_message_says(
    tmp_path, tiny_settings
):
    networks = tiny_settings("SD1")
    safe = write_model(tmp_path / "model.safetensors", "SD1", networks)
    torch.save({"state_dict": load_file(safe), "global_step": 3}, tmp_path / "model.ckpt")
    safe.unlink()
    with pytest.raises(ModelError, match=r"are a pickle .* convert them there with .*--allow") as caught:
        loaded(tmp_path / "model.ckpt")
    assert same_weights(loaded(tmp_path / "model.ckpt", allow_pickle=True).unet, networks["unet"])
    command = shlex.split(str(caught.value).split("`")[1])
    assert command[0] == "python"
    subprocess.run([sys.executable, *command[1:]], check=True, cwd=tmp_path)
    assert same_weights(loaded(safe).unet, networks["unet"])


def test_small_controlnets_of_sdxl_have_fewer_layers():
    settings = json.loads((single_file.CONFIGS / "sdxl" / "controlnet" / "config.json").read_text())
    small = settings | {
        "block_out_channels": [32, 64, 64],
        "down_block_types": ["DownBlock2D", "DownBlock2D", "DownBlock2D"],
        "attention_head_dim": [1, 2, 2],
    }
    network = ControlNetModel.from_config(small)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = single_file.controlnet_settings(header(shapes))
    assert found is not None
    assert found["down_block_types"] == ["DownBlock2D"] * 3


def test_the_packaged_words_are_clips():
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    # As published with CLIP.
    words = [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407]
    assert tokenizer("a photo of an astronaut riding a horse on mars").input_ids == words
    assert tokenizer("x", padding="max_length").input_ids[-1] == 49407
    assert clip_tokenizer("!")("x", padding="max_length").input_ids[-1] == 0
    assert len(tokenizer("x", padding="max_length").input_ids) == tokenizer.model_max_length == 77
