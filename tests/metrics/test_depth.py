"""Depth agreement: laws of rank correlation, and a depth network from a folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import ball_behind_slab
from torchmetrics.functional.regression import spearman_corrcoef
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from genrender.errors import ModelError
from genrender.metrics.depth import DepthEstimator, depth_agreement, rank_correlation
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID


@pytest.fixture(scope="module")
def gbuffers():
    return ball_behind_slab(3, 0.1, 64, 2)[0]


def inverse_depth(gbuffer) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(gbuffer.visible, 1 / gbuffer.depth, 0)


def test_only_the_order_counts(gbuffers):
    true = np.stack([inverse_depth(gbuffer) for gbuffer in gbuffers])
    assert depth_agreement(true, gbuffers) == pytest.approx(1)
    assert depth_agreement(3 * true**2 + 7, gbuffers) == pytest.approx(1)
    assert depth_agreement(-true, gbuffers) == pytest.approx(-1)


def test_ranks_with_many_ties_agree_with_torchmetrics():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 40, 5000).astype(float), rng.integers(0, 9, 5000).astype(float)
    b += a / 10
    theirs = spearman_corrcoef(torch.from_numpy(a), torch.from_numpy(b))
    assert rank_correlation(a, b) == pytest.approx(float(theirs), abs=1e-6)
    # A picture of 512 x 512 has more equal pixels (background) than 32 bits can sum the ranks of.
    a = np.concatenate([np.zeros(200_000), np.arange(1, 1000)])
    assert rank_correlation(a, 2 * a) == pytest.approx(1)


def test_the_ground_has_depth_and_the_dome_has_none(gbuffers):
    ground = [replace(g, object_id=np.where(g.visible, GROUND_ID, 0).astype(np.int32)) for g in gbuffers]
    dome = [replace(g, object_id=np.where(g.object_id == 1, DOME_ID, g.object_id)) for g in gbuffers]
    true = np.stack([inverse_depth(gbuffer) for gbuffer in gbuffers])
    assert depth_agreement(true, ground) == pytest.approx(1)
    flat = np.where(np.stack([g.object_id for g in dome]) == DOME_ID, 0, true)
    assert depth_agreement(flat, dome) == pytest.approx(1)


def test_what_tells_nothing_of_depth_does_not_agree(gbuffers):
    noise = np.random.default_rng(0).random((3, 64, 64))
    # Some 3,000 pixels a frame: a standard deviation of 0.02.
    assert abs(depth_agreement(noise, gbuffers)) < 0.06
    assert depth_agreement(np.ones((3, 64, 64)), gbuffers) == 0


def test_a_half_right_picture_lies_between(gbuffers):
    true = np.stack([inverse_depth(gbuffer) for gbuffer in gbuffers])
    noisy = true + true.std() * np.random.default_rng(0).standard_normal(true.shape)
    assert 0.2 < depth_agreement(noisy, gbuffers) < 0.95


def test_a_network_estimates_at_the_pictures_size(tmp_path):
    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    DPTForDepthEstimation(config).save_pretrained(tmp_path)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    frames = np.random.default_rng(0).random((3, 48, 64, 3))
    estimator = DepthEstimator.load(tmp_path)
    estimated = np.stack(list(estimator.inverse_depth(frames)))
    assert estimated.shape == (3, 48, 64)
    np.testing.assert_allclose(next(estimator.inverse_depth(frames[1:2])), estimated[1], atol=1e-4)


def test_a_missing_network_is_said_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no depth model"):
        DepthEstimator.load(tmp_path)
