import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genrender.correspondence.unify import fill, mean, paper, unify_weights

RULES = ["fill", "mean", "paper"]
SEEN = torch.tensor([[0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0]], dtype=torch.bool)


@pytest.mark.parametrize("rule", RULES)
@given(data=st.data())
def test_weights_are_a_partition_of_unity_over_who_sees(rule, data):
    n_keyframes, n_points = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 12))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10_000)))
    seen = torch.rand(n_keyframes, n_points, generator=generator) < 0.5
    quality = torch.randint(0, 9, seen.shape, generator=generator) if data.draw(st.booleans()) else None
    weights = unify_weights(rule, seen, quality)
    assert (weights >= 0).all()
    assert (weights[~seen] == 0).all()
    torch.testing.assert_close(weights.sum(0), seen.any(0).float())


def test_fill_takes_the_first_keyframe_that_sees():
    assert fill(SEEN).tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_fill_by_quality_takes_the_best_and_on_a_tie_the_first():
    quality = torch.tensor([[9, 1, 9, 0], [9, 3, 2, 9], [9, 3, 5, 9]])
    assert fill(SEEN, quality).tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_mean_and_paper():
    third = 1 / 3
    torch.testing.assert_close(
        mean(SEEN), torch.tensor([[0, third, 0, 1], [0, third, 0.5, 0], [0, third, 0.5, 0]])
    )
    torch.testing.assert_close(paper(SEEN), (fill(SEEN) + mean(SEEN)) / 2)
