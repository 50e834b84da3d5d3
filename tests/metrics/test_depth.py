"""Depth agreement: laws of rank correlation, and a depth network from a folder."""

import numpy as np
import pytest
from scenes import ball_behind_slab
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from genrender.errors import ModelError
from genrender.metrics.depth import DepthEstimator, depth_agreement


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
    estimated = estimator.inverse_depth(frames)
    assert estimated.shape == (3, 48, 64)
    np.testing.assert_allclose(estimator.inverse_depth(frames[1:2])[0], estimated[1], atol=1e-4)


def test_a_missing_network_is_said_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no depth model"):
        DepthEstimator.load(tmp_path)
