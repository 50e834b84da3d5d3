"""How branches become one output: equal to diffusers, for clips in chunks, and switched off on the way."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.guiders import (
    AdaptiveProjectedGuidance,
    AutoGuidance,
    ClassifierFreeGuidance,
    ClassifierFreeZeroStarGuidance,
    PerturbedAttentionGuidance,
    SkipLayerGuidance,
    SmoothedEnergyGuidance,
    TangentialClassifierFreeGuidance,
)
from pipelines import FULL, NEGATIVE, PROMPT, make_pipe
from tiny_models import tiny_controlnet, tiny_unet
from tiny_sdxl import sdxl_pipeline

from genrender.config import PER_FRAME
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.pipeline import GenerativeRenderingXLPipeline

N_STEPS = 4


def ours(pipe, clip, latents, config=PER_FRAME, **arguments):
    settings = {"num_inference_steps": N_STEPS, "latents": latents, "output_type": "latent", "chunk_size": 2}
    return pipe(PROMPT, clip, NEGATIVE, config, **(settings | arguments)).latents


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_rescaled_guidance_equals_diffusers(clip, unit_latents, family):
    """Its ControlNet pipelines do not rescale, those without one do."""
    if family == "sd":
        pipe, kind, options = make_pipe(), StableDiffusionPipeline, {"requires_safety_checker": False}
    else:
        pipe = GenerativeRenderingXLPipeline(**sdxl_pipeline().components)
        pipe.set_progress_bar_config(disable=True)
        kind, options = StableDiffusionXLPipeline, {"add_watermarker": False}
    parts = {name: part for name, part in pipe.components.items() if name != "controlnet"}
    reference = kind(**parts, **options)
    reference.set_progress_bar_config(disable=True)
    height, width = clip[0].depth.shape
    expected = torch.cat(
        [
            reference(
                PROMPT,
                negative_prompt=NEGATIVE,
                height=height,
                width=width,
                latents=unit_latents[[frame]],
                num_inference_steps=N_STEPS,
                guidance_scale=7.5,
                guidance_rescale=0.7,
                output_type="latent",
            ).images
            for frame in range(len(clip))
        ]
    )
    arguments = {"guidance_scale": 7.5, "controlnet_conditioning_scale": 0.0}
    result = ours(pipe, clip, unit_latents, guidance_rescale=0.7, **arguments)
    assert (result - expected).abs().max() <= 1e-4
    assert (ours(pipe, clip, unit_latents, **arguments) - expected).abs().max() > 1e-2


GUIDERS = {
    "plain": lambda: ClassifierFreeGuidance(6.0),
    "rescaled, original": lambda: ClassifierFreeGuidance(
        6.0, guidance_rescale=0.5, use_original_formulation=True
    ),
    "interval": lambda: ClassifierFreeGuidance(6.0, start=0.25, stop=0.75),
    "zero star": lambda: ClassifierFreeZeroStarGuidance(6.0, zero_init_steps=1),
    "projected": lambda: AdaptiveProjectedGuidance(6.0, eta=0.0),
    "tangential": lambda: TangentialClassifierFreeGuidance(6.0),
    "disabled": lambda: ClassifierFreeGuidance(6.0, enabled=False),
}


def modular_latents(pipe, clip, latents, guider):
    """Each frame on its own, guided as the denoising loop of diffusers' modular pipelines does."""
    positive, negative = pipe.encode_prompt(PROMPT, "cpu", 1, True, NEGATIVE)
    images = torch.from_numpy(depth_control(clip))[:, None].repeat(1, 3, 1, 1)
    results = []
    for frame in range(len(clip)):
        pipe.scheduler.set_timesteps(N_STEPS)
        current = latents[[frame]]
        for step, timestep in enumerate(pipe.scheduler.timesteps):
            guider.set_state(step, N_STEPS, timestep)
            batches = guider.prepare_inputs({"text": (positive, negative)})
            for batch in batches:
                down, mid = pipe.controlnet(current, timestep, batch.text, images[[frame]], return_dict=False)
                batch.noise_pred = pipe.unet(
                    current,
                    timestep,
                    batch.text,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=mid,
                ).sample
            guided = guider(batches)
            output = guided.pred if hasattr(guided, "pred") else guided[0]
            current = pipe.scheduler.step(output, timestep, current).prev_sample
        results.append(current)
    return torch.cat(results)


@pytest.mark.parametrize("name", GUIDERS)
def test_guiders_equal_diffusers_modular_loop(pipe, clip, unit_latents, name):
    guider = GUIDERS[name]()
    with torch.no_grad():
        expected = modular_latents(pipe, clip, unit_latents, GUIDERS[name]())
    result = ours(pipe, clip, unit_latents, guider=guider)
    assert (result - expected).abs().max() <= 1e-4
    assert guider._step is None  # it is the caller's, and was not told of our steps
    if name != "plain":
        plain = ours(pipe, clip, unit_latents, guider=GUIDERS["plain"]())
        assert (result - plain).abs().max() > 1e-3


def test_guidance_that_comes_and_goes_does_not_depend_on_chunks(pipe, clip, unit_latents):
    """With injections, too, whose keyframes are remembered per branch."""
    results = [
        ours(pipe, clip, unit_latents, FULL, guider=GUIDERS["interval"](), chunk_size=size) for size in (1, 5)
    ]
    assert (results[0] - results[1]).abs().max() <= 1e-5 * results[0].std()
    plain = ours(pipe, clip, unit_latents, FULL, guider=GUIDERS["plain"]())
    assert (results[0] - plain).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PerturbedAttentionGuidance(perturbed_guidance_layers=[0]),
            "PerturbedAttentionGuidance runs",
        ),
        (
            lambda: SkipLayerGuidance(skip_layer_guidance_layers=[0]),
            "SkipLayerGuidance runs the networks with",
        ),
        (lambda: SmoothedEnergyGuidance(seg_guidance_layers=[0]), "SmoothedEnergyGuidance runs the networks"),
        (lambda: AutoGuidance(auto_guidance_layers=[0], dropout=0.1), "AutoGuidance runs the networks"),
        (
            lambda: AdaptiveProjectedGuidance(adaptive_projected_guidance_momentum=-0.5),
            "AdaptiveProjectedGuidance has momentum, which mixes outputs of different frames",
        ),
        (lambda: "cfg", "the guider is a str, expected one of diffusers.guiders"),
    ],
)
def test_guiders_that_cannot_be_honoured_are_refused_by_name(pipe, clip, unit_latents, make, message):
    with pytest.raises(ConfigError, match=message):
        ours(pipe, clip, unit_latents, guider=make())


def test_a_share_beyond_one_is_refused(pipe, clip, unit_latents):
    with pytest.raises(ConfigError, match=r"guidance_rescale is 1\.5, expected a number in 0\.\.1"):
        ours(pipe, clip, unit_latents, guidance_rescale=1.5)


def test_a_model_that_takes_guidance_as_an_input_has_nothing_for_a_guider(clip, unit_latents):
    pipe = make_pipe()
    pipe.register_modules(unet=tiny_unet(time_cond_proj_dim=8), controlnet=tiny_controlnet(tiny_unet()))
    with pytest.raises(ConfigError, match="takes guidance as an input, and a guider has nothing to combine"):
        ours(pipe, clip, unit_latents, guider=GUIDERS["plain"]())
