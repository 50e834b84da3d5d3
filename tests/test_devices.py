"""What runs on a GPU makes what the CPU makes; where there is no GPU, on a device that pretends to be one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from pretend_gpu import PretendTensor
from tiny_models import tiny_pipeline
from torch import Tensor

from genrender.config import (
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    LatentConfig,
    MethodConfig,
    NoiseConfig,
    RunConfig,
)
from genrender.methods.table import METHODS
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip

BIPED = Path(__file__).parents[1] / "examples" / "scenes" / "walking_biped.glb"
PROMPT = "a red fox"
TWO = InjectionConfig(n_keyframes=2)
CONFIGS = {
    "default": MethodConfig(injection=TWO),
    "per frame": PER_FRAME,
    "paper": PRESETS["paper"].method,
    "reproject": MethodConfig(correspondence=CorrespondenceConfig(engine="reproject"), injection=TWO),
    "low band": MethodConfig(
        noise=NoiseConfig("bridge"), injection=replace(TWO, low_band=0.2, keyframes="coverage")
    ),
    "latents": MethodConfig(injection=TWO, latents=LatentConfig("objects", synchronise=0.5)),
    "noise": MethodConfig(noise=NoiseConfig(degradation=0.3), injection=replace(TWO, alpha_end=0.0)),
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return render_clip(load_scene(BIPED), ShotConfig((64, 48), n_frames=4))


@pytest.fixture(scope="module")
def here() -> GenerativeRenderingPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def there(device) -> GenerativeRenderingPipeline:
    return tiny_pipeline().to(device)


def assert_alike(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order of sums; real GPUs also round convolutions."""
    share = 1e-4 if isinstance(found, PretendTensor) else 1e-2
    assert (found.cpu() - expected).abs().max() <= share * expected.std()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_setting_makes_what_the_cpu_makes(here, there, clip, config):
    settings = {"config": config, "tracker": clip.tracker, "num_inference_steps": 3, "guidance_scale": 3.0}
    results = [
        pipe(PROMPT, clip.gbuffers, "blurry", chunk_size=3, object_prompts={1: "green"}, **settings)
        for pipe in (here, there)
    ]
    assert results[1].latents.device.type == there.device.type
    assert_alike(results[1].latents, results[0].latents)
    assert np.abs(results[1].frames - results[0].frames).max() <= 0.02


@pytest.mark.parametrize(
    ("scheduler", "options", "every_step"),
    [
        (DDIMScheduler, {}, True),
        (DDIMScheduler, {}, False),
        (EulerAncestralDiscreteScheduler, {}, True),
        (EulerAncestralDiscreteScheduler, {}, False),
        (LCMScheduler, {}, True),
        (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, True),
        (UniPCMultistepScheduler, {}, True),
        (HeunDiscreteScheduler, {}, True),
    ],
)
def test_every_sampler_makes_what_the_cpu_makes(device, clip, scheduler, options, every_step):
    config = MethodConfig(noise=NoiseConfig(every_step=every_step), injection=TWO)
    results = []
    for place in ("cpu", device):
        pipe = tiny_pipeline().to(place)
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **options)
        results.append(
            pipe(PROMPT, clip.gbuffers, config=config, num_inference_steps=3, eta=1.0, output_type="latent")
        )
    assert_alike(results[1].latents, results[0].latents)


def test_half_precision_stays_close_whatever_the_chunk(device, here, clip, tmp_path):
    settings = {"config": CONFIGS["default"], "num_inference_steps": 2, "guidance_scale": 2.0}
    full = here(PROMPT, clip.gbuffers, **settings)
    here.save_pretrained(tmp_path)
    half = load_pipeline(str(tmp_path), device=device, dtype=torch.float16)
    half.set_progress_bar_config(disable=True)
    runs = [half(PROMPT, clip.gbuffers, chunk_size=chunk_size, **settings) for chunk_size in (1, 3, 8)]
    spread = full.latents.std()
    for run in runs:
        assert run.latents.dtype == torch.float32
        assert np.isfinite(run.frames).all()
        assert (run.latents.cpu() - full.latents).std() <= 0.01 * spread
        # Kernels for batches of other sizes sum in another order, in half precision.
        assert (run.latents - runs[0].latents).abs().max() <= 0.02 * spread


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_the_frames_that_the_cpu_makes(here, there, clip, tmp_path, name):
    method = METHODS[name]
    config = RunConfig(PROMPT, n_steps=2, guidance_scale=2.0, method=method.config or CONFIGS["default"])
    folders = [RunFolder(tmp_path / place) for place in ("here", "there")]
    for pipe, folder in zip((here, there), folders, strict=True):
        make_video(pipe, clip, replace(config, lock=0.5), folder, method=method)
    frames = [np.stack(list(folder.frames())).astype(int) for folder in folders]
    assert np.abs(frames[0] - frames[1]).max() <= 5
    assert frames[0].std() > 1
