"""Laws of the sampling loop, with tiny networks of Stable Diffusion's classes."""

import dataclasses
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)
from pipelines import FULL, HEIGHT, NEGATIVE, PROMPT, WIDTH, diffusers_latents, make_pipe
from tiny_models import empty_clip, sd15_shaped_unet, sliding_card
from torch import Tensor

from genrender.config import (
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    MethodConfig,
)
from genrender.correspondence import engines
from genrender.correspondence.texture import TextureCorrespondence
from genrender.injection.state import AttentionState


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


def test_bfloat16_networks_stay_close_to_full_precision(clip, unit_latents):
    """Networks in bfloat16 on the CPU, every injection on; latents stay float32."""
    settings = {"config": FULL, "num_inference_steps": 2, "guidance_scale": 2.0, "latents": unit_latents}
    full = make_pipe()(PROMPT, clip, **settings)
    half = make_pipe().to(torch.bfloat16)(PROMPT, clip, **settings)
    assert half.latents.dtype == torch.float32
    assert half.frames.dtype == np.float32
    assert (half.latents - full.latents).std() <= 0.05 * full.latents.std()


def test_two_runs_in_two_threads_give_what_each_gives_alone(clip):
    """Every mechanism and a scheduler that draws at every step; each run waits for the other at each step."""
    prompts, barrier = ("a red fox", "a blue duck"), Barrier(2, timeout=60)

    pipes = [make_pipe(), make_pipe()]  # here, since their weights are drawn by PyTorch's common generator
    for pipe in pipes:
        pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)

    def run(index: int, together: bool) -> Tensor:

        def meet(*_: object) -> None:
            if together:
                barrier.wait()

        settings = {"num_inference_steps": 3, "seed": index, "output_type": "latent"}
        return pipes[index](prompts[index], clip, config=FULL, callback_on_step_end=meet, **settings).latents

    alone = [run(index, together=False) for index in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(partial(run, together=True), (0, 1)))
    assert not torch.equal(*alone)
    assert torch.equal(both[0], alone[0])
    assert torch.equal(both[1], alone[1])
