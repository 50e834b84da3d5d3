"""The pipeline as a user of diffusers meets it."""

import dataclasses
import inspect

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from pipelines import (
    FULL,
    HEIGHT,
    NEGATIVE,
    PROMPT,
    WIDTH,
    diffusers_latents,
    make_pipe,
    same_run,
    tiny_autoencoder,
)
from tiny_models import sliding_card, tiny_components
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrender.config import (
    PER_FRAME,
    CorrespondenceConfig,
    InjectionConfig,
    MethodConfig,
    NoiseConfig,
)
from genrender.errors import ConfigError
from genrender.pipeline import GenerativeRenderingPipeline

pytestmark = pytest.mark.usefixtures("no_network")


def test_output_types(pipe, clip):
    settings = {"config": PER_FRAME, "num_inference_steps": 1}
    result = pipe(PROMPT, clip, **settings)
    assert result.frames.shape == (5, HEIGHT, WIDTH, 3)
    assert result.frames.dtype == np.float32
    assert 0 <= result.frames.min() < result.frames.max() <= 1
    pictures = pipe(PROMPT, clip, output_type="pil", **settings).frames
    assert all(isinstance(picture, PIL.Image.Image) for picture in pictures)
    assert np.abs(np.stack([np.asarray(p) for p in pictures]) / 255 - result.frames).max() <= 0.5 / 255 + 1e-6
    assert pipe(PROMPT, clip, output_type="latent", **settings).frames is None
    streamed = list(pipe.decode_frames(result.latents))
    np.testing.assert_array_equal(np.stack(streamed), result.frames)


def test_the_callback_sees_every_step_and_may_change_latents_or_stop(pipe, clip):
    settings = {"config": FULL, "num_inference_steps": 4, "output_type": "latent"}
    steps: list[tuple[int, int]] = []

    def watch(_, step, timestep, tensors):
        steps.append((step, int(timestep)))
        assert tensors["latents"].shape == (5, 4, HEIGHT // 8, WIDTH // 8)

    pipe(PROMPT, clip, callback_on_step_end=watch, **settings)
    assert [step for step, _ in steps] == [0, 1, 2, 3]
    assert [timestep for _, timestep in steps] == pipe.scheduler.timesteps.tolist()

    def stop(pipe, step, _, tensors):
        pipe._interrupt = step == 1
        return {"latents": torch.full_like(tensors["latents"], float(step))}

    assert (pipe(PROMPT, clip, callback_on_step_end=stop, **settings).latents == 1).all()


@pytest.mark.parametrize(("guidance_scale", "has_guidance"), [(3.0, True), (1.0, False)])
def test_callbacks_may_read_what_diffusers_pipelines_tell(clip, guidance_scale, has_guidance):
    told = []

    def read(pipe, *_):
        told.append((pipe.guidance_scale, pipe.do_classifier_free_guidance, pipe.num_timesteps))
        assert (pipe.clip_skip, pipe.cross_attention_kwargs, pipe.interrupt) == (None, None, False)

    settings = {"config": PER_FRAME, "num_inference_steps": 2, "output_type": "latent"}
    make_pipe()(PROMPT, clip, guidance_scale=guidance_scale, callback_on_step_end=read, **settings)
    assert told == [(guidance_scale, has_guidance, 2)] * 2


def test_processors_are_restored_when_a_run_fails(pipe, clip):
    before = pipe.unet.attn_processors

    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pipe(PROMPT, clip, config=FULL, num_inference_steps=2, callback_on_step_end=fail)
    assert all(processor is before[name] for name, processor in pipe.unet.attn_processors.items())


def test_progress_is_counted_in_steps(clip, capsys):
    pipe = make_pipe()
    pipe.set_progress_bar_config(disable=False)
    pipe(PROMPT, clip, config=PER_FRAME, num_inference_steps=3, output_type="latent")
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gbuffers": []}, "no G-buffers"),
        ({"gbuffers": sliding_card(1, 40, 44)}, "multiples of the VAE factor 8, for instance 40x40"),
        ({"gbuffers": sliding_card(1, 40, 56) + sliding_card(1, 40, 48)}, "several sizes"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"latents": torch.zeros(5, 4, 7, 5)}, r"latents of shape \(5, 4, 7, 5\), expected \(5, 4, 5, 7\)"),
        ({"config": MethodConfig(injection=InjectionConfig(alpha=1.5))}, "alpha is 1.5"),
        (
            {"config": MethodConfig(injection=InjectionConfig(layers="nowhere"))},
            "matches no self-attention layer",
        ),
        ({"config": MethodConfig(injection=InjectionConfig(n_keyframes=-1))}, "keyframes"),
        ({"config": MethodConfig(injection=InjectionConfig(n_keyframes=0))}, "keyframes"),
    ],
)
def test_settings_out_of_range_are_refused(pipe, clip, change, message):
    arguments = {"gbuffers": clip, "num_inference_steps": 1} | change
    with pytest.raises(ConfigError, match=message):
        pipe(PROMPT, **arguments)


def broken(stage, **values):
    # The tests' type checker would refuse these values at construction, but users run without one.
    for name, value in values.items():
        object.__setattr__(stage, name, value)
    return stage


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MethodConfig(noise=broken(NoiseConfig(), mode="perlin")), "unknown noise mode 'perlin'"),
        (MethodConfig(correspondence=broken(CorrespondenceConfig(), engine="x")), "unknown .* engine 'x'"),
        (MethodConfig(injection=broken(InjectionConfig(), unify="median")), "unknown unify rule 'median'"),
        (MethodConfig(injection=broken(InjectionConfig(), keyframes="best")), "unknown keyframe strategy"),
    ],
)
def test_unknown_names_are_refused_before_any_work(pipe, clip, config, message, monkeypatch):
    monkeypatch.setattr(pipe, "encode_prompt", lambda *_: pytest.fail("work has begun"))
    with pytest.raises(ConfigError, match=message):
        pipe(PROMPT, clip, config=config, latents=torch.zeros(5, 4, 5, 7))


@pytest.mark.parametrize("prompts", [(["a fox", "a cat"], None), (PROMPT, ["a dog"]), (None, None)])
def test_lists_of_prompts_are_refused(pipe, clip, prompts):
    # Again past the tests' type checker.
    call = inspect.unwrap(GenerativeRenderingPipeline.__call__)
    with pytest.raises(ConfigError, match="expected one str"):
        call(pipe, prompts[0], clip, prompts[1], num_inference_steps=1)


def test_save_and_load_round_trip(pipe, saved, clip):
    assert not list(saved["ours"].rglob("*.bin"))
    loaded = GenerativeRenderingPipeline.from_pretrained(saved["ours"])
    assert isinstance(loaded, GenerativeRenderingPipeline)
    assert same_run(loaded, pipe, clip)


def test_a_stable_diffusion_folder_loads_unchanged(pipe, saved, clip):
    loaded = GenerativeRenderingPipeline.from_pretrained(
        saved["plain"], controlnet=tiny_components()["controlnet"]
    )
    assert same_run(loaded, pipe, clip)


def test_a_controlnet_pipeline_folder_loads_unchanged(pipe, saved, clip):
    assert same_run(GenerativeRenderingPipeline.from_pretrained(saved["with_controlnet"]), pipe, clip)


def test_diffusers_own_pipeline_loads_our_folder(saved):
    loaded = StableDiffusionControlNetPipeline.from_pretrained(saved["ours"], safety_checker=None)
    assert type(loaded) is StableDiffusionControlNetPipeline


def test_a_safety_checker_in_the_folder_is_loaded_and_blackens_what_it_flags(clip, tmp_path):
    torch.manual_seed(0)
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config=vision | {"image_size": 32, "patch_size": 16}, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    parts = tiny_components()
    del parts["controlnet"]
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    StableDiffusionPipeline(**parts, safety_checker=checker, feature_extractor=extractor).save_pretrained(
        tmp_path
    )
    loaded = GenerativeRenderingPipeline.from_pretrained(tmp_path, controlnet=tiny_components()["controlnet"])
    loaded.set_progress_bar_config(disable=True)
    settings = {"config": PER_FRAME, "num_inference_steps": 1}
    # No similarity reaches this threshold: nothing is flagged.
    loaded.safety_checker.concept_embeds_weights.data.fill_(2.0)
    clean = loaded(PROMPT, clip, **settings)
    assert clean.frames.max() > 0
    assert clean.flagged_frames == []
    # Every similarity reaches this one.
    loaded.safety_checker.concept_embeds_weights.data.fill_(-2.0)
    flagged = loaded(PROMPT, clip, **settings)
    assert (flagged.frames == 0).all()
    assert flagged.flagged_frames == [0, 1, 2, 3, 4]
    assert loaded(PROMPT, clip, output_type="latent", **settings).flagged_frames == []


def test_flagged_frames_are_named_one_by_one(pipe, clip, monkeypatch):
    seen = 0

    def flag_the_second_and_the_last(pictures: Tensor, *_):
        nonlocal seen
        flags = [frame in (1, 4) for frame in range(seen, seen + len(pictures))]
        seen += len(pictures)
        return pictures, flags

    monkeypatch.setattr(pipe, "run_safety_checker", flag_the_second_and_the_last)
    result = pipe(PROMPT, clip, config=PER_FRAME, num_inference_steps=1, chunk_size=2, output_type="pil")
    assert result.flagged_frames == [1, 4]
    seen, told = 0, []
    for index, _ in enumerate(pipe.decode_frames(result.latents, told.append)):
        assert told == [frame for frame in (1, 4) if frame <= index]
    assert told == [1, 4]
    seen = 0
    assert len(list(pipe.decode_frames(result.latents))) == 5


def test_an_ip_adapter_reaches_every_frame_and_survives_the_injections(clip, unit_latents):
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        projection_dim=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    extractor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    parts = {"feature_extractor": extractor, "image_encoder": CLIPVisionModelWithProjection(vision).eval()}
    pipe = make_pipe(**parts)
    pipe.unet._load_ip_adapter_weights([random_ip_adapter(pipe.unet, image_width=8)])
    picture = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    settings = {"num_inference_steps": 3, "output_type": "latent", "latents": unit_latents}
    per_frame = pipe(PROMPT, clip, NEGATIVE, PER_FRAME, ip_adapter_image=picture, **settings).latents
    expected = diffusers_latents(
        pipe, clip, unit_latents, 7.5, num_inference_steps=3, ip_adapter_image=picture
    )
    assert (per_frame - expected).abs().max() <= 1e-4
    other = PIL.Image.new("RGB", (40, 40), "red")
    runs = [
        pipe(PROMPT, clip, NEGATIVE, FULL, ip_adapter_image=image, chunk_size=chunk_size, **settings).latents
        for image, chunk_size in ((picture, 8), (picture, 2), (other, 8))
    ]
    assert (runs[0] - runs[1]).abs().max() <= 1e-5 * runs[0].std()
    assert not torch.allclose(runs[0], runs[2], atol=1e-3)


def random_ip_adapter(unet: UNet2DConditionModel, image_width: int, n_tokens: int = 4) -> dict:
    """Weights of an IP-Adapter in the layout of the published ones."""
    text_width = unet.config.cross_attention_dim
    keys_and_values, index = {}, 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = unet.get_submodule(name.removesuffix(".processor")).query_dim
            for part in ("to_k_ip", "to_v_ip"):
                keys_and_values[f"{index}.{part}.weight"] = torch.randn(width, text_width)
            index += 2
    projection = {
        "proj.weight": torch.randn(n_tokens * text_width, image_width),
        "proj.bias": torch.randn(n_tokens * text_width),
        "norm.weight": torch.ones(text_width),
        "norm.bias": torch.zeros(text_width),
    }
    return {"image_proj": projection, "ip_adapter": keys_and_values}


def test_a_tiny_autoencoder_takes_the_place_of_the_vae(clip):
    frames = make_pipe(vae=tiny_autoencoder().eval())(PROMPT, clip, config=FULL, num_inference_steps=1).frames
    assert frames.shape == (5, HEIGHT, WIDTH, 3)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.injection.alpha = 0.1  # type: ignore[misc]
