import pytest
import torch

from genrender.injection.attention import (
    attend,
    attend_with_some_of_their_own,
    blend_with_surface,
    extend_with_keyframes,
    join_frames,
    map_to_tokens,
    merge_heads,
    split_frames,
    split_heads,
    tokens_to_map,
)


def random_tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_layout_changes_have_inverses():
    tokens = random_tokens(6, 20, 12)
    heads = split_heads(tokens, 3)
    assert heads.shape == (6, 3, 20, 4)
    assert torch.equal(merge_heads(heads), tokens)
    joined = join_frames(heads, 2)
    assert joined.shape == (2, 3, 60, 4)
    assert torch.equal(split_frames(joined, 20), heads)
    maps = tokens_to_map(tokens, 2, (4, 5))
    assert maps.shape == (3, 24, 4, 5)
    assert torch.equal(map_to_tokens(maps, 2), tokens)


def test_maps_show_frames_and_branches_where_they_belong():
    tokens = random_tokens(4, 6, 5)  # two branches of two frames, 2 x 3 feature pixels
    maps = tokens_to_map(tokens, 2, (2, 3))
    for branch in range(2):
        for frame in range(2):
            expected = tokens[2 * branch + frame].T.reshape(5, 2, 3)
            assert torch.equal(maps[frame, 5 * branch : 5 * (branch + 1)], expected)


def test_pre_attention_is_the_softmax_over_own_and_keyframe_keys():
    query, key, value = (random_tokens(4, 2, 6, 8, seed=seed) for seed in range(3))
    key_kf, value_kf = (random_tokens(2, 2, 18, 8, seed=seed) for seed in (3, 4))
    result = attend(query, extend_with_keyframes(key, key_kf), extend_with_keyframes(value, value_kf), 0.3)
    for row in range(4):
        for head in range(2):
            keys = torch.cat([key[row, head], key_kf[row // 2, head]])
            values = torch.cat([value[row, head], value_kf[row // 2, head]])
            expected = torch.softmax(query[row, head] @ keys.T * 0.3, dim=-1) @ values
            torch.testing.assert_close(result[row, head], expected, atol=1e-6, rtol=1e-5)


def test_frames_read_some_of_their_own_tokens_and_the_shared_ones_of_their_branch():
    query, key, value = (random_tokens(6, 2, 10, 8, seed=seed) for seed in range(3))
    shared_key, shared_value = (random_tokens(2, 2, 7, 8, seed=seed) for seed in (3, 4))
    own = [torch.tensor(tokens, dtype=torch.long) for tokens in ([], [3, 8], list(range(10)))]
    result = attend_with_some_of_their_own(query, key, value, shared_key, shared_value, own, 0.3)
    for row in range(6):
        tokens = own[row % 3]
        for head in range(2):
            keys = torch.cat([key[row, head, tokens], shared_key[row // 3, head]])
            values = torch.cat([value[row, head, tokens], shared_value[row // 3, head]])
            expected = torch.softmax(query[row, head] @ keys.T * 0.3, dim=-1) @ values
            torch.testing.assert_close(result[row, head], expected, atol=1e-6, rtol=1e-5)


def test_a_frame_extended_with_itself_is_ordinary_self_attention():
    query, key, value = (random_tokens(2, 2, 30, 8, seed=seed) for seed in range(3))
    # Two branches of one frame each, so that rows and branches coincide.
    extended = attend(query, extend_with_keyframes(key, key), extend_with_keyframes(value, value), 0.35)
    torch.testing.assert_close(extended, attend(query, key, value, 0.35), atol=1e-5, rtol=1e-5)


def test_blending_touches_valid_pixels_only():
    output, surface = random_tokens(2, 5, 3), random_tokens(2, 5, 3, seed=1)
    valid = torch.tensor([[True, False, True, False, False], [False, True, True, True, False]])
    surface[~valid] = torch.nan
    blended = blend_with_surface(output, surface, valid, 0.8)
    assert torch.equal(blended[~valid], output[~valid])
    torch.testing.assert_close(blended[valid], 0.8 * surface[valid] + 0.2 * output[valid])
    assert torch.equal(blend_with_surface(output, surface, valid, 1.0)[valid], surface[valid])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_blending_with_weight_zero_gives_the_output_back(dtype):
    output, surface = (random_tokens(2, 50, 8, seed=seed).to(dtype) for seed in (0, 1))
    valid = random_tokens(2, 50, seed=2) > 0
    assert valid.any()
    assert torch.equal(blend_with_surface(output, surface, valid, 0.0), output)
