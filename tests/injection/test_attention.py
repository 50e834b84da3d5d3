import pytest
import torch

from genrender.injection.attention import (
    attend,
    attend_with_some_of_their_own,
    blend_low_band,
    blend_with_surface,
    extend_with_keyframes,
    join_frames,
    low_pass,
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
    result = attend_with_some_of_their_own(query, key, value, (shared_key, shared_value), own, 0.3)
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


def test_a_low_pass_is_a_mean_over_valid_pixels_alone():
    generator = torch.Generator().manual_seed(6)
    valid = torch.rand(2, 5, 7, generator=generator) < 0.6
    values = torch.randn(2, 5, 7, 3, generator=generator) * valid[..., None]
    smooth = low_pass(values, valid, sigma_px=0.8)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    for n, row, column in valid.nonzero().tolist():
        down, right = rows - row, columns - column
        near = valid[n] & (down.abs() <= 2) & (right.abs() <= 2)
        weight = torch.exp(-(down**2 + right**2) / (2 * 0.8**2)) * near
        expected = (weight[..., None] * values[n]).sum((0, 1)) / weight.sum()
        torch.testing.assert_close(smooth[n, row, column], expected)
    assert (smooth[~valid] == 0).all()


def test_a_blended_low_band_carries_what_is_large_and_leaves_detail_and_what_is_not_valid():
    generator = torch.Generator().manual_seed(7)
    output = torch.randn(1, 8, 8, 4, generator=generator)
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    valid[:, :3] = False
    large = blend_low_band(output, output + 2, valid, 0.5, sigma_px=1.0)
    torch.testing.assert_close(large, output + valid[..., None].float())
    checks = 2 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float() - 1
    small = blend_low_band(output, output + checks[..., None], valid, 1.0, sigma_px=1.0)
    assert (small - output)[:, 5:, 2:6].abs().max() < 0.05
    # Far below a pixel nothing is left out.
    shared = torch.randn(1, 8, 8, 4, generator=generator)
    everything = torch.where(valid[..., None], output.lerp(shared, 0.5), output)
    torch.testing.assert_close(blend_low_band(output, shared, valid, 0.5, sigma_px=0.05), everything)
