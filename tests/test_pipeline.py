import dataclasses
import gc
import inspect
import json
import logging
import shutil
import socket
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from tiny_models import empty_clip, sd15_shaped_unet, sliding_card, tiny_components, tiny_unet
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrender.backbones import precision, sources
from genrender.backbones.loading import default_device
from genrender.config import (
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    MethodConfig,
    NoiseConfig,
)
from genrender.correspondence import engines
from genrender.correspondence.texture import TextureCorrespondence
from genrender.errors import ConfigError, ModelError
from genrender.gbuffer.control import depth_control
from genrender.injection.state import AttentionState
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline

HEIGHT, WIDTH = 40, 56  # latents of 5 x 7: neither square nor even
PROMPT, NEGATIVE = "a red fox", "blurry"
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch):
    """No test here names a hub model, so none may open a connection."""

    attempts: list[tuple] = []

    def refuse(*arguments, **_):
        attempts.append(arguments)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    # Libraries swallow connection errors, so the attempt itself is what fails the test.
    assert attempts == []


def make_pipe(unet=None, **replacements) -> GenerativeRenderingPipeline:
    pipe = GenerativeRenderingPipeline(**(tiny_components(unet) | replacements))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pipe() -> GenerativeRenderingPipeline:
    return make_pipe()


@pytest.fixture(scope="module")
def clip():
    return sliding_card(5, HEIGHT, WIDTH)


@pytest.fixture
def unit_latents() -> Tensor:
    return torch.randn(5, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


def diffusers_latents(pipe, clip, latents: Tensor, guidance_scale: float, **arguments) -> Tensor:
    """Each frame on its own through diffusers' ControlNet pipeline."""
    reference = StableDiffusionControlNetPipeline(**pipe.components, requires_safety_checker=False)
    reference.set_progress_bar_config(disable=True)
    images = torch.from_numpy(depth_control(clip))[:, None].repeat(1, 3, 1, 1)
    return torch.cat(
        [
            reference(
                PROMPT,
                image=images[[frame]],
                negative_prompt=NEGATIVE,
                latents=latents[[frame]],
                guidance_scale=guidance_scale,
                output_type="latent",
                **arguments,
            ).images
            for frame in range(len(clip))
        ]
    )


@pytest.mark.parametrize("guidance_scale", [7.5, 1.0])
@pytest.mark.parametrize(
    "from_config",
    [
        DDIMScheduler.from_config,
        DPMSolverMultistepScheduler.from_config,
        EulerDiscreteScheduler.from_config,
        HeunDiscreteScheduler.from_config,
        partial(PNDMScheduler.from_config, skip_prk_steps=True),  # as Stable Diffusion 1.5 comes
    ],
    ids=["DDIM", "DPM++", "Euler", "Heun", "PNDM"],
)
def test_with_every_injection_off_latents_equal_diffusers(clip, unit_latents, from_config, guidance_scale):
    pipe = make_pipe()
    pipe.scheduler = from_config(pipe.scheduler.config)
    expected = diffusers_latents(
        pipe, clip, unit_latents, guidance_scale, num_inference_steps=6, controlnet_conditioning_scale=0.8
    )
    result = pipe(
        PROMPT,
        clip,
        NEGATIVE,
        PER_FRAME,
        num_inference_steps=6,
        guidance_scale=guidance_scale,
        controlnet_conditioning_scale=0.8,
        latents=unit_latents,
        chunk_size=2,
        output_type="latent",
    )
    assert (result.latents - expected).abs().max() <= 1e-4
    assert expected.std() > 0.1


def test_the_control_image_matters(pipe, clip, unit_latents):
    settings = {
        "config": PER_FRAME,
        "num_inference_steps": 2,
        "latents": unit_latents,
        "output_type": "latent",
    }
    with_depth = pipe(PROMPT, clip, **settings).latents
    without = pipe(PROMPT, clip, controlnet_conditioning_scale=0.0, **settings).latents
    assert not torch.allclose(with_depth, without, atol=1e-2)


@pytest.mark.parametrize("config", [PER_FRAME, FULL])
def test_stable_diffusions_exact_structure_runs_and_equals_diffusers(config):
    pipe = make_pipe(sd15_shaped_unet())
    clip = sliding_card(2, 64, 96)
    latents = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    result = pipe(
        PROMPT, clip, NEGATIVE, config, num_inference_steps=3, latents=latents, output_type="latent"
    ).latents
    expected = diffusers_latents(pipe, clip, latents, 7.5, num_inference_steps=3)
    if config is PER_FRAME:
        assert (result - expected).abs().max() <= 1e-4
    else:
        assert result.isfinite().all()
        assert (result - expected).abs().max() > 1e-2


def test_every_frame_goes_through_the_networks_once_at_every_step(clip, monkeypatch):
    """Keyframes, too: what comes out of their pass counts."""
    pipe = make_pipe()
    rows, forward = [], pipe.unet.forward

    def counted(sample, *arguments, **options):
        rows.append(len(sample))
        return forward(sample, *arguments, **options)

    monkeypatch.setattr(pipe.unet, "forward", counted)
    settings = {"num_inference_steps": 3, "guidance_scale": 2.0, "output_type": "latent"}
    pipe(PROMPT, clip, config=FULL, chunk_size=2, **settings)
    assert sum(rows) == 3 * 2 * len(clip)
    assert rows[0] == 2 * FULL.injection.n_keyframes


@pytest.mark.parametrize("config", [PER_FRAME, FULL])
@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerAncestralDiscreteScheduler])
def test_chunk_size_changes_nothing(clip, config, scheduler):
    pipe = make_pipe()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    results = [
        pipe(PROMPT, clip, config=config, num_inference_steps=3, chunk_size=chunk_size)
        for chunk_size in (1, 2, 8)
    ]
    # Euler's samples have the scale of sigma, 14.6 at the start, so the bound is relative to their spread.
    spread = results[0].latents.std()
    for other in results[1:]:
        assert (other.latents - results[0].latents).abs().max() <= 1e-5 * spread
        np.testing.assert_allclose(other.frames, results[0].frames, atol=1e-5)


def test_a_seed_repeats_a_run_and_another_one_does_not(pipe, clip):
    runs = [
        pipe(PROMPT, clip, config=FULL, num_inference_steps=2, seed=seed, output_type="latent").latents
        for seed in (3, 3, 4)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


def test_scheduler_noise_follows_seed_or_generator(clip, unit_latents):
    pipe = make_pipe()
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    settings = {
        "config": PER_FRAME,
        "num_inference_steps": 2,
        "latents": unit_latents,
        "output_type": "latent",
    }
    by_seed = pipe(PROMPT, clip, seed=3, **settings).latents
    assert torch.equal(pipe(PROMPT, clip, seed=3, **settings).latents, by_seed)
    assert not torch.allclose(pipe(PROMPT, clip, seed=4, **settings).latents, by_seed)
    by_generator = [
        pipe(PROMPT, clip, seed=seed, generator=torch.Generator().manual_seed(11), **settings).latents
        for seed in (3, 4)
    ]
    assert torch.equal(*by_generator)


def test_the_generator_gives_the_seed_where_none_is_given(clip):
    pipe = make_pipe()
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)

    def latents(**arguments) -> Tensor:
        settings = {"config": FULL, "num_inference_steps": 2, "output_type": "latent"}
        return pipe(PROMPT, clip, **settings, **arguments).latents

    by_seed = latents(seed=11)
    assert torch.equal(latents(generator=torch.Generator().manual_seed(11)), by_seed)
    assert not torch.allclose(latents(generator=torch.Generator().manual_seed(12)), by_seed)
    assert torch.equal(latents(), latents(seed=0))


def test_alpha_zero_equals_pre_only_bit_for_bit(pipe, clip, unit_latents, monkeypatch):
    def latents(alpha: float) -> Tensor:
        config = MethodConfig(injection=InjectionConfig(alpha=alpha, n_keyframes=2))
        settings = {"num_inference_steps": 3, "latents": unit_latents, "output_type": "latent"}
        return pipe(PROMPT, clip, config=config, **settings).latents

    assert any(gbuffer.visible.any() for gbuffer in clip)
    alpha_zero = latents(0.0)
    assert not torch.allclose(latents(0.9), alpha_zero, atol=1e-3)
    # The whole method, correspondence and all, whose post-attention injection hands its input back.
    monkeypatch.setattr(AttentionState, "injection", lambda _self, _layer, output: output)
    assert torch.equal(latents(0.9), alpha_zero)


def test_where_nothing_is_visible_nothing_is_blended(pipe, unit_latents):
    nothing = empty_clip(5, HEIGHT, WIDTH)
    settings = {"num_inference_steps": 2, "latents": unit_latents, "output_type": "latent"}
    runs = [
        pipe(PROMPT, nothing, config=MethodConfig(injection=InjectionConfig(alpha=alpha)), **settings).latents
        for alpha in (0.0, 0.9)
    ]
    assert torch.equal(*runs)


def test_paper_runs_as_published(pipe, clip, monkeypatch):
    made: list[CorrespondenceConfig] = []

    class Watched(TextureCorrespondence):
        def __init__(self, gbuffers, config, device, folder):
            made.append(config)
            super().__init__(gbuffers, config, device, folder)

    monkeypatch.setattr(engines, "TextureCorrespondence", Watched)
    settings = {"num_inference_steps": 2, "output_type": "latent"}
    paper = PRESETS["paper"].method
    published = pipe(PROMPT, clip, config=paper, **settings).latents
    assert made == [CorrespondenceConfig(fill_order="sequence", restore_spread=False, inpaint=True)]
    for change in ({"fill_order": "quality"}, {"restore_spread": True}, {"ratio": 1.0}):
        config = dataclasses.replace(
            paper, correspondence=dataclasses.replace(paper.correspondence, **change)
        )
        other = pipe(PROMPT, clip, config=config, **settings).latents
        assert made[-1] == config.correspondence
        assert not torch.allclose(other, published, atol=1e-5), change


def test_keyframes_change_when_the_timestep_does(clip, monkeypatch):
    drawn: list[int] = []
    choose = AttentionState.choose

    def watch(*arguments):
        drawn.append(arguments[4])
        return choose(*arguments)

    monkeypatch.setattr(AttentionState, "choose", watch)
    pipe = make_pipe()
    pipe.scheduler = PNDMScheduler.from_config(pipe.scheduler.config, skip_prk_steps=True)
    pipe(PROMPT, clip, config=FULL, num_inference_steps=4, output_type="latent")
    assert drawn == [0, 1, 1, 2, 3]


def test_a_run_keeps_nothing_of_its_clip(pipe):
    clip = sliding_card(3, HEIGHT, WIDTH)
    settings = {"config": FULL, "num_inference_steps": 1, "output_type": "latent"}
    pipe(PROMPT, clip, **settings)
    gc.collect()
    gc.disable()
    try:
        pipe(PROMPT, clip, **settings)
        gbuffer = weakref.ref(clip[0])
        del clip
        assert gbuffer() is None
    finally:
        gc.enable()


def test_pre_attention_and_post_attention_each_change_the_result(pipe, clip, unit_latents):
    def latents(pre_attn: bool, alpha: float) -> Tensor:
        config = MethodConfig(injection=InjectionConfig(pre_attn=pre_attn, alpha=alpha, n_keyframes=2))
        settings = {"num_inference_steps": 2, "latents": unit_latents, "output_type": "latent"}
        return pipe(PROMPT, clip, config=config, **settings).latents

    runs = [latents(pre_attn, alpha) for pre_attn in (False, True) for alpha in (0.0, 0.5)]
    for i, first in enumerate(runs):
        for second in runs[:i]:
            assert not torch.allclose(first, second, atol=1e-4)


def test_a_clip_of_one_frame_is_its_own_keyframe(pipe, clip, unit_latents):
    settings = {"num_inference_steps": 3, "latents": unit_latents[:1], "output_type": "latent"}
    config = MethodConfig(injection=InjectionConfig(pre_attn=True, alpha=0.0, n_keyframes=7))
    extended = pipe(PROMPT, clip[:1], config=config, **settings).latents
    plain = pipe(PROMPT, clip[:1], config=PER_FRAME, **settings).latents
    torch.testing.assert_close(extended, plain, atol=1e-5, rtol=1e-5)


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


# Folders


def no_checker() -> dict:
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def same_run(first: GenerativeRenderingPipeline, second: GenerativeRenderingPipeline, clip) -> bool:
    runs = []
    for pipe in (first, second):
        pipe.set_progress_bar_config(disable=True)
        runs.append(pipe(PROMPT, clip, config=FULL, num_inference_steps=2, seed=1))
    return np.array_equal(runs[0].frames, runs[1].frames)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny models as three kinds of folder, and their ControlNet alone."""
    root = tmp_path_factory.mktemp("models")
    parts = tiny_components()
    folders = {name: root / name for name in ("ours", "plain", "with_controlnet", "controlnet")}
    GenerativeRenderingPipeline(**parts).save_pretrained(folders["ours"])
    StableDiffusionControlNetPipeline(**parts, **no_checker()).save_pretrained(folders["with_controlnet"])
    parts.pop("controlnet").save_pretrained(folders["controlnet"])
    StableDiffusionPipeline(**parts, **no_checker()).save_pretrained(folders["plain"])
    return folders


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


def tiny_autoencoder(n_levels: int = 4, latent_channels: int = 4) -> AutoencoderTiny:
    """Of the class of TAESD."""
    return AutoencoderTiny(
        encoder_block_out_channels=(4,) * n_levels,
        decoder_block_out_channels=(4,) * n_levels,
        num_encoder_blocks=(1,) * n_levels,
        num_decoder_blocks=(1,) * n_levels,
        latent_channels=latent_channels,
    )


def test_a_tiny_autoencoder_takes_the_place_of_the_vae(clip):
    frames = make_pipe(vae=tiny_autoencoder().eval())(PROMPT, clip, config=FULL, num_inference_steps=1).frames
    assert frames.shape == (5, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("kind", ["ours", "with_controlnet"])
def test_load_pipeline_takes_a_folder(pipe, saved, clip, kind):
    assert same_run(load_pipeline(str(saved[kind]), device="cpu", dtype=torch.float32), pipe, clip)


def test_load_pipeline_adds_a_controlnet(pipe, saved, clip):
    loaded = load_pipeline(
        str(saved["plain"]), controlnet=str(saved["controlnet"]), device="cpu", dtype=torch.float32
    )
    assert same_run(loaded, pipe, clip)


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


def test_bfloat16_networks_stay_close_to_full_precision(clip, unit_latents):
    """Networks in bfloat16 on the CPU, every injection on; latents stay float32."""
    settings = {"config": FULL, "num_inference_steps": 2, "guidance_scale": 2.0, "latents": unit_latents}
    full = make_pipe()(PROMPT, clip, **settings)
    half = make_pipe().to(torch.bfloat16)(PROMPT, clip, **settings)
    assert half.latents.dtype == torch.float32
    assert half.frames.dtype == np.float32
    assert (half.latents - full.latents).std() <= 0.05 * full.latents.std()


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


@pytest.mark.parametrize("index", ["{", "[]", '{"_class_name": ["a", "b"]}'])
def test_a_damaged_model_index_is_reported(tmp_path, index):
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(
        ModelError, match=r"model .*: its model_index\.json names|model_index\.json: its JSON cannot"
    ):
        load_pipeline(str(tmp_path))


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
    assert sources.find_model("sd15") == sources.ModelSource(
        sources.SD15_HUB_ID, sources.SD15_DEPTH_CONTROLNET, is_local=False
    )
    assert sources.find_model("owner/name") == sources.ModelSource("owner/name", None, is_local=False)
    assert sources.find_model(str(tmp_path)) == sources.ModelSource(str(tmp_path), None, is_local=True)


def test_a_missing_pocket_model_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "POCKET_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"model pocket: .*genrender train pocket"):
        load_pipeline("pocket")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no model_index\.json"):
        load_pipeline(str(tmp_path))


def test_a_folder_without_a_controlnet_says_so(saved):
    with pytest.raises(ModelError, match="it has no ControlNet"):
        load_pipeline(str(saved["plain"]))


def test_a_controlnet_beside_a_stable_diffusion_model_is_found(pipe, saved, clip, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(saved["plain"], folder)
    shutil.copytree(saved["controlnet"], folder / "controlnet")
    assert same_run(load_pipeline(str(folder), device="cpu", dtype=torch.float32), pipe, clip)


def test_another_kind_of_pipeline_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    with pytest.raises(ModelError, match="names a StableDiffusionXLPipeline"):
        load_pipeline(str(tmp_path))


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
        ("model_index.json", {"unet": 3}),
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
    with pytest.raises(ModelError, match=rf"lack the weights {part}\.conv_in\.weight: get them anew"):
        load_pipeline(str(folder), device="cpu", dtype=torch.float32)


@pytest.mark.parametrize("part", ["tokenizer", "scheduler"])
def test_a_component_without_its_folder_is_named(saved, tmp_path, part):
    folder = tmp_path / "model"
    shutil.copytree(saved["ours"], folder)
    shutil.rmtree(folder / part)
    with pytest.raises(ModelError, match=f"names {part}, for which there is no folder"):
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

    monkeypatch.setattr(GenerativeRenderingPipeline, "to", move)
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
    with pytest.raises(ModelError, match="reads text of 16 channels, its ControlNet 8"):
        load_pipeline(str(saved["plain"]), controlnet=str(tmp_path))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.injection.alpha = 0.1  # type: ignore[misc]
