"""Networks wait off the device, compute on it, and are off it again after whatever happens."""

import numpy as np
import pretend_gpu
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, CpuOffload
from pipelines import FULL, HEIGHT, PROMPT, WIDTH
from tiny_models import sliding_card, tiny_pipeline

from genrender.backbones.placement import place
from genrender.errors import ConfigError
from genrender.pipeline import GenerativeRenderingPipeline

CLIP = sliding_card(3, HEIGHT, WIDTH)
SETTINGS = {"config": FULL, "num_inference_steps": 2, "guidance_scale": 2.0, "object_prompts": {1: "blue"}}
NETWORKS = ("text_encoder", "unet", "controlnet", "vae")


def placed(device, placement: str):
    pipe = tiny_pipeline()
    place(pipe, device, placement)
    return pipe


def where(pipe) -> set[str]:
    return {p.device.type for name in NETWORKS for p in getattr(pipe, name).parameters()}


@pytest.fixture(scope="module")
def expected():
    return tiny_pipeline()(PROMPT, CLIP, **SETTINGS).frames


@pytest.mark.parametrize("placement", ["none", "model", "sequential"])
def test_every_placement_makes_the_same_frames(device, expected, placement):
    if placement == "sequential" and device.type == pretend_gpu.NAME:
        pytest.skip("accelerate cannot make weights of a pretended device")
    pipe = placed(device, placement)
    frames = pipe(PROMPT, CLIP, **SETTINGS).frames
    assert np.abs(frames - expected).max() <= 1e-3
    assert where(pipe) == {"none": {device.type}, "model": {"cpu"}, "sequential": {"meta"}}[placement]


def test_hooks_are_those_of_diffusers(device):
    networks = [getattr(placed(device, "model"), name) for name in NETWORKS]
    assert all(isinstance(network._hf_hook, CpuOffload) for network in networks)
    pipe = placed(device, "sequential")
    assert isinstance(pipe.unet.conv_in._hf_hook, AlignDevicesHook)
    assert where(pipe) == {"meta"}


def test_text_encoders_leave_when_they_have_read_the_texts(device):
    pipe, places = placed(device, "model"), []
    pipe.controlnet.register_forward_pre_hook(
        lambda *_: places.append(pipe.text_encoder.embeddings.token_embedding.weight.device.type)
    )
    pipe(PROMPT, CLIP, output_type="latent", **SETTINGS)
    assert set(places) == {"cpu"}
    assert where(pipe) == {"cpu"}


def test_only_what_computes_is_on_the_device_while_frames_are_decoded(device):
    pipe = placed(device, "model")
    latents = pipe(PROMPT, CLIP, output_type="latent", **SETTINGS).latents
    for _ in pipe.decode_frames(latents):
        assert pipe.vae.device.type == device.type
        assert pipe.unet.device.type == pipe.controlnet.device.type == "cpu"
    assert where(pipe) == {"cpu"}


def fail(*_, **__):
    raise MemoryError


def test_after_an_error_nothing_stays_on_the_device(device, monkeypatch):
    pipe = placed(device, "model")
    latents = pipe(PROMPT, CLIP, output_type="latent", **SETTINGS).latents
    with monkeypatch.context() as patch:
        patch.setattr(pipe.unet.conv_out, "forward", fail)
        with pytest.raises(MemoryError):
            pipe(PROMPT, CLIP, **(SETTINGS | {"chunk_size": 1}))
    assert where(pipe) == {"cpu"}
    monkeypatch.setattr(pipe, "run_safety_checker", fail)
    with pytest.raises(MemoryError):
        list(pipe.decode_frames(latents))
    assert where(pipe) == {"cpu"}


def test_another_pipeline_of_the_same_networks_offloads_them_too(device, expected):
    """As the front door is made of what was loaded."""
    first = placed(device, "model")
    second = GenerativeRenderingPipeline(**first.components)
    second.set_progress_bar_config(disable=True)
    assert np.abs(second(PROMPT, CLIP, **SETTINGS).frames - expected).max() <= 1e-3
    assert where(second) == {"cpu"}


@pytest.mark.parametrize("placement", ["model", "sequential"])
def test_off_the_cpu_there_is_nowhere_to_go(placement):
    with pytest.raises(ConfigError, match=rf"offload {placement} .* leave it out"):
        place(tiny_pipeline(), torch.device("cpu"), placement)
