from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import in_front, panned_plane, rotating_sphere

from genrender.errors import ConfigError
from genrender.surface.texels import (
    MAX_SIDE,
    flat_pixel_of_sample,
    join_texel,
    pixel_of_sample,
    sample_under_pixel,
    split_texel,
    texel_ids,
    texel_owners,
)


@given(n_pixels=st.integers(1, 70), extra=st.integers(0, 600))
def test_a_sample_lies_in_its_pixel_and_the_centre_sample_in_its_own(n_pixels, extra):
    n_samples = n_pixels + extra
    pixel = pixel_of_sample(n_samples, n_pixels)
    centre = (np.arange(n_samples) + 0.5) / n_samples * n_pixels
    assert np.all((pixel <= centre + 1e-9) & (centre < pixel + 1 + 1e-9))
    assert np.array_equal(np.unique(pixel), np.arange(n_pixels))
    assert np.array_equal(pixel[sample_under_pixel(n_samples, n_pixels)], np.arange(n_pixels))


def test_even_blocks_are_what_one_expects():
    assert pixel_of_sample(16, 2).tolist() == [0] * 8 + [1] * 8
    assert sample_under_pixel(16, 2).tolist() == [4, 12]
    assert sample_under_pixel(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert flat_pixel_of_sample((4, 4), (2, 2)).tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2


@given(st.integers(1, MAX_SIDE - 1), st.integers(0, MAX_SIDE - 1), st.integers(0, MAX_SIDE - 1))
def test_packing_is_a_bijection(object_id, v, u):
    packed = join_texel(np.array([object_id]), np.array([v]), np.array([u]))
    assert [int(x[0]) for x in split_texel(packed)] == [object_id, v, u]


def test_texel_ids_follow_uv_and_object():
    gbuffer = in_front(rotating_sphere(64), panned_plane(64, 0.1))
    sides = np.array([1, 7, 20])
    texel = texel_ids(gbuffer, sides)
    assert np.array_equal(texel >= 0, gbuffer.visible)
    object_id, v, u = split_texel(texel[gbuffer.visible])
    assert np.array_equal(object_id, gbuffer.object_id[gbuffer.visible])
    uv = gbuffer.uv[gbuffer.visible].astype(np.float64)
    expected = np.minimum(np.floor(uv * sides[object_id][:, None]), sides[object_id][:, None] - 1)
    assert np.array_equal(u, expected[:, 0])
    assert np.array_equal(v, expected[:, 1])
    assert np.array_equal(texel_ids(gbuffer, 7), texel_ids(gbuffer, np.array([7, 7, 7])))


def test_the_far_edge_of_the_atlas_belongs_to_the_last_texel():
    gbuffer = panned_plane(8, 0, 1.5)
    edge = replace(gbuffer, uv=np.ones_like(gbuffer.uv))
    assert np.unique(texel_ids(edge, 10)).tolist() == [(1 << 28) | (9 << 14) | 9]


def owners_by_hand(texel, pixel):
    holders = defaultdict(Counter)
    for t, p in zip(texel, pixel, strict=True):
        if t >= 0:
            holders[t][p] += 1
    rows = []
    for t in sorted(holders):
        p = min(holders[t], key=lambda p, counts=holders[t]: (-counts[p], p))
        rows.append((t, p, holders[t][p]))
    return rows


@given(seed=st.integers(0, 10_000), n=st.integers(0, 200))
def test_the_pixel_with_most_samples_owns_the_texel(seed, n):
    rng = np.random.default_rng(seed)
    texel, pixel = rng.integers(-1, 12, n), rng.integers(0, 5, n)
    owners = texel_owners(torch.from_numpy(texel), torch.from_numpy(pixel))
    fast = list(zip(owners.texel.tolist(), owners.pixel.tolist(), owners.n_samples.tolist(), strict=True))
    assert fast == owners_by_hand(texel.tolist(), pixel.tolist())


def test_a_tie_goes_to_the_lowest_pixel():
    owners = texel_owners(torch.tensor([7, 7, 7, 7]), torch.tensor([9, 4, 4, 9]))
    assert owners.pixel.tolist() == [4]


@pytest.mark.parametrize("side", [0, MAX_SIDE + 1])
def test_a_side_out_of_range_is_refused(side):
    with pytest.raises(ConfigError, match=f"side {side}"):
        texel_ids(panned_plane(8), side)


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="9 feature pixels over 8 samples"):
        pixel_of_sample(8, 9)
    with pytest.raises(ConfigError, match="2000x2000"):
        flat_pixel_of_sample((2000, 2000), (2000, 2000))
