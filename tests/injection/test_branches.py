"""Branches that go through the networks apart, each with a state of its own, say what they say together."""

import pytest
import torch
from tiny_models import sliding_card

from genrender.config import CorrespondenceConfig, InjectionConfig
from genrender.correspondence.engines import make_engine
from genrender.correspondence.gather import FeatureMap
from genrender.injection.state import AttentionState
from genrender.methods.rivals import PreviousFrameAttention

SIZE = (8, 8)
LAYER = FeatureMap(*SIZE, "up_blocks.0.attentions.0.transformer_blocks.0.attn1")


def rows(n_frames: int, seed: int) -> torch.Tensor:
    """Queries, keys and values of two branches: "3 2F heads L D"."""
    return torch.randn(3, 2 * n_frames, 2, 64, 4, generator=torch.Generator().manual_seed(seed))


def outputs(state: AttentionState, tokens: torch.Tensor) -> torch.Tensor:
    attended = state.attention(LAYER, *tokens, 0.5)
    return state.injection(LAYER, attended.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("deduplicate", [False, True])
@pytest.mark.parametrize("unify", ["fill", "mean"])
def test_apart_is_together(deduplicate, unify):
    gbuffers = sliding_card(4, 32, 32)
    config = InjectionConfig(alpha=0.7, unify=unify, deduplicate=deduplicate)
    engine = make_engine(gbuffers, CorrespondenceConfig(), torch.device("cpu"))
    together, apart = AttentionState(config, 2, engine), AttentionState(config, 1, engine)
    for step in range(2):
        for part, frames in enumerate(([0, 3], [1], [2])):
            tokens = rows(len(frames), 10 * step + part)
            for state in (together, apart):
                state.start_frames(frames) if part else state.start_keyframes(frames, step / 2)
            halves = tokens.chunk(2, dim=1)
            # In any order, and a branch that is new is started with what is under way.
            second = outputs(apart.of_branch("cond"), halves[1])
            first = outputs(apart.of_branch("uncond"), halves[0])
            torch.testing.assert_close(
                torch.cat([first, second]), outputs(together, tokens), atol=1e-5, rtol=0
            )


def test_a_hosts_attention_is_asked():
    asked = []

    def attend(query, key, value, scale):
        asked.append((key.shape[2], scale))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale)

    state = AttentionState(InjectionConfig(alpha=0.0, deduplicate=False), 2)
    for start, frames in ((state.start_keyframes, [0, 2]), (state.start_frames, [1])):
        start(frames)
        state.attention(LAYER, *rows(len(frames), 0), 0.5, attend)
    assert asked == [(128, 0.5), (64 + 128, 0.5)]


def test_what_is_remembered_of_the_frame_before_is_a_branchs_own():
    state = PreviousFrameAttention(InjectionConfig(alpha=0.0, deduplicate=False), 1)
    one, other = (state.of_branch(name) for name in (0, 1))
    assert state.of_branch(0) is one
    assert isinstance(one, PreviousFrameAttention)
    assert isinstance(other, PreviousFrameAttention)
    assert one._previous is not other._previous
