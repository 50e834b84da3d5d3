"""The front door: every keyword of diffusers' pipelines means the same here, or is refused by name."""

import inspect

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from pipelines import NEGATIVE, PROMPT, diffusers_latents, make_pipe

from genrender.backbones.recipe import ImagePrompt, Recipe
from genrender.config import PER_FRAME
from genrender.errors import ConfigError
from genrender.sampling.call import ClipCall
from genrender.sampling.keywords import REFUSED, Keywords, completed, keywords_of, sampling_of

PIPELINES = (
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionXLAdapterPipeline,
    AnimateDiffControlNetPipeline,
)
OURS = {*Keywords.__annotations__, *inspect.signature(ClipCall.__call__).parameters}
CALLED = {"num_inference_steps": 4, "output_type": "latent"}


def words_of(kind: type) -> set[str]:
    return {*inspect.signature(kind.__call__).parameters} - {"self", "args", "kwargs"}


@pytest.mark.parametrize("kind", PIPELINES)
def test_every_keyword_of_diffusers_is_taken_or_refused_by_name(kind):
    words = words_of(kind)
    assert len(words) > 10
    assert words - OURS - {*REFUSED} == set()


def test_what_is_refused_is_nowhere_taken():
    assert not OURS & {*REFUSED}


@pytest.mark.parametrize(
    ("keyword", "fact"),
    [
        ({"image": 1}, "image means nothing here: control pictures come from the G-buffers"),
        ({"height": 64}, "as large as the G-buffers"),
        ({"num_images_per_prompt": 2}, "call once for every seed"),
        ({"guidance_scal": 2.0}, "unknown keyword 'guidance_scal', expected perhaps guidance_scale"),
        ({"output_type": "mp4"}, "expected np, pt, pil, latent"),
        ({"controlnet_conditioning_scale": [1.0, 2.0]}, "2 numbers, expected one for each of 1"),
        ({"control_guidance_end": 0.0}, "0 <= start < end <= 1"),
        ({"cross_attention_kwargs": {"gligen": {}}}, "'gligen', which nothing here reads, expected of ip_ad"),
    ],
)
def test_what_means_nothing_is_refused(pipe, clip, keyword, fact):
    with pytest.raises(ConfigError) as refused:
        pipe(PROMPT, clip, **keyword)
    assert fact in str(refused.value)


def test_pictures_of_a_recipe_are_read_for_its_calls(tmp_path):
    PIL.Image.new("RGB", (4, 3), "red").save(tmp_path / "red.png")
    recipe = Recipe(image_prompts=(ImagePrompt("ip", (tmp_path / "red.png",)),))
    standard = keywords_of(recipe)
    assert standard["ip_adapter_image"][0][0].size == (4, 3)
    assert completed({"eta": 0.5}, standard) == {"eta": 0.5, **standard}
    assert completed({"ip_adapter_image_embeds": None}, standard) == {"ip_adapter_image_embeds": None}
    # Without pictures a call gives them.
    assert keywords_of(Recipe(image_prompts=(ImagePrompt("ip"),))) == {}


def test_no_number_of_steps_is_the_usual_one():
    assert sampling_of({"num_inference_steps": None}, 0, 8, 20).n_steps == 20


def test_noise_levels_may_be_arrays():
    sampling = sampling_of({"sigmas": np.array([10.0, 1.0]), "timesteps": None}, 0, 8, 20)
    assert (sampling.sigmas, sampling.timesteps) == ((10.0, 1.0), ())


@pytest.mark.parametrize(
    "words",
    [
        {"control_guidance_start": 0.4},
        {"control_guidance_end": 0.6},
        {"controlnet_conditioning_scale": 0.3},
        {"guess_mode": True},
    ],
    ids=lambda words: next(iter(words)),
)
def test_called_as_in_diffusers_with_injections_off_latents_are_diffusers_own(clip, unit_latents, words):
    pipe = make_pipe()
    called = {"guidance_scale": 5.0, **CALLED}
    ours = pipe(PROMPT, clip, NEGATIVE, PER_FRAME, latents=unit_latents, **called, **words).latents
    plain = pipe(PROMPT, clip, NEGATIVE, PER_FRAME, latents=unit_latents, **called).latents
    expected = diffusers_latents(pipe, clip, unit_latents, 5.0, num_inference_steps=4, **words)
    assert (ours - expected).abs().max() <= 1e-4
    assert (ours - plain).abs().max() > 1e-2


def test_features_instead_of_a_prompt_give_the_same_frames(pipe, clip):
    conditional, unconditional = pipe.encode_prompt(PROMPT, pipe.device, 1, True, NEGATIVE)
    said = pipe(PROMPT, clip, NEGATIVE, seed=3, **CALLED).latents
    features = pipe(
        None, clip, prompt_embeds=conditional, negative_prompt_embeds=unconditional, seed=3, **CALLED
    ).latents
    assert torch.equal(said, features)


def test_prompts_over_time_leave_the_first_frame(pipe, clip):
    plain = pipe(PROMPT, clip, config=PER_FRAME, **CALLED).latents
    changing = pipe(PROMPT, clip, config=PER_FRAME, prompts_at=[(4, "a blue whale")], **CALLED).latents
    assert torch.allclose(plain[0], changing[0], atol=1e-5)
    assert (plain[4] - changing[4]).abs().max() > 1e-2


@pytest.mark.parametrize("word", ["dtype", "torch_dtype"])
def test_numbers_may_be_asked_for_by_both_words(pipe, tmp_path, word):
    pipe.save_pretrained(tmp_path)
    loaded = type(pipe).from_pretrained(tmp_path, **{word: torch.bfloat16})
    assert {loaded.unet.dtype, loaded.vae.dtype, loaded.controlnet.dtype} == {torch.bfloat16}
