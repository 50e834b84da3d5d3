"""Control networks by name: told by their settings and weights, and refused where they do not fit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, MultiControlNetModel, T2IAdapter
from tiny_controls import other_controlnet, tiny_adapter, tiny_union
from tiny_models import tiny_unet
from tiny_sdxl import SDXL_UNET
from tiny_sources import save_sd, save_sdxl

from genrender.backbones import single_file
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, Recipe
from genrender.errors import ModelError

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sd(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sdxl(tmp_path_factory.mktemp("xl"))


def held(base: Path, *controls: Control) -> Any:
    return load_networks(Recipe(str(base), device="cpu", precision="float32", controls=controls)).controlnet


def saved(network: Any, folder: Path, **settings: Any) -> str:
    network.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def same(network: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = network.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_several_networks_in_the_order_of_their_controls(sd, tmp_path):
    other, adapter = other_controlnet(tiny_unet()), tiny_adapter(tiny_unet())
    names = saved(other, tmp_path / "other"), saved(adapter, tmp_path / "adapter")
    networks = held(sd, Control("normal", names[0]), Control("depth"), Control("lineart", names[1]))
    assert isinstance(networks, MultiControlNetModel)
    assert [type(one) for one in networks.nets] == [ControlNetModel, ControlNetModel, T2IAdapter]
    assert same(networks.nets[0], other)
    assert not same(networks.nets[1], other)  # the model's own
    assert same(networks.nets[2], adapter)
    # One of them alone is held as it is.
    assert same(held(sd, Control("depth", names[1])), adapter)


@pytest.mark.parametrize("settings", [{}, {"_class_name": "ControlNetModel"}], ids=["by name", "by weights"])
def test_a_union_is_a_union_whatever_its_settings_call_it(xl, tmp_path, settings):
    """The most used one is published under the name of ControlNetModel."""
    union = tiny_union(tiny_unet(**SDXL_UNET))
    name = saved(union, tmp_path / "union", **settings)
    networks = held(xl, Control("depth", name), Control("normal", name))
    assert isinstance(networks, ControlNetUnionModel)
    assert same(networks, union)


def test_a_union_in_a_file_is_told_by_its_weights():
    """At its full size, without any values: widths and kinds are those of the published one."""
    sizes = json.loads((single_file.CONFIGS / "sdxl" / "controlnet" / "config.json").read_text())
    del sizes["_class_name"]
    own = {"num_control_type": 8, "conditioning_embedding_out_channels": [48, 96, 192, 384]}
    with torch.device("meta"):
        network = ControlNetUnionModel(**(sizes | own))
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    header = single_file.Header(Path("promax.safetensors"), shapes, dict.fromkeys(shapes, "F16"), {})
    found = single_file.controlnet_settings(header)
    assert found is not None
    assert {name: found[name] for name in own} == own


def test_what_does_not_fit_the_unet_is_refused(sd, xl, tmp_path):
    for base, unet, message in (
        (sd, tiny_unet(cross_attention_dim=8), "has cross_attention_dim 8, expected 16"),
        (
            sd,
            tiny_unet(block_out_channels=(16, 16)),
            r"has block_out_channels \[16, 16\], expected \[8, 16\]",
        ),
        (sd, tiny_unet(layers_per_block=2), "has layers_per_block 2, expected 1"),
        (xl, tiny_unet(cross_attention_dim=32), "has addition_embed_type None, expected text_time"),
    ):
        name = saved(other_controlnet(unet), tmp_path / "network")
        with pytest.raises(ModelError, match=message):
            held(base, Control("depth", name))
    settings = {"adapter_type": "full_adapter_xl", "downscale_factor": 16}
    fitting = tiny_adapter(tiny_unet(), channels=[8, 16, 16], **settings)
    assert same(held(xl, Control("depth", saved(fitting, tmp_path / "xl"))), fitting)
    small = tiny_adapter(tiny_unet(), **settings)
    with pytest.raises(ModelError, match=r"has channels \[8, 16\], expected \[8, 16, 16\]"):
        held(xl, Control("depth", saved(small, tmp_path / "small")))
    coarse = tiny_adapter(tiny_unet(), downscale_factor=16)
    with pytest.raises(ModelError, match="has downscale_factor 16, expected 8"):
        held(sd, Control("depth", saved(coarse, tmp_path / "coarse")))


def test_what_is_missing_is_said(sd, tmp_path):
    plain = shutil.copytree(sd, tmp_path / "plain", ignore=shutil.ignore_patterns("controlnet"))
    with pytest.raises(
        ModelError, match="no control network of its own for normal: give --controlnet normal="
    ):
        held(plain, Control("normal"))
    with pytest.raises(ModelError, match="expected ControlNetModel or ControlNetUnionModel or T2IAdapter"):
        held(sd, Control("depth", saved(tiny_unet(), tmp_path / "unet")))
