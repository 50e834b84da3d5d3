"""Rival methods against their descriptions, spelled out one row and one head at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_attention import attend_plainly
from screen_blend import ScreenBlend
from tiny_models import TEXT_WIDTH, tiny_unet
from torch import Tensor

from genrender.backbones.attention_sites import (
    injected_attention,
    installed_processors,
    self_attention_layers,
)
from genrender.config import InjectionConfig
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.injection.state import AttentionState
from genrender.methods.rivals import (
    FirstFrameAttention,
    PreviousFrameAttention,
    PropagatedAttention,
    neighbour_weights,
)

SIZE = (5, 7)
N_FRAMES = 5


class Spelled:
    """Self-attention in which `contexts` says whose tokens each row of a branch attends to."""

    def __init__(self, contexts: Callable[[int], list[int]], n_branches: int) -> None:
        self.contexts, self.n_branches = contexts, n_branches

    def __call__(self, attn: Attention, hidden_states: Tensor, *_, **__) -> Tensor:
        n_frames = len(hidden_states) // self.n_branches
        rows = []
        for row, own in enumerate(hidden_states):
            branch, frame = divmod(row, n_frames)
            context = torch.cat([hidden_states[branch * n_frames + f] for f in self.contexts(frame)])
            rows.append(attend_plainly(attn, own, context))
        return torch.stack(rows)


class Screen:
    """An engine that finds everything, or nothing, in the same place of the keyframe."""

    def __init__(self, is_valid: bool) -> None:
        self.is_valid = is_valid

    def grid(self, features: FeatureMap) -> FeatureMap:
        return features

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: str,
        progress: float = 0.0,  # noqa: ARG002
    ) -> ScreenBlend:
        assert rule == "fill"
        assert len(keyframes) == 1
        valid = torch.full((len(frames), features.height, features.width), self.is_valid)
        return ScreenBlend(lambda sources: sources.expand(len(frames), -1, -1, -1), valid)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return tiny_unet()


@torch.no_grad()
def run(unet: UNet2DConditionModel, rows: Sequence[int]) -> Tensor:
    """The UNet on some rows of a fixed batch of two branches."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2 * N_FRAMES, 4, *SIZE, generator=generator)
    text = torch.randn(2 * N_FRAMES, 6, TEXT_WIDTH, generator=generator)
    rows = list(rows)
    return unet(latents[rows], torch.tensor(300), encoder_hidden_states=text[rows]).sample


def all_frames(unet: UNet2DConditionModel, state: AttentionState, keyframes: list[int], chunk: int) -> Tensor:
    """Both passes of a step; rows of both branches, unconditional first."""
    unconditional, conditional = [], []
    with injected_attention(unet, state, SIZE):
        state.start_keyframes(keyframes)
        run(unet, [branch * N_FRAMES + frame for branch in (0, 1) for frame in keyframes])
        for start in range(0, N_FRAMES, chunk):
            frames = list(range(start, min(start + chunk, N_FRAMES)))
            state.start_frames(frames)
            output = run(unet, [branch * N_FRAMES + frame for branch in (0, 1) for frame in frames])
            unconditional.append(output[: len(frames)])
            conditional.append(output[len(frames) :])
    return torch.cat(unconditional + conditional)


@pytest.mark.parametrize("chunk", [1, 2, N_FRAMES])
@pytest.mark.parametrize(
    ("method", "contexts"),
    [
        (FirstFrameAttention, lambda _: [0]),
        (PreviousFrameAttention, lambda frame: [0, max(frame - 1, 0)]),
    ],
)
def test_frames_attend_to_what_was_published_whatever_the_chunk(unet, method, contexts, chunk):
    state = method(InjectionConfig(alpha=0.0, deduplicate=False, layers="attn1"), 2)
    keyframes = state.choose(N_FRAMES, 3, 0, 0)
    assert keyframes == [0]
    ours = all_frames(unet, state, keyframes, chunk)
    spelled = {layer: Spelled(contexts, 2) for layer in self_attention_layers(unet)}
    with installed_processors(unet, spelled):
        expected = run(unet, range(2 * N_FRAMES))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert (ours - run(unet, range(2 * N_FRAMES))).abs().max() > 1e-3


def test_a_previous_frame_that_was_never_seen_is_not_taken_for_the_first(unet):
    """Windows of motion modules overlap, and the frame before a window is not the last of the one before."""
    state = PreviousFrameAttention(InjectionConfig(alpha=0.0, deduplicate=False, layers="attn1"), 2)
    with injected_attention(unet, state, SIZE):
        state.start_keyframes([0])
        run(unet, [0, N_FRAMES])
        state.start_frames([0, 1, 2])
        run(unet, [0, 1, 2, 5, 6, 7])
        state.start_frames([2, 3, 4])
        with pytest.raises(ConfigError, match="windows that overlap"):
            run(unet, [2, 3, 4, 7, 8, 9])


def test_propagated_tokens_are_the_neighbours_outputs_by_distance(unet):
    """Frames halfway between two keyframes get the mean of what these, attending to each other, put out."""
    state = PropagatedAttention(InjectionConfig(deduplicate=False, layers="attn1"), 2, Screen(is_valid=True))
    outputs: dict[str, list[Tensor]] = {}
    layer = self_attention_layers(unet)[0]
    hook = unet.get_submodule(layer).register_forward_hook(
        lambda *call: outputs.setdefault(layer, []).append(call[2])
    )
    all_frames(unet, state, [0, 4], N_FRAMES)
    hook.remove()
    of_keyframes, of_frames = (output.unflatten(0, (2, -1)) for output in outputs[layer])
    for frame in range(N_FRAMES):
        expected = torch.lerp(of_keyframes[:, 0], of_keyframes[:, 1], frame / 4)
        torch.testing.assert_close(of_frames[:, frame], expected, atol=1e-5, rtol=1e-4)


def test_where_nothing_is_found_tokens_stay_their_own(unet):
    state = PropagatedAttention(InjectionConfig(deduplicate=False, layers="attn1"), 2, Screen(is_valid=False))
    ours = all_frames(unet, state, [1, 3], 2)
    torch.testing.assert_close(ours, run(unet, range(2 * N_FRAMES)), atol=1e-5, rtol=1e-4)


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_neighbour_weights_are_shares_of_the_two_keyframes_around_a_frame(n_frames: int, data):
    keyframes = sorted(data.draw(st.sets(st.integers(0, n_frames - 1), min_size=1)))
    weights = neighbour_weights(keyframes, range(n_frames))
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    assert ((weights > 0).sum(0) <= 2).all()
    np.testing.assert_allclose(weights[:, keyframes], np.eye(len(keyframes)), atol=1e-6)
    inside = np.arange(keyframes[0], keyframes[-1] + 1)
    np.testing.assert_allclose(np.array(keyframes) @ weights[:, inside], inside, atol=1e-4)


def test_equally_spaced_keyframes_move_with_every_step():
    state = PropagatedAttention(InjectionConfig(deduplicate=False), 1, Screen(is_valid=True))
    draws = [state.choose(24, 3, 0, draw) for draw in range(20)]
    assert all(np.ptp(np.diff(keyframes)) <= 1 for keyframes in draws)
    assert len({tuple(keyframes) for keyframes in draws}) > 4
    assert all(keyframes[0] >= 0 and keyframes[-1] < 24 for keyframes in draws)
