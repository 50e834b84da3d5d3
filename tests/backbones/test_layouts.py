"""Folders as people have them: variants, shards, pickles, with or without a safety checker, distilled."""

import json
import logging
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import LCMScheduler, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file
from tiny_models import tiny_components, tiny_unet
from tiny_sdxl import sdxl_components
from tiny_sources import same_weights, save_sd, save_sdxl
from transformers import CLIPConfig, CLIPImageProcessor

from genrender.backbones.families import backbone_of
from genrender.backbones.hub import files_under
from genrender.backbones.loading import load_networks
from genrender.backbones.model_folder import Needed
from genrender.backbones.protocol import Conditions, Step
from genrender.backbones.recipe import Recipe
from genrender.backbones.weight_files import Reading, choose_weights
from genrender.errors import ModelError

pytestmark = pytest.mark.usefixtures("no_network")


def loaded(base: Path, **asked):
    return load_networks(Recipe(str(base), device="cpu", **({"precision": "float32"} | asked)))


@pytest.mark.parametrize("family", ["SD", "SDXL"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_half_precision_files_alone_are_enough(tmp_path, family, precision):
    save = save_sd if family == "SD" else save_sdxl
    save(tmp_path / "model", variant="fp16")
    assert len(list(tmp_path.rglob("*.fp16.safetensors"))) == len(list(tmp_path.rglob("*.safetensors")))
    networks = loaded(tmp_path / "model", precision=precision)
    parts = tiny_components() if family == "SD" else sdxl_components()
    for part in parts.keys() & {"unet", "vae", "text_encoder", "text_encoder_2", "controlnet"}:
        assert same_weights(getattr(networks, part), parts[part], atol=0.02)
        assert getattr(networks, part).dtype == getattr(torch, precision)


@pytest.fixture
def both(tmp_path):
    """A folder with full weights of the real UNet, and as variant fp16 those of another."""
    save_sd(tmp_path / "model")
    other = tiny_unet()
    torch.nn.init.ones_(other.conv_in.weight)
    other.half().save_pretrained(tmp_path / "model" / "unet", variant="fp16")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("precision", "variant", "is_other"),
    [
        ("float32", None, False),
        ("bfloat16", None, True),
        ("float16", None, True),
        ("float32", "fp16", True),
        ("bfloat16", "full", False),
    ],
)
def test_the_smallest_files_that_suffice_are_read_unless_others_are_asked_for(
    both, precision, variant, is_other
):
    found = loaded(both, precision=precision, variant=variant).unet.conv_in.weight
    assert bool((found == 1).all()) is is_other


def test_a_variant_that_is_not_there_is_said_with_those_that_are(both):
    with pytest.raises(
        ModelError, match=r"unet: no weights of variant ema, expected one of: (fp16, full|full, fp16)"
    ):
        loaded(both, variant="ema")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(tmp_path, variant):
    save_sd(tmp_path / "model", variant=variant, max_shard_size="10KB")
    assert len(list((tmp_path / "model" / "unet").glob("*-of-*.safetensors"))) > 2
    networks, parts = loaded(tmp_path / "model"), tiny_components()
    for part in ("unet", "vae", "text_encoder", "controlnet"):
        assert same_weights(getattr(networks, part), parts[part])
    next((tmp_path / "model" / "unet").glob("*-00002-of-*.safetensors")).unlink()
    with pytest.raises(ModelError, match="unet: it holds no weights"):
        loaded(tmp_path / "model")


def test_pickles_are_refused_allowed_and_converted_as_the_message_says(tmp_path):
    folder = save_sd(tmp_path / "model", safe_serialization=False)
    for part in ("text_encoder", "unet", "vae", "controlnet"):  # transformers saves only safetensors
        for file in (folder / part).glob("*.safetensors"):
            torch.save(load_file(file), file.with_name("pytorch_model.bin"))
            file.unlink()
    parts = tiny_components()
    networks = loaded(folder, allow_pickle=True)
    assert all(same_weights(getattr(networks, p), parts[p]) for p in ("unet", "text_encoder", "controlnet"))
    for _ in range(4):
        with pytest.raises(ModelError, match="can run code when it is read") as caught:
            loaded(folder)
        part = re.search(r": (\w+): its weights", str(caught.value))
        assert part is not None
        command = shlex.split(str(caught.value).split("`")[1])
        subprocess.run([sys.executable, *command[1:]], check=True, cwd=folder / part[1])
    assert same_weights(loaded(folder).unet, parts["unet"])


def test_a_pickle_that_would_run_code_does_not(tmp_path):
    folder = save_sd(tmp_path / "model")
    next((folder / "vae").glob("*.safetensors")).unlink()

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Hostile()}, folder / "vae" / "diffusion_pytorch_model.bin")
    for allow_pickle in (False, True):
        with pytest.raises(ModelError):
            loaded(folder, allow_pickle=allow_pickle)
    assert not (tmp_path / "ran").exists()


def tiny_checker() -> dict:
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 32, "patch_size": 16, "projection_dim": 8}
    text = {**small, "vocab_size": 16, "projection_dim": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return {
        "safety_checker": StableDiffusionSafetyChecker(config),
        "feature_extractor": CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    }


@pytest.fixture
def checked(tmp_path):
    parts = tiny_components()
    parts.pop("controlnet").save_pretrained(tmp_path / "model" / "controlnet")
    StableDiffusionPipeline(**parts, **tiny_checker()).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_safety_checker_is_loaded_where_there_is_one_and_it_is_wanted(checked):
    networks = loaded(checked, precision="bfloat16")
    assert isinstance(networks.safety_checker, StableDiffusionSafetyChecker)
    assert networks.safety_checker.dtype == torch.bfloat16
    assert isinstance(networks.feature_extractor, CLIPImageProcessor)
    assert loaded(checked, safety_checker=False).safety_checker is None


def test_a_folder_without_its_safety_checker_loads_and_says_so(checked, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("genrender.backbones.loading"), "propagate", True)
    shutil.rmtree(checked / "safety_checker")
    assert loaded(checked).safety_checker is None
    assert "its folder has no safety_checker: frames are not checked" in caplog.text
    caplog.clear()
    loaded(checked, safety_checker=False)
    assert caplog.text == ""


def test_a_distilled_model_takes_its_guidance_as_an_input(tmp_path):
    folder = save_sd(tmp_path / "model")
    tiny_unet(time_cond_proj_dim=8).save_pretrained(folder / "unet")
    LCMScheduler().save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps(index | {"_class_name": "LatentConsistencyModelPipeline"})
    )
    networks = loaded(folder)
    assert isinstance(networks.scheduler, LCMScheduler)
    denoiser = backbone_of(networks).conditioned(Conditions("a fox"), lambda *_: torch.zeros(1, 4, 4), (4, 4))
    assert denoiser.n_branches(Step(0, 2, torch.tensor(999))) == 1
    assert denoiser.guidance_embedding.shape == (1, 8)


def test_a_model_that_predicts_velocities_keeps_saying_so(tmp_path):
    folder = save_sd(tmp_path / "model")
    settings = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(settings | {"prediction_type": "v_prediction"})
    )
    assert loaded(folder).scheduler.config.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("named", "said"),
    [("Nonsense", "names a Nonsense"), ("UNet2DConditionModel", "expected one of diffusers'")],
)
def test_a_scheduler_that_is_none_is_refused(tmp_path, named, said):
    folder = save_sd(tmp_path / "model")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": named}))
    with pytest.raises(ModelError, match=said):
        loaded(folder)


def test_code_in_a_models_folder_is_not_run(tmp_path):
    folder = save_sd(tmp_path / "model")
    (folder / "unet" / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"unet": ["mine", "Mine"], "_class_name": ["mine", "Mine"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "mine.Mine"}}
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config))
    loaded(folder)
    assert not (tmp_path / "ran").exists()


def test_which_files_are_chosen():
    full = ["config.json", "model.safetensors", "pytorch_model.bin"]
    assert choose_weights("x", full, Reading()).names == ("model.safetensors",)
    odd = ["diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.fp16.safetensors"]
    assert choose_weights("x", odd, Reading()).variant == "fp16"
    shards = [f"model.fp16-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert choose_weights("x", [*shards, *full], Reading("float16")).names == tuple(shards)
    assert choose_weights("x", [*shards[:2], *full], Reading("float16")).variant is None
    with pytest.raises(ModelError, match="x: it holds no weights"):
        choose_weights("x", ["config.json", "optimizer.bin", "model.onnx"], Reading())


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("unet/config.json", "its unet has no config.json"),
        ("tokenizer/tokenizer.json", "its tokenizer has no tokenizer.json, nor vocab.json and merges.txt"),
        ("tokenizer/tokenizer_config.json", "its tokenizer has no tokenizer_config.json"),
    ],
)
def test_what_was_fetched_by_halves_is_not_what_is_needed(tmp_path, gone, said):
    folder = save_sd(tmp_path / "model")
    needed = Needed("m", ("unet", "vae", "text_encoder", "tokenizer", "scheduler"), (), Reading())
    names = [name for name in files_under(folder) if not name.startswith("controlnet/")]
    assert {*needed(names)} == {*names}
    with pytest.raises(ModelError, match=f"model m: {said}: get the model anew"):
        needed([name for name in names if name != gone])
