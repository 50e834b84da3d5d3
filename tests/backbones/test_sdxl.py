"""Stable Diffusion XL through the same loop: equal to diffusers' pipeline with all injections off."""

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLControlNetPipeline
from PIL import Image
from tiny_models import (
    TEXT_WIDTH,
    sliding_card,
    tiny_pipeline,
)
from tiny_sdxl import sdxl_pipeline

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Backbone, Conditions, Denoiser, Step
from genrender.backbones.recipe import Control
from genrender.backbones.sdxl import StableDiffusionXL
from genrender.backbones.stable_diffusion import StableDiffusion
from genrender.config import PER_FRAME, InjectionConfig, LatentConfig, MethodConfig, NoiseConfig
from genrender.errors import ModelError
from genrender.gbuffer.control import depth_control
from genrender.pipeline import GenerativeRenderingXLPipeline
from genrender.sampling.loop import SamplingConfig, decode_frames, sample
from genrender.sampling.surface import ClipSurface

HEIGHT, WIDTH, N_FRAMES = 40, 56, 4
CLIP = sliding_card(N_FRAMES, HEIGHT, WIDTH)
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))
ONE_STEP = {"num_inference_steps": 1, "guidance_scale": 1.0, "output_type": "np"}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLControlNetPipeline:
    return sdxl_pipeline()


@pytest.fixture
def unit_latents() -> torch.Tensor:
    return torch.randn(N_FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


def sampled(pipeline, method: MethodConfig, latents=None, n_steps: int = 3, **conditions) -> torch.Tensor:
    backbone = backbone_of(pipeline)
    surface = ClipSurface(CLIP, backbone.vae_factor, method, 0, backbone.device)
    asked = Conditions(**({"prompt": "a red fox", "negative_prompt": "blurry"} | conditions))
    sampling = SamplingConfig(n_steps, chunk_size=3, latents=latents)
    return sample(backbone, asked, surface, method, sampling)[range(N_FRAMES)]


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("scheduler", ["DDIM", "Euler"])
def test_with_every_injection_off_latents_and_frames_equal_diffusers(
    pipeline, unit_latents, guidance_scale, scheduler
):
    own = pipeline.scheduler
    if scheduler == "Euler":  # what SDXL comes with
        pipeline.scheduler = EulerDiscreteScheduler.from_config(own.config)
    images = torch.from_numpy(depth_control(CLIP))[:, None].repeat(1, 3, 1, 1)

    def diffusers_frame(frame: int, output_type: str):
        return pipeline(
            "a red fox",
            image=images[[frame]],
            negative_prompt="blurry",
            latents=unit_latents[[frame]],
            guidance_scale=guidance_scale,
            num_inference_steps=3,
            controlnet_conditioning_scale=0.8,
            output_type=output_type,
        ).images

    expected = torch.cat([diffusers_frame(frame, "latent") for frame in range(N_FRAMES)])
    result = sampled(
        pipeline, PER_FRAME, unit_latents, guidance_scale=guidance_scale, controls=(Control(scale=0.8),)
    )
    assert (result - expected).abs().max() <= 1e-4
    assert expected.std() > 0.1
    decoded = list(decode_frames(backbone_of(pipeline), result))
    torch.testing.assert_close(
        torch.from_numpy(decoded[1]), torch.from_numpy(diffusers_frame(1, "np")[0]), atol=1e-4, rtol=0
    )
    pipeline.scheduler = own


def test_the_pictures_size_and_the_pooled_text_reach_the_networks(pipeline):
    """They are what SDXL reads beside Stable Diffusion's conditions: without them the output is another."""
    backbone = StableDiffusionXL(pipeline)
    surface = ClipSurface(CLIP, 8, PER_FRAME, 0, backbone.device)
    denoiser = backbone.conditioned(Conditions("a red fox"), surface.objects, surface.latent_size)
    assert denoiser.added["time_ids"].tolist() == [[HEIGHT, WIDTH, 0, 0, HEIGHT, WIDTH]] * 2
    assert denoiser.texts.rows([0, 1])[1].shape == (2 * 2, TEXT_WIDTH)


MECHANISMS = {
    "keys and values": MethodConfig(injection=InjectionConfig(alpha=0.0, n_keyframes=2)),
    "all keys and values": MethodConfig(
        injection=InjectionConfig(alpha=0.0, n_keyframes=2, deduplicate=False)
    ),
    "surface features": MethodConfig(injection=InjectionConfig(pre_attn=False, n_keyframes=2)),
    "low band": MethodConfig(injection=InjectionConfig(low_band=0.2, n_keyframes=2)),
    "latents": MethodConfig(
        injection=InjectionConfig(n_keyframes=2), latents=LatentConfig("objects", synchronise=0.5)
    ),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_runs_and_changes_the_frames(pipeline, unit_latents, name):
    plain = sampled(pipeline, PER_FRAME, unit_latents)
    result = sampled(pipeline, MECHANISMS[name], unit_latents)
    assert result.isfinite().all()
    assert (result - plain).abs().max() > 1e-2


def test_a_frame_that_is_its_own_only_keyframe_gives_ordinary_self_attention(pipeline):
    """The law of mechanism 3, on SDXL's layers: one frame, one keyframe, any weight."""
    clip, noise = CLIP[:1], NoiseConfig("fixed")
    results = []
    for injection in (PER_FRAME.injection, InjectionConfig(alpha=0.7, unify="fill", n_keyframes=1)):
        method = MethodConfig(noise=noise, injection=injection)
        backbone = backbone_of(pipeline)
        surface = ClipSurface(clip, 8, method, 0, backbone.device)
        results.append(sample(backbone, Conditions("a fox"), surface, method, SamplingConfig(2))[[0]])
    torch.testing.assert_close(*results, atol=2e-3, rtol=0)


def test_prompts_of_objects_change_what_the_object_shows(pipeline, unit_latents):
    plain = sampled(pipeline, PER_FRAME, unit_latents)
    named = sampled(pipeline, PER_FRAME, unit_latents, object_prompts={1: "a blue duck"})
    assert (named - plain).abs().max() > 1e-3


def test_latents_of_known_mean_and_spread_are_decoded_as_diffusers_does(unit_latents):
    pipe = sdxl_pipeline()
    pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.5, 1.0, 2.0])
    asked = {"prompt": "a fox", "image": Image.new("RGB", (WIDTH, HEIGHT)), "latents": unit_latents[[0]]}
    expected = pipe(**asked, **ONE_STEP).images
    latents = pipe(**asked, **(ONE_STEP | {"output_type": "latent"})).images
    picture, is_flagged = backbone_of(pipe).decode(latents)
    torch.testing.assert_close(torch.from_numpy(picture), torch.from_numpy(expected[0]), atol=1e-5, rtol=0)
    assert not is_flagged


def test_an_autoencoder_in_half_precision_decodes_in_full_and_is_put_back(unit_latents, monkeypatch):
    pipe = sdxl_pipeline()
    expected, _ = backbone_of(pipe).decode(unit_latents[[0]])
    pipe.vae.to(torch.float16)
    picture, _ = backbone_of(pipe).decode(unit_latents[[0]])
    assert pipe.vae.dtype == torch.float16
    torch.testing.assert_close(torch.from_numpy(picture), torch.from_numpy(expected), atol=2e-2, rtol=0)
    monkeypatch.setattr(pipe.vae, "decode", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        backbone_of(pipe).decode(unit_latents[[0]])
    assert pipe.vae.dtype == torch.float16


def test_a_unet_that_takes_guidance_as_an_input_has_one_branch(unit_latents):
    pipe = sdxl_pipeline(time_cond_proj_dim=8)
    backbone = backbone_of(pipe)
    denoiser = backbone.conditioned(
        Conditions("a fox", guidance_scale=5.0), lambda *_: torch.zeros(1, 5, 7), (5, 7)
    )
    assert denoiser.n_branches(Step(0, 2, torch.tensor(999))) == 1
    assert denoiser.guidance_embedding.shape == (1, 8)
    weak, strong = (sampled(pipe, PER_FRAME, unit_latents, guidance_scale=scale) for scale in (2.0, 9.0))
    assert (weak - strong).abs().max() > 1e-4


def test_each_pipeline_has_its_family(pipeline):
    assert isinstance(backbone_of(pipeline), StableDiffusionXL)
    assert isinstance(backbone_of(tiny_pipeline()), StableDiffusion)
    for one in (pipeline, tiny_pipeline()):
        backbone = backbone_of(one)
        assert isinstance(backbone, Backbone)
        denoiser = backbone.conditioned(Conditions("a fox"), lambda *_: torch.zeros(1, 5, 7), (5, 7))
        assert isinstance(denoiser, Denoiser)
    with pytest.raises(ModelError, match="a str cannot be driven, expected one of StableDiffusionControlNet"):
        backbone_of("sdxl")


def test_the_front_door_is_the_same_and_loads_what_diffusers_saves(pipeline, unit_latents, tmp_path):
    pipeline.save_pretrained(tmp_path)
    front = GenerativeRenderingXLPipeline.from_pretrained(tmp_path)
    front.set_progress_bar_config(disable=True)
    called = front(
        "a red fox",
        CLIP,
        "blurry",
        config=FULL,
        num_inference_steps=3,
        guidance_scale=7.5,
        chunk_size=3,
        latents=unit_latents,
    )
    # Another layout in memory, in which sums are rounded otherwise.
    torch.testing.assert_close(called.latents, sampled(pipeline, FULL, unit_latents), rtol=1e-4, atol=1e-4)
    assert called.frames.shape == (N_FRAMES, HEIGHT, WIDTH, 3)
