"""Callbacks of diffusers: what they are given, and that what they change counts, as in its own pipelines."""

import pytest
import torch
from diffusers.callbacks import (
    MultiPipelineCallbacks,
    PipelineCallback,
    SDCFGCutoffCallback,
    SDXLCFGCutoffCallback,
    SDXLControlnetCFGCutoffCallback,
)
from pipelines import FULL, NEGATIVE, PROMPT, diffusers_latents, make_pipe
from tiny_sdxl import sdxl_pipeline

from genrender.config import PER_FRAME
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.pipeline import GenerativeRenderingXLPipeline

N_STEPS = 4


def ours(pipe, clip, latents, callback, config=PER_FRAME, **arguments):
    settings = {
        "num_inference_steps": N_STEPS,
        "guidance_scale": 5.0,
        "latents": latents,
        "output_type": "latent",
        "chunk_size": 2,
        "callback_on_step_end": callback,
    }
    return pipe(PROMPT, clip, NEGATIVE, config, **(settings | arguments)).latents


class CutoffWithPicture(SDCFGCutoffCallback):
    """diffusers' own leaves the control picture of two rows, which its ControlNet pipeline cannot take."""

    tensor_inputs = ["prompt_embeds", "image"]  # noqa: RUF012 (as diffusers declares it)

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
        callback_kwargs = super().callback_fn(pipeline, step_index, timestep, callback_kwargs)
        rows = len(callback_kwargs["prompt_embeds"])
        return callback_kwargs | {"image": callback_kwargs["image"][-rows:]}


def test_guidance_is_cut_off_as_in_diffusers(pipe, clip, unit_latents):
    cut = {"cutoff_step_ratio": None, "cutoff_step_index": 1}
    arguments = {"num_inference_steps": N_STEPS, "callback_on_step_end": CutoffWithPicture(**cut)}
    expected = diffusers_latents(pipe, clip, unit_latents, 5.0, **arguments)
    result = ours(pipe, clip, unit_latents, SDCFGCutoffCallback(**cut))
    assert (result - expected).abs().max() <= 1e-4
    assert (ours(pipe, clip, unit_latents, None) - expected).abs().max() > 1e-2


def test_guidance_of_sdxl_is_cut_off_as_in_diffusers(clip, unit_latents):
    reference = sdxl_pipeline()
    pipe = GenerativeRenderingXLPipeline(**reference.components)
    pipe.set_progress_bar_config(disable=True)
    cut, scale = {"cutoff_step_ratio": 0.5}, 40.0
    images = torch.from_numpy(depth_control(clip))[:, None].repeat(1, 3, 1, 1)
    expected = torch.cat(
        [
            reference(
                PROMPT,
                image=images[[frame]],
                negative_prompt=NEGATIVE,
                latents=unit_latents[[frame]],
                guidance_scale=scale,
                num_inference_steps=N_STEPS,
                output_type="latent",
                callback_on_step_end=SDXLControlnetCFGCutoffCallback(**cut),
                callback_on_step_end_tensor_inputs=SDXLControlnetCFGCutoffCallback.tensor_inputs,
            ).images
            for frame in range(len(clip))
        ]
    )
    result = ours(pipe, clip, unit_latents, SDXLCFGCutoffCallback(**cut), guidance_scale=scale)
    assert (result - expected).abs().max() <= 1e-4
    plain = ours(pipe, clip, unit_latents, None, guidance_scale=scale)
    assert (plain - expected).abs().max() > 5e-3


def faded(_pipeline, step, _timestep, tensors):
    return {"prompt_embeds": tensors["prompt_embeds"] * (0.9 - 0.2 * step)}


def test_a_callback_that_changes_the_prompt_has_the_effect_that_it_has_in_diffusers(pipe, clip, unit_latents):
    wanted = {"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    expected = diffusers_latents(
        pipe, clip, unit_latents, 5.0, num_inference_steps=N_STEPS, callback_on_step_end=faded, **wanted
    )
    result = ours(pipe, clip, unit_latents, faded, **wanted)
    assert (result - expected).abs().max() <= 1e-4
    assert (ours(pipe, clip, unit_latents, None) - expected).abs().max() > 1e-3


def test_callbacks_see_diffusers_shapes_and_texts_that_change_have_a_row_for_each(pipe, clip, unit_latents):
    shapes = []

    def look(_pipeline, _step, _timestep, tensors):
        shapes.append({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return tensors

    wanted = {
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds", "negative_prompt_embeds"],
        "num_inference_steps": 1,
    }
    seen = ours(pipe, clip, unit_latents, look, **wanted)
    assert torch.equal(seen, ours(pipe, clip, unit_latents, None, num_inference_steps=1))
    text = (1, 32, 16)
    assert shapes == [
        {"latents": (5, 4, 5, 7), "prompt_embeds": (2, *text[1:]), "negative_prompt_embeds": text}
    ]


class Brighter(PipelineCallback):
    tensor_inputs = ["latents"]  # noqa: RUF012 (as diffusers declares it)

    def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):  # noqa: ARG002
        return callback_kwargs | {"latents": callback_kwargs["latents"] + 0.1}


def test_several_callbacks_are_called_one_after_the_other(pipe, clip, unit_latents):
    cutoff = SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    both = ours(pipe, clip, unit_latents, MultiPipelineCallbacks([Brighter(), cutoff]))
    for alone in (Brighter(), cutoff):
        assert (both - ours(pipe, clip, unit_latents, alone)).abs().max() > 1e-2


def test_guidance_that_is_cut_off_under_injections_does_not_depend_on_chunks(pipe, clip, unit_latents):
    """The texts of objects and the keyframes' features are kept for each branch."""
    settings = {"object_prompts": {1: "a fox"}}
    results = [
        ours(
            pipe,
            clip,
            unit_latents,
            SDCFGCutoffCallback(cutoff_step_ratio=0.5),
            FULL,
            chunk_size=n,
            **settings,
        )
        for n in (1, 5)
    ]
    assert (results[0] - results[1]).abs().max() <= 1e-5 * results[0].std()
    assert (results[0] - ours(pipe, clip, unit_latents, None, FULL, **settings)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("wanted", "returned", "message"),
    [
        (
            "image",
            {},
            "the callback wants 'image', which cannot be given, expected of latents, ",
        ),
        ("latents", {"noise": torch.zeros(1)}, "a callback returned 'noise', expected of latents, prompt_"),
        ("latents", {"negative_prompt_embeds": torch.zeros(1)}, "change the first row of prompt_embeds"),
        ("latents", {"prompt_embeds": torch.zeros(3, 32, 16)}, r"of shape \(3, 32, 16\), expected \(1, "),
    ],
)
def test_what_cannot_be_given_or_changed_is_refused_by_name(
    pipe, clip, unit_latents, wanted, returned, message
):
    arguments = {"callback_on_step_end_tensor_inputs": [wanted]}
    with pytest.raises(ConfigError, match=message):
        ours(pipe, clip, unit_latents, lambda *_: returned, **arguments)


def test_output_as_a_tensor_and_as_a_tuple(clip):
    pipe = make_pipe()
    settings = {"config": PER_FRAME, "num_inference_steps": 1}
    plain = pipe(PROMPT, clip, **settings)
    frames, latents, flagged = pipe(PROMPT, clip, output_type="pt", return_dict=False, **settings)
    assert torch.equal(frames, torch.from_numpy(plain.frames).permute(0, 3, 1, 2))
    assert torch.equal(latents, plain.latents)
    assert flagged == []
