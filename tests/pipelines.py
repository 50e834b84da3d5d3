"""Pipelines with tiny networks, and the same through diffusers, for several folders of tests."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderTiny,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)
from tiny_models import sliding_card, tiny_components
from torch import Tensor

from genrender.config import (
    InjectionConfig,
    MethodConfig,
)
from genrender.gbuffer.control import depth_control
from genrender.pipeline import GenerativeRenderingPipeline

HEIGHT, WIDTH = 40, 56  # latents of 5 x 7: neither square nor even
PROMPT, NEGATIVE = "a red fox", "blurry"
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))


def make_pipe(unet=None, **replacements) -> GenerativeRenderingPipeline:
    pipe = GenerativeRenderingPipeline(**(tiny_components(unet) | replacements))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def pipe() -> GenerativeRenderingPipeline:
    return make_pipe()


@pytest.fixture(scope="session", name="clip")
def card_clip():
    """Five frames of a card that slides."""
    return sliding_card(5, HEIGHT, WIDTH)


@pytest.fixture
def unit_latents() -> Tensor:
    """Latents for `card_clip`."""
    return torch.randn(5, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


def diffusers_latents(
    pipe, clip, latents: Tensor, guidance_scale: float, generators=None, **arguments
) -> Tensor:
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
                generator=None if generators is None else generators[frame],
                **arguments,
            ).images
            for frame in range(len(clip))
        ]
    )


def no_checker() -> dict:
    return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def same_run(first: GenerativeRenderingPipeline, second: GenerativeRenderingPipeline, clip) -> bool:
    runs = []
    for pipe in (first, second):
        pipe.set_progress_bar_config(disable=True)
        runs.append(pipe(PROMPT, clip, config=FULL, num_inference_steps=2, seed=1))
    return np.array_equal(runs[0].frames, runs[1].frames)


@pytest.fixture(scope="session")
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


def tiny_autoencoder(n_levels: int = 4, latent_channels: int = 4) -> AutoencoderTiny:
    """Of the class of TAESD."""
    return AutoencoderTiny(
        encoder_block_out_channels=(4,) * n_levels,
        decoder_block_out_channels=(4,) * n_levels,
        num_encoder_blocks=(1,) * n_levels,
        num_decoder_blocks=(1,) * n_levels,
        latent_channels=latent_channels,
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
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
