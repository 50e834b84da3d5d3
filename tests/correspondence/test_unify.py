from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genrender.config import InjectionConfig, UnifyRule
from genrender.correspondence.unify import (
    MAX_POWER,
    UNIFY_RULES,
    Samples,
    fill,
    mean,
    paper,
    rising,
    unify_weights,
)

SEEN = torch.tensor([[0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0]], dtype=torch.bool)


def test_the_table_holds_what_the_configuration_names():
    assert tuple(UNIFY_RULES) == get_args(UnifyRule)
    for name in UNIFY_RULES:
        InjectionConfig(unify=name).check()


@pytest.mark.parametrize("rule", UNIFY_RULES)
@settings(deadline=None)  # the first call may load half of torch
@given(data=st.data())
def test_weights_are_a_partition_of_unity_over_who_sees(rule, data):
    n_keyframes, n_points = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 12))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10_000)))
    seen = torch.rand(n_keyframes, n_points, generator=generator) < 0.5
    quality = torch.randint(0, 9, seen.shape, generator=generator) if data.draw(st.booleans()) else None
    progress = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    weights = unify_weights(rule, Samples(seen, quality, progress))
    assert (weights >= 0).all()
    assert (weights[~seen] == 0).all()
    torch.testing.assert_close(weights.sum(0), seen.any(0).float())
    # What a rule says of itself.
    if UNIFY_RULES[rule].averages:
        assert (weights[seen] > 0).all()
    else:
        assert ((weights == 0) | (weights == 1)).all()


def test_fill_takes_the_first_keyframe_that_sees():
    assert fill(Samples(SEEN)).tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_fill_by_quality_takes_the_best_and_on_a_tie_the_first():
    quality = torch.tensor([[9, 1, 9, 0], [9, 3, 2, 9], [9, 3, 5, 9]])
    assert fill(Samples(SEEN, quality)).tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_mean_and_paper():
    samples, third = Samples(SEEN), 1 / 3
    torch.testing.assert_close(
        mean(samples), torch.tensor([[0, third, 0, 1], [0, third, 0.5, 0], [0, third, 0.5, 0]])
    )
    torch.testing.assert_close(paper(samples), (fill(samples) + mean(samples)) / 2)


def test_rising_begins_as_a_mean_and_ends_with_the_best():
    seen = torch.ones(3, 2, dtype=torch.bool)
    quality = torch.tensor([[9, 0], [19, 0], [39, 10**9]])
    torch.testing.assert_close(rising(Samples(seen, quality, 0.0)), mean(Samples(seen)))
    late = rising(Samples(seen, quality, 1.0))
    shares = torch.tensor([10.0, 20.0, 40.0]) ** MAX_POWER
    torch.testing.assert_close(late[:, 0], shares / shares.sum())
    assert late[2, 1] == 1
    assert (late > 0).all(), "who sees a point has a share, however small"
    steps = [rising(Samples(seen, quality, progress))[2, 0] for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert steps == sorted(steps)
