"""A clip made in parts: whatever the parts and their order, frames are the same to the bit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import make_pipe
from tiny_models import sliding_card
from torch import Tensor

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.samplers import make_sampler
from genrender.config import OURS, LatentConfig, MethodConfig, NoiseConfig
from genrender.errors import ConfigError
from genrender.gbuffer.control_pictures import ControlPictures
from genrender.gbuffer.gbuffer import GBuffer
from genrender.sampling.appearance import Appearance, AppearanceRecorder, read_appearance
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.part import whole_chunks
from genrender.sampling.surface import ClipSurface

N_FRAMES, CHUNK, N_STEPS, KEYFRAMES = 10, 3, 3, (1, 5, 8)
CLIP = sliding_card(N_FRAMES, 32, 64)
# What looks across frames: methods with samplers, the last of which draws noise on the screen.
ACROSS_FRAMES = {
    "dpm++": OURS,
    "dpm++-karras": replace(OURS, latents=LatentConfig("objects", 0.5, "frames")),
    "euler-a": replace(OURS, noise=NoiseConfig("independent", degradation=0.3, every_step=False)),
}
CONDITIONS = Conditions("a fox", prompts_at=((6, "a fox in snow"),), guidance_scale=3.0)


@pytest.fixture(scope="module")
def pipe():
    return make_pipe()


def run(
    pipe,
    gbuffers,
    frames: tuple[int, ...],
    keyframes: Appearance | None = None,
    method: MethodConfig = OURS,
    recorder: AppearanceRecorder | None = None,
):
    sampler = next((name for name, one in ACROSS_FRAMES.items() if one == method), "dpm++")
    backbone = backbone_of(pipe, make_sampler(sampler, pipe.scheduler))
    surface = ClipSurface(gbuffers, 8, method, 3, backbone.device, appearance=keyframes)
    sampling = SamplingConfig(N_STEPS, 3, CHUNK, frames=frames)
    return sample(backbone, CONDITIONS, surface, method, sampling, recorder=recorder)


@pytest.fixture(scope="module", params=ACROSS_FRAMES)
def method(request) -> MethodConfig:
    return ACROSS_FRAMES[request.param]


@pytest.fixture(scope="module")
def keyframes(pipe, method, tmp_path_factory) -> Appearance:
    folder = tmp_path_factory.mktemp("look")
    recorder = AppearanceRecorder(KEYFRAMES, N_STEPS, (4, 4, 8), folder / "kept.bin")
    final = run(pipe, CLIP, KEYFRAMES, method=method, recorder=recorder)
    pictures = ControlPictures(CLIP)
    control = {"depth": np.stack([pictures.of("depth", frame) for frame in KEYFRAMES])}
    recorder.write(folder / "appearance.npz", [CLIP[f] for f in KEYFRAMES], control, (0.1, 1.0))
    kept = read_appearance(folder / "appearance.npz").as_keyframes()
    assert torch.equal(kept.final, final[KEYFRAMES])
    return kept


@pytest.fixture(scope="module")
def whole(pipe, method, keyframes) -> Tensor:
    return run(pipe, CLIP, tuple(range(N_FRAMES)), keyframes, method)[range(N_FRAMES)]


def needed_alone(frames: tuple[int, ...]) -> list[GBuffer]:
    """The clip, of which all but these frames and the keyframes show something else."""
    return [CLIP[f if f in (*frames, *KEYFRAMES) else f * 7 % N_FRAMES] for f in range(N_FRAMES)]


def test_any_partition_makes_the_same_frames(pipe, method, keyframes, whole):
    @settings(max_examples=2, deadline=None)
    @given(st.sets(st.integers(1, N_FRAMES - 1), max_size=3), st.booleans())
    def check(cuts: set[int], is_reversed: bool) -> None:
        parts = [range(first, end) for first, end in pairwise([0, *sorted(cuts), N_FRAMES])]
        for part in reversed(parts) if is_reversed else parts:
            frames = whole_chunks(part, N_FRAMES, CHUNK)
            made = run(pipe, needed_alone(frames), frames, keyframes, method)
            assert torch.equal(made[part], whole[list(part)])

    check()


def test_keyframes_of_a_clip_are_its_frames_and_reach_the_others(keyframes, whole, pipe, method):
    assert torch.equal(whole[list(KEYFRAMES)], keyframes.final)
    other = replace(keyframes, latents=keyframes.latents.flip(1), final=keyframes.final.flip(0))
    moved = run(pipe, CLIP, (0,), other, method)
    assert (moved[[0]] - whole[[0]]).abs().max() > 1e-3


def test_what_a_part_cannot_know_is_said(pipe):
    method = replace(OURS, latents=LatentConfig("background"))
    with pytest.raises(ConfigError, match="takes frame 0 as its model"):
        run(pipe, CLIP, (3, 4), method=method)


def test_chunks_are_those_of_the_whole_clip():
    assert whole_chunks(range(4, 7), 10, 3) == tuple(range(3, 9))
    assert whole_chunks([9], 10, 3) == (9,)
    assert whole_chunks(range(10), 10, 3) == tuple(range(10))
