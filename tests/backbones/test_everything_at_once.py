"""All that a recipe can name, in one model: equal to diffusers' own pipeline with the same in it."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from control_runs import HEIGHT, N_FRAMES, WIDTH
from safetensors.torch import save_file
from test_lora import SDXL_UNET as SDXL_LAYERS
from tiny_adapters import (
    UNET_LAYERS,
    kohya_names,
    loha,
    lora,
    made,
    save_ip_adapter,
    save_kohya,
    tiny_image_encoder,
)
from tiny_controls import other_controlnet
from tiny_models import TEXT_WIDTH, sliding_card
from tiny_sources import save_sd, save_sdxl

from genrender.backbones.families import backbone_of
from genrender.backbones.loading import load_networks
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
from genrender.backbones.samplers import make_sampler
from genrender.config import PER_FRAME, InjectionConfig, MethodConfig
from genrender.runs.make import read_pictures
from genrender.sampling.loop import SamplingConfig, decode_frames, sample
from genrender.sampling.surface import ClipSurface

CLIP = sliding_card(N_FRAMES, HEIGHT, WIDTH)
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))
PROMPT, NEGATIVE = "a blot fox", "dull"
CONTROLS = (Control(scale=0.8, end=0.7), Control("segmentation", "", 0.5, 0.3))


@pytest.fixture(scope="module", params=["SD", "SDXL"])
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    root: Path = tmp_path_factory.mktemp("all")
    is_xl = request.param == "SDXL"
    base = (save_sdxl if is_xl else save_sd)(root / "base")
    plain = load_networks(Recipe(str(base), device="cpu", precision="float32"))
    names = kohya_names(
        SDXL_LAYERS if is_xl else UNET_LAYERS, ["lora_te1", "lora_te2"] if is_xl else ["lora_te"]
    )
    ink = save_kohya(root / "ink.safetensors", made(plain, names, lora))
    wash = save_kohya(root / "wash.safetensors", made(plain, names, loha))
    words = {"clip_l": torch.randn(2, TEXT_WIDTH), "clip_g": torch.randn(2, TEXT_WIDTH)}
    save_file(words if is_xl else {"emb_params": words["clip_l"]}, root / "blot.safetensors")
    save_ip_adapter(root / "models" / "look.safetensors", plain.unet)
    tiny_image_encoder().save_pretrained(root / "models" / "image_encoder")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(root / "look.png")
    other_controlnet(plain.unet).save_pretrained(root / "parts")
    return Recipe(
        str(base),
        controls=(CONTROLS[0], Control("segmentation", str(root / "parts"), 0.5, 0.3)),
        loras=(Lora(str(ink), 0.7), Lora(str(wash), 0.4)),
        embeddings=(str(root / "blot.safetensors"),),
        image_prompts=(ImagePrompt(str(root / "models" / "look.safetensors"), (root / "look.png",), 0.5),),
        sampler="dpm++-2m-karras",
        precision="float32",
        device="cpu",
    )


def ours(pipeline, recipe: Recipe, latents: torch.Tensor, method: MethodConfig, chunk_size: int = 8):
    backbone = backbone_of(pipeline, make_sampler(recipe.sampler or "model", pipeline.scheduler))
    surface = ClipSurface(CLIP, backbone.vae_factor, method, 0, backbone.device)
    pictures = read_pictures(recipe.image_prompts)
    conditions = Conditions(
        PROMPT, NEGATIVE, guidance_scale=4.0, controls=recipe.controls, image_prompt=pictures
    )
    sampling = SamplingConfig(5, chunk_size=chunk_size, latents=latents)
    return backbone, sample(backbone, conditions, surface, method, sampling)[range(N_FRAMES)]


def test_frames_are_those_of_diffusers_and_under_the_injections_all_of_it_runs(recipe):
    latents = torch.randn(N_FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))
    pipeline = load_networks(recipe)
    backbone, found = ours(pipeline, recipe, latents, PER_FRAME)
    frames = list(decode_frames(backbone, found))
    plain = load_networks(Recipe(recipe.base, sampler=recipe.sampler, precision="float32", device="cpu"))
    bare = Recipe(recipe.base, controls=(CONTROLS[0],), sampler=recipe.sampler)
    _, without = ours(plain, bare, latents, PER_FRAME)
    assert (found - without).abs().max() > 1e-1

    # diffusers has no key for a scheduler of the run.
    pipeline.scheduler = make_sampler("dpm++-2m-karras", pipeline.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    surface = ClipSurface(CLIP, backbone.vae_factor, PER_FRAME, 0, backbone.device)
    kinds = [control.kind for control in recipe.controls]
    for frame in range(N_FRAMES):
        pictures = surface.control_images([frame], kinds)
        settings = {
            "image": [pictures[kind] for kind in kinds],
            "negative_prompt": pipeline.maybe_convert_prompt(NEGATIVE, pipeline.tokenizer),
            "latents": latents[[frame]],
            "num_inference_steps": 5,
            "guidance_scale": 4.0,
            "controlnet_conditioning_scale": [control.scale for control in recipe.controls],
            "control_guidance_start": [control.start for control in recipe.controls],
            "control_guidance_end": [control.end for control in recipe.controls],
            "ip_adapter_image": read_pictures(recipe.image_prompts),
        }
        expected = pipeline(PROMPT, output_type="latent", **settings).images
        assert (found[[frame]] - expected).abs().max() <= 1e-4
        shown_frame = pipeline(PROMPT, output_type="np", **settings).images[0]
        assert np.abs(frames[frame] - shown_frame).max() <= 1e-4

    _, injected = ours(pipeline, recipe, latents, FULL)
    _, in_ones = ours(pipeline, recipe, latents, FULL, chunk_size=1)
    assert (injected - found).abs().max() > 1e-2
    assert (injected - in_ones).abs().max() <= 1e-4 * injected.abs().max()
