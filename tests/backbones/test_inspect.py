"""What `inspect` tells of a model: by folder, by single file, from the hub's cache."""

import json
import os
import subprocess
import sys

import pytest
import torch
from pretend_hub import pretend_hub
from safetensors.torch import save_file
from tiny_models import tiny_unet
from tiny_sdxl import sdxl_components
from tiny_sources import save_sd, save_sdxl

from genrender.backbones.inspect import inspect_model
from genrender.backbones.sources import find_files, find_model, weights_digest
from genrender.errors import ModelError


def n_parameters(network: torch.nn.Module) -> float:
    return sum(tensor.numel() for tensor in network.parameters()) / 1e6


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_folder(tmp_path, variant):
    folder = save_sdxl(tmp_path / "model", variant=variant)
    report = inspect_model(str(folder))
    assert (report["family"], report["title"]) == ("SDXL", "Stable Diffusion XL")
    assert (report["scheduler"], report["prediction_type"]) == ("DDIMScheduler", "epsilon")
    found = {network["name"]: network for network in report["networks"]}
    assert set(found) == {"unet", "controlnet", "vae", "text_encoder", "text_encoder_2"}
    for part, network in sdxl_components().items():
        if isinstance(network, torch.nn.Module):
            assert found[part]["parameters_m"] == pytest.approx(n_parameters(network), rel=1e-3)
            assert found[part]["class"] == type(network).__name__
            assert found[part]["precision"] == "float32"
            assert found[part]["variants"] == [variant or "full"]
    assert report["memory_mb"]["float32"] == pytest.approx(2 * report["memory_mb"]["float16"], abs=1)
    assert report["notes"] == []


def test_both_variants_are_told_and_the_smaller_one_is_counted(tmp_path):
    folder = save_sd(tmp_path / "model")
    tiny_unet().half().save_pretrained(folder / "unet", variant="fp16")
    unet = next(one for one in inspect_model(str(folder))["networks"] if one["name"] == "unet")
    assert unet["precision"] == "float16"
    assert sorted(unet["variants"]) == ["fp16", "full"]
    assert unet["parameters_m"] == pytest.approx(n_parameters(tiny_unet()), rel=1e-3)


def test_a_distilled_model_and_one_without_a_controlnet(tmp_path):
    folder = save_sd(tmp_path / "model")
    tiny_unet(time_cond_proj_dim=8).save_pretrained(folder / "unet")
    (folder / "controlnet").rename(tmp_path / "controlnet")
    notes = inspect_model(str(folder))["notes"]
    assert any("distilled with guidance as an input" in note for note in notes)
    assert any("brings no ControlNet: give --controlnet, for instance lllyasviel/" in note for note in notes)


@pytest.mark.parametrize(
    ("dtype", "precision", "n_bytes"), [(torch.float16, "float16", 2), (torch.float8_e4m3fn, "F8_E4M3", 1)]
)
def test_a_single_file(tmp_path, dtype, precision, n_bytes):
    shapes = {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        "cond_stage_model.model.ln_final.bias": (1024,),
    }
    weights = {name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "m.safetensors")
    report = inspect_model(str(tmp_path / "m.safetensors"))
    assert (report["family"], report["prediction_type"]) == ("SD2", "v_prediction")
    assert report["picture_size"] == [768, 768]
    assert "Stable Diffusion 2.x" in report["fits"]
    unet, text = report["networks"]
    assert unet["parameters_m"] == pytest.approx((320 * 4 * 9 + 320 * 1024) / 1e6)
    assert (unet["precision"], text["name"]) == (precision, "text_encoder")
    assert unet["size_mb"] == pytest.approx(n_bytes * unet["parameters_m"])
    assert any("brings no autoencoder" in note for note in report["notes"])
    assert any("does not say what it predicts" in note for note in report["notes"])


def test_what_is_no_model_is_called_by_its_name(tmp_path):
    save_file({"lora_unet_x.lora_up.weight": torch.zeros(1)}, tmp_path / "l.safetensors")
    with pytest.raises(ModelError, match="a LoRA: use --lora"):
        inspect_model(str(tmp_path / "l.safetensors"))
    tiny_unet(in_channels=9).save_pretrained(tmp_path / "model" / "unet")
    with pytest.raises(ModelError, match="an inpainting model"):
        inspect_model(str(tmp_path / "model"))


def test_a_hub_model_is_told_of_once_it_was_fetched(tmp_path):
    save_sd(tmp_path / "hub" / "somebody" / "model", variant="fp16")
    script = (
        "import json, sys; from genrender.backbones.loading import load_networks; "
        "from genrender.backbones.recipe import Recipe; "
        "from genrender.backbones.inspect import inspect_model; "
        "load_networks(Recipe('somebody/model', device='cpu', precision='float32')); "
        "print(json.dumps(inspect_model('somebody/model')))"
    )
    with pretend_hub(tmp_path / "hub") as hub:
        about = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "c"), "HF_HUB_DISABLE_XET": "1"}
        environment = {**os.environ, **about}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
        )
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["family"] == "SD1"
    assert {one["name"] for one in report["networks"]} == {"unet", "controlnet", "vae", "text_encoder"}
    with pytest.raises(ModelError, match="nobody/nothing is not on this machine"):
        inspect_model("nobody/nothing")


def test_digests_tell_weights_apart_whatever_they_lie_in(tmp_path):
    folder = save_sd(tmp_path / "model")
    before = weights_digest(find_model(str(folder)))
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    assert weights_digest(find_model(str(file))) not in (before, "")
    copy = file.with_name("another.safetensors")
    copy.write_bytes(file.read_bytes())
    assert weights_digest(find_model(str(copy))) == weights_digest(find_model(str(file)))
    copy.with_suffix(".yaml").write_text("parameterization: v")
    assert weights_digest(find_model(str(copy))) != weights_digest(find_model(str(file)))
    copy.unlink()
    copy.with_suffix(".yaml").unlink()
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert weights_digest(find_model(str(folder))) != before
    (folder / "vae" / "diffusion_pytorch_model.bin").unlink()
    assert weights_digest(find_model(str(folder))) == before
    settings = folder / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text().replace("epsilon", "v_prediction"))
    assert weights_digest(find_model(str(folder))) != before
    assert weights_digest(find_model("sd15")) != weights_digest(find_model("sd15", "main"))


def test_a_name_that_is_nearly_right_is_answered_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_sd(tmp_path / "weights" / "mine")
    (tmp_path / "weights" / "fox.safetensors").write_bytes(b"")
    (tmp_path / "weights" / "notes.txt").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"unknown model 'weights/yours', .*; weights holds fox.safetensors, mine$"
    ):
        find_model("weights/yours")
    inside = "owner/name/models/a.safetensors"
    assert find_files("IP-Adapter", inside).location == inside
    for what, name in (
        ("model", inside),
        ("IP-Adapter", "owner/name/models"),
        ("LoRA", "weights/a/b.safetensors"),
    ):
        with pytest.raises(ModelError, match=f"unknown {what}"):
            find_files(what, name)
    with pytest.raises(ModelError, match=r"unknown model .fox\.safetensors., expected pocket"):
        find_model("fox.safetensors")
