"""Single files of models as large as the real ones: every weight is found and has the right shape."""

from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from original_layout import open_clip, original_clip, original_controlnet, original_unet, original_vae, under
from safetensors.torch import save_file
from test_examples import load_script
from tiny_sources import same_weights

from genrender.backbones import file_networks, loading, model_folder
from genrender.backbones.families import FAMILIES, SD1, SDXL, Family
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.single_file import Header, packaged_settings, read_header

pytestmark = pytest.mark.usefixtures("no_network")
FULL_SIZE = Path(__file__).parents[2] / "benchmarks" / "full_size.py"


def made(family: Family, part: str) -> torch.nn.Module:
    settings = packaged_settings(family, part)
    if part.startswith("text_encoder"):
        return getattr(transformers, settings["architectures"][0])(transformers.CLIPTextConfig(**settings))
    return getattr(diffusers, settings["_class_name"]).from_config(settings)


def original(family: Family, networks: dict) -> dict:
    weights = under("model.diffusion_model.", original_unet(networks["unet"]))
    weights |= under("first_stage_model.", original_vae(networks["vae"]))
    text = networks["text_encoder"]
    if family is SDXL:
        second = networks["text_encoder_2"]
        weights |= under("conditioner.embedders.0.transformer.", original_clip(text))
        weights |= under("conditioner.embedders.1.model.", open_clip(second, 32))
    elif family is SD1:
        weights |= under("cond_stage_model.transformer.", original_clip(text))
    else:
        weights |= under("cond_stage_model.model.", open_clip(text, 23))
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_weight_of_a_full_size_file_is_found(tmp_path, monkeypatch, family):
    """Values that take no memory stand for the weights; shapes and names are the real ones."""
    parts = [part for part in family.parts if part not in ("scheduler",) and "tokenizer" not in part]
    with torch.device("meta"):
        networks = {part: made(family, part) for part in parts}
        controlnet = made(family, "controlnet")
        weights = original(family, networks)
        control = controlnet.state_dict()
        if family is not SDXL:
            control = under("control_model.", original_controlnet(controlnet))
    files = {}
    for name, tensors in (("model", weights), ("control", control)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(b"")
        files[path] = {
            key: torch.zeros((), dtype=torch.float16).expand(tensor.shape) for key, tensor in tensors.items()
        }

    def header(path, allow_pickle=False):  # noqa: ARG001 (as the real one)
        shapes = {name: tuple(tensor.shape) for name, tensor in files[Path(path)].items()}
        return Header(Path(path), shapes, dict.fromkeys(shapes, "F16"), {})

    for module in (file_networks, loading, model_folder):
        monkeypatch.setattr(module, "read_header", header)
    monkeypatch.setattr(file_networks, "read_weights", lambda path: dict(files[path]))
    found = load_networks(
        Recipe(
            str(tmp_path / "model.safetensors"),
            device="cpu",
            precision="float16",
            controls=(Control(source=str(tmp_path / "control.safetensors")),),
        )
    )
    for part, network in (*networks.items(), ("controlnet", controlnet)):
        shapes = {name: tensor.shape for name, tensor in getattr(found, part).state_dict().items()}
        assert shapes == {name: tensor.shape for name, tensor in network.state_dict().items()}
    n_parameters = sum(tensor.numel() for tensor in found.unet.parameters())
    assert round(n_parameters / 1e6) == {"SD1": 860, "SD2": 866, "SDXL": 2567}[family.name]


@pytest.mark.slow
def test_a_full_size_file_of_stable_diffusion_1_gives_the_weights_that_were_written(tmp_path):
    """2.1 GB of random weights in float16, in the layout of files that people share."""
    benchmark = load_script(FULL_SIZE)
    parts = ("unet", "vae", "text_encoder", "controlnet")
    networks = {
        part: benchmark.random_network(lambda part=part: made(SD1, part), torch.float16) for part in parts
    }
    # All weights of a network are drawn alike: one that is mistaken for another must not pass unseen.
    for network in networks.values():
        for n, tensor in enumerate(network.parameters()):
            tensor.data.view(-1)[0] = n % 512
    save_file(original(SD1, networks), tmp_path / "model.safetensors")
    networks["controlnet"].save_pretrained(tmp_path / "controlnet")
    assert len(read_header(tmp_path / "model.safetensors").shapes) == 1131 - 1
    found = load_networks(
        Recipe(
            str(tmp_path / "model.safetensors"),
            device="cpu",
            precision="float16",
            controls=(Control(source=str(tmp_path / "controlnet")),),
        )
    )
    for part, network in networks.items():
        assert same_weights(getattr(found, part), network), part
    assert found.tokenizer("a fox").input_ids == [49406, 320, 3240, 49407]
