"""From a recipe to networks: every family and layout gives the weights that were saved."""

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from pipelines import tiny_autoencoder
from tiny_models import tiny_components, tiny_unet
from tiny_sdxl import sdxl_components
from tiny_sources import same_weights, save_sd, save_sdxl

from genrender.backbones.families import backbone_of, family_of
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, Recipe
from genrender.backbones.sdxl import StableDiffusionXL
from genrender.backbones.stable_diffusion import StableDiffusion
from genrender.errors import ModelError

pytestmark = pytest.mark.usefixtures("no_network")


def loaded(base, **asked):
    return load_networks(Recipe(str(base), device="cpu", **({"precision": "float32"} | asked)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return {"SD": save_sd(root / "sd"), "SDXL": save_sdxl(root / "sdxl")}


def test_stable_diffusion(folders):
    networks, parts = loaded(folders["SD"]), tiny_components()
    assert type(networks) is StableDiffusionControlNetPipeline
    assert isinstance(backbone_of(networks), StableDiffusion)
    for part in ("unet", "controlnet", "vae", "text_encoder"):
        assert same_weights(getattr(networks, part), parts[part])
        assert not getattr(networks, part).training


def test_stable_diffusion_xl(folders):
    networks, parts = loaded(folders["SDXL"]), sdxl_components()
    assert type(networks) is StableDiffusionXLControlNetPipeline
    assert isinstance(backbone_of(networks), StableDiffusionXL)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert same_weights(getattr(networks, part), parts[part])
    assert networks.watermark is None
    assert networks.config.force_zeros_for_empty_prompt


@pytest.mark.parametrize("name", ["SD", "SDXL"])
def test_networks_are_laid_out_as_the_front_door_lays_them_out(folders, name):
    """Other sums of the same numbers would make other frames, and convolutions would be slower."""
    pipeline = loaded(folders[name])
    for network in (pipeline.vae, pipeline.unet, pipeline.controlnet):
        kernels = [tensor for tensor in network.parameters() if tensor.dim() == 4 and tensor.shape[-1] > 1]
        assert kernels
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_another_controlnet_and_another_autoencoder(folders, tmp_path):
    vae = tiny_autoencoder()
    vae.save_pretrained(tmp_path / "vae")
    other = tiny_components()["controlnet"]
    torch.nn.init.ones_(other.conv_in.weight)
    other.save_pretrained(tmp_path / "controlnet")
    networks = loaded(
        folders["SD"],
        vae=str(tmp_path / "vae"),
        controls=(Control(source=str(tmp_path / "controlnet")),),
        precision="bfloat16",
    )
    assert same_weights(networks.controlnet, other, atol=1e-2)
    assert same_weights(networks.vae, vae, atol=1e-2)
    networks_of = ("unet", "controlnet", "vae", "text_encoder")
    assert {getattr(networks, part).dtype for part in networks_of} == {torch.bfloat16}


UNET = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 768}
XL = UNET | {
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
ENCODER, BIG = {"architectures": ["CLIPTextModel"]}, {"projection_dim": 1280}


@pytest.mark.parametrize(
    ("configs", "name"),
    [
        ({"unet": UNET, "text_encoder": ENCODER}, "SD1"),
        ({"unet": UNET | {"cross_attention_dim": 1024}, "text_encoder": ENCODER}, "SD2"),
        ({"unet": UNET | {"time_cond_proj_dim": 256}, "text_encoder": ENCODER}, "SD1"),
        ({"unet": XL, "text_encoder": ENCODER, "text_encoder_2": BIG}, "SDXL"),
    ],
)
def test_families_are_told_by_their_settings(configs, name):
    assert family_of(configs).name == name


@pytest.mark.parametrize(
    ("configs", "what"),
    [
        ({"transformer": {"_class_name": "SD3Transformer2DModel"}}, r"transformer: SD3Transformer2DModel"),
        ({"transformer": {"_class_name": "FluxTransformer2DModel"}}, r"transformer: FluxTransformer2DModel"),
        ({"transformer": {"_class_name": "WanTransformer3DModel"}}, r"transformer: WanTransformer3DModel"),
        ({"unet": {"_class_name": "UNetSpatioTemporalConditionModel"}}, "unet: UNetSpatioTemporal"),
        ({"unet": UNET | {"in_channels": 9}}, "an inpainting model, whose UNet reads 9 channels and makes 4"),
        ({"unet": UNET | {"in_channels": 8}}, "InstructPix2Pix"),
        ({"unet": UNET | {"in_channels": 5}}, "a depth-to-image model"),
        ({"unet": UNET | {"in_channels": 7, "num_class_embeds": 1000}}, "an upscaler"),
        ({"unet": UNET | {"addition_embed_type": "image"}}, "a Kandinsky model"),
        ({"unet": UNET | {"class_embed_type": "projection"}}, "unCLIP"),
        (
            {"unet": XL, "text_encoder": {"architectures": ["ChatGLMModel"]}, "text_encoder_2": BIG},
            "read by a ChatGLMModel",
        ),
        (
            {"unet": XL | {"projection_class_embeddings_input_dim": 2560}, "text_encoder_2": BIG},
            "the refiner",
        ),
        ({"vae": {}}, "it has no UNet"),
    ],
)
def test_what_cannot_be_driven_is_called_by_its_name(configs, what):
    with pytest.raises(ModelError, match=what + r".*expected a model of Stable Diffusion 1\.x, 2\.x or XL"):
        family_of(configs)


def test_a_folder_that_cannot_be_driven_is_refused_before_its_weights_are_read(tmp_path):
    save_sd(tmp_path / "model")
    tiny_unet(in_channels=9).save_config(tmp_path / "model" / "unet")
    with pytest.raises(ModelError, match=r"^model .*model: it is an inpainting model"):
        loaded(tmp_path / "model")
