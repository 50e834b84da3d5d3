"""Models by name: what is found, what does not fit, and how that is told."""

import json
import logging
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, EulerDiscreteScheduler, StableDiffusionControlNetPipeline
from pipelines import FULL, PROMPT, same_run, tiny_autoencoder
from safetensors.torch import load_file, save_file
from tiny_models import tiny_components, tiny_unet

from genrender.backbones import precision, sources
from genrender.backbones.loading import default_device
from genrender.backbones.recipe import Control, Recipe
from genrender.config import (
    PER_FRAME,
)
from genrender.errors import ModelError
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.mark.parametrize("kind", ["ours", "with_controlnet"])
def test_load_pipeline_takes_a_folder(pipe, saved, clip, kind):
    assert same_run(load_pipeline(str(saved[kind]), device="cpu", dtype=torch.float32), pipe, clip)


def test_load_pipeline_adds_a_controlnet(pipe, saved, clip):
    loaded = load_pipeline(
        str(saved["plain"]), controlnet=str(saved["controlnet"]), device="cpu", dtype=torch.float32
    )
    assert same_run(loaded, pipe, clip)


def test_what_a_recipe_says_about_calls_counts_where_a_call_says_nothing_else(saved, clip):
    folder, called = str(saved["ours"]), {"config": PER_FRAME, "output_type": "latent"}
    plain = Recipe(folder, device="cpu", precision="float32")
    control = Control(scale=0.3, end=0.6)
    recipe = replace(plain, sampler="euler", controls=(control,), sigmas=(12.0, 4.0, 1.0, 0.0))
    loaded, other = load_pipeline(recipe), load_pipeline(plain)
    other.scheduler = EulerDiscreteScheduler.from_config(other.scheduler.config)
    for pipe in (loaded, other):
        pipe.set_progress_bar_config(disable=True)
    steered = {"controlnet_conditioning_scale": 0.3, "control_guidance_end": 0.6}
    whole = other(PROMPT, clip, **steered, sigmas=recipe.sigmas, **called).latents
    assert torch.equal(loaded(PROMPT, clip, **called).latents, whole)
    # The call's own words go before.
    few = other(PROMPT, clip, **steered, num_inference_steps=2, **called).latents
    assert torch.equal(loaded(PROMPT, clip, num_inference_steps=2, **called).latents, few)
    strong = loaded(PROMPT, clip, controlnet_conditioning_scale=1.0, **called).latents
    assert (strong - whole).abs().max() > 1e-3
    assert (few - whole).abs().max() > 1e-3


@pytest.mark.parametrize("is_native", [True, False])
def test_half_precision_weights_compute_in_what_the_cpu_computes_in(tmp_path, clip, monkeypatch, is_native):
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda _device: is_native)
    half = GenerativeRenderingPipeline(**tiny_components())
    for part in (half.vae, half.text_encoder, half.unet, half.controlnet):
        part.half()
    half.save_pretrained(tmp_path)
    (tmp_path / "vocabulary.json").write_text(json.dumps(["a", "red"]))
    monkeypatch.setattr(sources, "POCKET_FOLDER", tmp_path)
    loaded = load_pipeline("pocket", device="cpu")
    assert {part.dtype for part in (loaded.vae, loaded.text_encoder, loaded.unet, loaded.controlnet)} == {
        torch.bfloat16 if is_native else torch.float32
    }
    loaded.set_progress_bar_config(disable=True)
    assert np.isfinite(loaded(PROMPT, clip, config=FULL, num_inference_steps=1).frames).all()


def test_words_that_the_model_does_not_know_are_named(saved, tmp_path, clip, caplog, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    (folder / "vocabulary.json").write_text(json.dumps(["a", "red", "Fox"]))
    loaded = load_pipeline(str(folder), device="cpu", dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    monkeypatch.setattr(logging.getLogger("genrender.pipeline"), "propagate", True, raising=False)
    settings = {"config": PER_FRAME, "num_inference_steps": 1, "output_type": "latent"}
    with caplog.at_level(logging.WARNING):
        loaded("a red fox", clip, **settings)
        assert "does not know" not in caplog.text
        loaded("a red dragon and a red knight", clip, **settings)
    assert "does not know these words of the prompt: dragon, and, knight" in caplog.text


def test_unknown_words_are_found_whatever_the_punctuation():
    known = {"a", "red", "striped", "fox"}
    assert sources.unknown_words("A RED-striped fox, a fox's tail; 3 tails", known) == [
        "fox's",
        "tail",
        "3",
        "tails",
    ]


@pytest.mark.parametrize("index", ["{", "[]"])
def test_a_damaged_model_index_is_reported(saved, tmp_path, index):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    (folder / "model_index.json").write_text(index)
    with pytest.raises(ModelError, match=r"model .*model_index\.json.*: get the model anew"):
        load_pipeline(str(folder))


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]"])
def test_a_damaged_vocabulary_is_reported(tmp_path, text):
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(ModelError, match=r"vocabulary\.json: .*list of words"):
        sources.read_vocabulary(tmp_path)


def test_a_model_may_tell_the_guidance_it_was_made_for(tmp_path, saved, clip):
    assert sources.read_guidance_scale(tmp_path) == sources.read_guidance_scale("") == 7.5
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    (folder / "genrender.json").write_text('{"guidance_scale": 2.5}')
    loaded = load_pipeline(str(folder), device="cpu", dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    settings = {"config": PER_FRAME, "num_inference_steps": 2, "output_type": "latent"}
    assert torch.equal(
        loaded(PROMPT, clip, **settings).latents,
        loaded(PROMPT, clip, guidance_scale=2.5, **settings).latents,
    )
    (folder / "genrender.json").write_text("{}")
    with pytest.raises(ModelError, match=r"genrender\.json: expected .* guidance_scale"):
        loaded(PROMPT, clip, **settings)


@pytest.mark.parametrize("name", ["no-such-model", "/no/such/folder", "./missing/model", "a/b/c", ""])
def test_an_unknown_model_lists_what_there_is(name):
    with pytest.raises(ModelError, match=r"unknown model .*pocket, sd15, a folder .* hub id"):
        load_pipeline(name)


def test_names_resolve_without_loading_anything(tmp_path):
    commit = sources.PINNED[sources.SD15_HUB_ID]
    assert sources.find_model("sd15") == sources.ModelSource(sources.SD15_HUB_ID, False, commit)
    assert sources.find_model("sd15", "main") == sources.ModelSource(sources.SD15_HUB_ID, False, "main")
    assert sources.find_model("owner/name", "v2") == sources.ModelSource("owner/name", False, "v2")
    assert sources.find_model(str(tmp_path)) == sources.ModelSource(str(tmp_path), is_local=True)


def test_a_missing_pocket_model_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "POCKET_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"model pocket: .*genrender train pocket"):
        load_pipeline("pocket")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no unet/config\.json"):
        load_pipeline(str(tmp_path))


def test_a_folder_without_a_controlnet_says_so(saved):
    with pytest.raises(ModelError, match="it has no ControlNet"):
        load_pipeline(str(saved["plain"]))


def test_a_controlnet_beside_a_stable_diffusion_model_is_found(pipe, saved, clip, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["plain"], folder)
    shutil.copytree(saved["controlnet"], folder / "controlnet")
    assert same_run(load_pipeline(str(folder), device="cpu", dtype=torch.float32), pipe, clip)


def test_the_class_in_the_index_is_not_asked(pipe, saved, clip, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    edit_json(folder / "model_index.json", _class_name="LatentConsistencyModelPipeline")
    assert same_run(load_pipeline(str(folder), device="cpu", dtype=torch.float32), pipe, clip)


def test_pickled_weights_are_refused(saved, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(tiny_components()["unet"].state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_pipeline(str(folder))


def test_truncated_weights_are_reported_in_one_line(saved, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_pipeline(str(folder))
    assert "\n" not in str(caught.value)


def edit_json(path: Path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("unet/config.json", {"layers_per_block": None}),  # TypeError
        ("unet/config.json", {"norm_num_groups": 0}),  # ZeroDivisionError
        ("controlnet/config.json", {"block_out_channels": [16, 32]}),  # ValueError, of many lines
        ("text_encoder/config.json", {"hidden_size": 32}),  # RuntimeError
        ("text_encoder/config.json", {"hidden_size": "x"}),  # an error that derives from Exception alone
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "x"}),  # TypeError
    ],
)
def test_settings_that_do_not_fit_the_weights_are_reported_in_one_line(saved, tmp_path, file, values):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    edit_json(folder / file, **values)
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        load_pipeline(str(folder), device="cpu", dtype=torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["unet", "controlnet"])
def test_missing_weights_are_named(saved, tmp_path, part):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    file = folder / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_in.weight"]
    save_file(weights, file)
    with pytest.raises(
        ModelError, match=rf"{part}: its files lack the weights conv_in\.weight: get them anew"
    ):
        load_pipeline(str(folder), device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("part", ["tokenizer", "scheduler"])
def test_a_component_without_its_folder_is_named(saved, tmp_path, part):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    shutil.rmtree(folder / part)
    with pytest.raises(ModelError, match=f"it has no {part}: get the model anew"):
        load_pipeline(str(folder), device="cpu", dtype=torch.float32)


def test_a_controlnet_of_ones_own_replaces_the_folders(pipe, saved, clip, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    shutil.rmtree(folder / "controlnet")
    loaded = load_pipeline(
        str(folder), controlnet=str(saved["controlnet"]), device="cpu", dtype=torch.float32
    )
    assert same_run(loaded, pipe, clip)


def test_loading_is_quiet(saved, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        load_pipeline(str(saved["ours"]), device="cpu")
        load_pipeline(
            str(saved["plain"]), controlnet=str(saved["controlnet"]), device="cpu", dtype=torch.float32
        )
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_fastest_device_is_taken(monkeypatch, has_cuda, has_mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert default_device().type == expected


@pytest.mark.parametrize(
    ("device", "is_native", "dtype"),
    [
        ("cuda", True, torch.float16),
        ("mps", False, torch.float32),
        ("cpu", False, torch.float32),
        ("cpu", True, torch.bfloat16),
    ],
)
def test_precision_goes_by_what_the_device_computes_in(saved, monkeypatch, device, is_native, dtype):
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda _device: is_native)
    moves = []

    def move(pipe, *arguments):
        moves.append((pipe.unet.dtype, pipe.controlnet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype))
        assert arguments == (torch.device(device),)
        return pipe

    monkeypatch.setattr(StableDiffusionControlNetPipeline, "to", move)
    load_pipeline(str(saved["plain"]), controlnet=str(saved["controlnet"]), device=device)
    assert moves == [(dtype,) * 4]


def test_another_autoencoder_takes_the_place_of_the_models_own(saved, tmp_path):
    tiny = tiny_autoencoder()
    tiny.save_pretrained(tmp_path / "tiny")
    pipe = load_pipeline(str(saved["ours"]), device="cpu", vae=str(tmp_path / "tiny"), dtype=torch.float32)
    assert isinstance(pipe.vae, AutoencoderTiny)
    assert all((a == b).all() for a, b in zip(pipe.vae.parameters(), tiny.parameters(), strict=True))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (tiny_unet, "it is a UNet2DConditionModel, expected AutoencoderKL"),
        (partial(tiny_autoencoder, n_levels=2), "2 pixels per latent pixel, expected 8"),
        (partial(tiny_autoencoder, latent_channels=7), "of 4 channels, its autoencoder reads 7"),
    ],
    ids=["no autoencoder", "another factor", "other channels"],
)
def test_an_autoencoder_that_does_not_fit_is_refused(saved, tmp_path, network, message):
    network().save_pretrained(tmp_path / "vae")
    with pytest.raises(ModelError, match=message):
        load_pipeline(str(saved["ours"]), device="cpu", vae=str(tmp_path / "vae"))


def test_a_controlnet_for_another_text_encoder_is_refused(saved, tmp_path):
    unet = tiny_unet(cross_attention_dim=8)
    other = tiny_components(unet)["controlnet"]
    other.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has cross_attention_dim 8, expected 16 as its UNet"):
        load_pipeline(str(saved["plain"]), controlnet=str(tmp_path))


def test_weights_that_a_unet_has_no_place_for_are_told(saved, tmp_path):
    folder = shutil.copytree(saved["with_controlnet"], tmp_path / "model")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file) | {"conv_in.lora_A.weight": torch.ones(2, 2)}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no place for its weights conv_in\.lora_A\.weight"):
        load_pipeline(str(folder), device="cpu")
