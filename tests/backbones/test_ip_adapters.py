"""IP-Adapters: equal to diffusers, under the injections, and clear words for what does not go together."""

import shutil
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from pipelines import FULL, HEIGHT, NEGATIVE, PROMPT, WIDTH, diffusers_latents
from safetensors.torch import load_file, save_file
from tiny_adapters import save_ip_adapter, tiny_image_encoder
from tiny_models import sliding_card, tiny_pipeline
from tiny_sdxl import sdxl_pipeline

from genrender.backbones import adapters
from genrender.backbones.families import backbone_of
from genrender.backbones.ip_adapters import read_pictures
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import ImagePrompt, Recipe
from genrender.config import PER_FRAME
from genrender.errors import ConfigError, ModelError
from genrender.gbuffer.control import depth_control
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.surface import ClipSurface

CLIP = sliding_card(5, HEIGHT, WIDTH)


def picture(seed: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the published ones lie: adapters in `models`, the image encoder beside them."""
    root, unet = tmp_path_factory.mktemp("ip"), tiny_pipeline().unet
    torch.manual_seed(11)
    save_ip_adapter(root / "models" / "plain.safetensors", unet)
    save_ip_adapter(root / "models" / "other.safetensors", unet)
    save_ip_adapter(root / "models" / "face.safetensors", unet, "full face")
    save_ip_adapter(root / "models" / "plus.safetensors", unet, "Plus")
    tiny_image_encoder().save_pretrained(root / "models" / "image_encoder")
    for seed in range(3):
        picture(seed).save(root / f"{seed}.png")
    return root


def prompted(pipe, folder: Path, *prompts: tuple[str, tuple[int, ...], float]):
    """A pipeline with adapters, and their pictures."""
    asked = tuple(
        ImagePrompt(f"{folder}/models/{name}.safetensors", tuple(folder / f"{n}.png" for n in seeds), scale)
        for name, seeds, scale in prompts
    )
    adapters.apply(pipe, adapters.read(Recipe(image_prompts=asked)))
    pipe.set_progress_bar_config(disable=True)
    return pipe, read_pictures(asked)


def ours(pipe, latents, method=PER_FRAME, chunk_size=8, **conditions) -> torch.Tensor:
    backbone = backbone_of(pipe)
    surface = ClipSurface(CLIP, backbone.vae_factor, method, 0, backbone.device)
    asked = Conditions(PROMPT, NEGATIVE, **conditions)
    sampling = SamplingConfig(3, chunk_size=chunk_size, latents=latents)
    return sample(backbone, asked, surface, method, sampling)[range(len(CLIP))]


CASES = {
    "one": [("plain", (0,), 0.6)],
    "two pictures": [("plain", (0, 1), 0.6)],
    "two adapters": [("plain", (0,), 0.6), ("other", (1,), 0.3)],
    "two sorts": [("plain", (0, 2), 0.4), ("face", (1,), 0.7)],
    "Plus": [("plus", (0,), 0.6)],
}


@pytest.mark.parametrize("case", CASES)
def test_with_injections_off_latents_equal_diffusers(folder, unit_latents, case):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES[case])
    found = ours(pipe, unit_latents, image_prompt=pictures)
    settings = {"num_inference_steps": 3, "ip_adapter_image": pictures}
    expected = diffusers_latents(pipe, CLIP, unit_latents, 7.5, **settings)
    assert (found - expected).abs().max() <= 1e-4
    assert (found - ours(tiny_pipeline(), unit_latents)).abs().max() > 1e-2
    scales = [scale for *_, scale in CASES[case]]
    pipe.set_ip_adapter_scale([scale / 2 for scale in scales])
    assert (found - ours(pipe, unit_latents, image_prompt=pictures)).abs().max() > 1e-3
    pipe.set_ip_adapter_scale([0.0] * len(scales))
    without = ours(pipe, unit_latents, image_prompt=pictures)
    assert (without - ours(tiny_pipeline(), unit_latents)).abs().max() <= 1e-4


@pytest.mark.parametrize("objects", [{}, {1: "a green duck"}], ids=["", "object prompts"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masks"])
def test_under_the_injections_pictures_count_in_chunks_of_any_size(folder, unit_latents, objects, masked):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES["two adapters"])
    kwargs = {"cross_attention_kwargs": {"ip_adapter_masks": masks(2)}} if masked else {}
    given = {"image_prompt": pictures, "object_prompts": objects, **kwargs}
    found = ours(pipe, unit_latents, FULL, **given)
    in_pairs = ours(pipe, unit_latents, FULL, chunk_size=2, **given)
    assert (found - in_pairs).abs().max() <= 1e-4 * found.std()
    swapped = ours(pipe, unit_latents, FULL, **(given | {"image_prompt": pictures[::-1]}))
    assert (found - swapped).abs().max() > 1e-3


def masks(number: int) -> list[torch.Tensor]:
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    pictures = [PIL.Image.fromarray(mask) for mask in (left, 255 - left)]
    made = IPAdapterMaskProcessor().preprocess(pictures[:number], height=HEIGHT, width=WIDTH)
    return [mask.reshape(1, 1, HEIGHT, WIDTH) for mask in made]


def test_masks_say_where_pictures_count_as_in_diffusers(folder, unit_latents):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES["two adapters"])
    kwargs = {"ip_adapter_masks": masks(2)}
    found = ours(pipe, unit_latents, image_prompt=pictures, cross_attention_kwargs=kwargs)
    expected = diffusers_latents(
        pipe,
        CLIP,
        unit_latents,
        7.5,
        num_inference_steps=3,
        ip_adapter_image=pictures,
        cross_attention_kwargs=kwargs,
    )
    assert (found - expected).abs().max() <= 1e-4
    assert (found - ours(pipe, unit_latents, image_prompt=pictures)).abs().max() > 1e-2


def test_what_the_image_encoder_says_may_be_given_instead(folder, unit_latents):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES["two adapters"])
    expected = ours(pipe, unit_latents, image_prompt=pictures)
    embeds = pipe.prepare_ip_adapter_image_embeds(pictures, None, pipe.device, 1, True)
    pipe.image_encoder = None
    assert torch.equal(ours(pipe, unit_latents, image_prompt_embeds=embeds), expected)
    with pytest.raises(ConfigError, match=r"no image encoder, .* ip_adapter_image_embeds"):
        ours(pipe, unit_latents, image_prompt=pictures)


def test_sdxl_reads_pictures_as_diffusers_does(tmp_path, unit_latents):
    pipe = sdxl_pipeline()
    save_ip_adapter(tmp_path / "sdxl_models" / "xl.safetensors", pipe.unet)
    tiny_image_encoder().save_pretrained(tmp_path / "models" / "image_encoder")  # where those of SD 1.x lie
    picture(0).save(tmp_path / "0.png")
    asked = (ImagePrompt(str(tmp_path / "sdxl_models"), (tmp_path / "0.png",), 0.8),)
    adapters.apply(pipe, adapters.read(Recipe(image_prompts=asked)))
    pictures = read_pictures(asked)
    found = ours(pipe, unit_latents, image_prompt=pictures)
    control = torch.from_numpy(depth_control(CLIP))[:, None].repeat(1, 3, 1, 1)
    expected = pipe(
        PROMPT,
        image=control[[1]],
        negative_prompt=NEGATIVE,
        latents=unit_latents[[1]],
        guidance_scale=7.5,
        num_inference_steps=3,
        output_type="latent",
        ip_adapter_image=pictures,
    ).images
    assert (found[[1]] - expected).abs().max() <= 1e-4
    assert (found - ours(sdxl_pipeline(), unit_latents)).abs().max() > 1e-2


def test_pictures_and_adapters_have_to_go_together(folder, unit_latents):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES["two adapters"])
    with pytest.raises(ConfigError, match=r"has 2 IP-Adapters and no picture to read: give ip_adapter_image"):
        ours(pipe, unit_latents)
    with pytest.raises(ConfigError, match=r"has 2 IP-Adapters, and there is something to read for 1"):
        ours(pipe, unit_latents, image_prompt=picture(0))
    with pytest.raises(ConfigError, match=r"the model has none: load one with load_ip_adapter"):
        ours(tiny_pipeline(), unit_latents, image_prompt=picture(0))
    pipe.unload_ip_adapter()
    assert torch.equal(ours(pipe, unit_latents), ours(tiny_pipeline(), unit_latents))
    assert pictures is not None


def test_attention_slicing_in_the_adapters_place_is_told(folder, unit_latents):
    pipe, pictures = prompted(tiny_pipeline(), folder, *CASES["one"])
    pipe.enable_attention_slicing()
    with pytest.raises(ModelError, match=r"has a SlicedAttnProcessor instead of .* attention slicing off"):
        ours(pipe, unit_latents, image_prompt=pictures)


@pytest.mark.parametrize("kind", ["FaceID", "FaceID Plus"])
def test_adapters_of_faces_are_refused_by_name_before_anything_is_loaded(tmp_path, kind):
    file = save_ip_adapter(tmp_path / "face.safetensors", tiny_pipeline().unet, kind)
    with pytest.raises(ModelError, match=rf"face\.safetensors: a {kind} reads faces .*insightface"):
        adapters.read(Recipe(image_prompts=(ImagePrompt(str(file)),)))


def test_what_does_not_fit_is_told(folder, tmp_path):
    prompt = ImagePrompt(str(folder / "models" / "plain.safetensors"), (folder / "0.png",))
    with pytest.raises(ModelError, match=r"for 7 layers that read 16 .*this model has 8 that read 32"):
        adapters.apply(sdxl_pipeline(), adapters.read(Recipe(image_prompts=(prompt,))))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "plain.safetensors").write_bytes(Path(prompt.adapter).read_bytes())
    with pytest.raises(ModelError, match=r"no image encoder that gives 8 channels is there, expected one in"):
        adapters.apply(
            tiny_pipeline(),
            adapters.read(Recipe(image_prompts=(replace(prompt, adapter=str(tmp_path / "a")),))),
        )
    tensors = load_file(prompt.adapter)
    value = next(name for name in tensors if "to_v_ip" in name)
    for number, change in enumerate((None, tensors[value][:3].contiguous())):
        file = tmp_path / str(number) / "models" / "bad.safetensors"
        shutil.copytree(folder / "models", file.parent)
        changed = {**tensors, value: change}
        save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, file)
        with pytest.raises(ModelError, match=r"bad\.safetensors: its weights do not fit the model's layers"):
            adapters.apply(
                tiny_pipeline(), adapters.read(Recipe(image_prompts=(replace(prompt, adapter=str(file)),)))
            )
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="expected the two parts image_proj and ip_adapter"):
        adapters.read(Recipe(image_prompts=(ImagePrompt(str(tmp_path / "x.safetensors")),)))
    with pytest.raises(ConfigError, match="it has no picture to read: give it one with --ip-image"):
        read_pictures((replace(prompt, pictures=()),))
    (tmp_path / "no.png").write_text("no picture")
    with pytest.raises(ModelError, match=r"picture .*no\.png: cannot be read"):
        read_pictures((replace(prompt, pictures=(tmp_path / "no.png",)),))


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ModelError, match=r"huge\.png: cannot be read"):
        read_pictures((ImagePrompt("ip", (tmp_path / "huge.png",)),))
