"""Sharing keys and values, on a real network and on pictures whose spread is known."""

import numpy as np
import pytest
import torch
from tiny_models import TEXT_WIDTH, tiny_unet

from genrender.train.appearance import color_spread, shared_keys
from genrender.train.world import make_sample


@torch.no_grad()
def run(unet, latents):
    text = torch.ones(len(latents), 4, TEXT_WIDTH)
    return unet(latents, 500, encoder_hidden_states=text, return_dict=False)[0]


def test_each_branch_attends_to_its_own_first_picture():
    unet = tiny_unet()
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))  # two branches of two
    plain = run(unet, latents)
    with shared_keys(unet, n_branches=2):
        shared = run(unet, latents)
        alike = run(unet, latents[[0, 0, 2, 2]])
    torch.testing.assert_close(shared[[0, 2]], plain[[0, 2]])
    assert (shared[[1, 3]] - plain[[1, 3]]).abs().max() > 1e-4
    torch.testing.assert_close(alike, plain[[0, 0, 2, 2]])


def test_processors_come_back_after_an_exception():
    unet = tiny_unet()
    before = dict(unet.attn_processors)

    def fail():
        with shared_keys(unet, 1):
            assert unet.attn_processors != before
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert unet.attn_processors == before


def test_spread_is_that_of_the_objects_mean_colour_and_ignores_the_background():
    sample = make_sample(0)
    pictures = np.random.default_rng(0).random((2, *sample.image.shape))
    mask = sample.depth > 0
    pictures[:, mask] = [[[0.2]], [[0.6]]]
    assert color_spread(pictures, mask) == pytest.approx(0.2)
