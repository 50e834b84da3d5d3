"""What lies near a pixel on the same object: agreement with the plain definition, and laws."""

import numpy as np
import pytest

from genrender.surface.nearby import Nearby

SIZE = 24


def picture():
    """Two objects side by side, of which some pixels are not chosen."""
    rng = np.random.default_rng(0)
    object_id = np.where(np.arange(SIZE)[None] < 10, 1, 2) * np.ones((SIZE, 1), int)
    chosen = rng.uniform(size=(SIZE, SIZE)) < 0.7
    return object_id, chosen, rng.normal(size=(SIZE, SIZE, 3))


def test_sums_agree_with_the_definition():
    object_id, chosen, values = picture()
    sums = np.zeros((SIZE, SIZE, 3))
    sums[chosen] = Nearby(object_id, chosen).sum(values[chosen], 2)
    for row, column in ((0, 0), (12, 9), (12, 10), (23, 23)):
        there = slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3)
        counts = chosen[there] & (object_id[there] == object_id[row, column])
        expected = values[there][counts].sum(0) if chosen[row, column] else 0
        assert sums[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("radius_px", [1, 3, 40])
def test_means_agree_with_two_moving_averages(radius_px):
    """Weights are what two windows in turn let through, on the object's chosen pixels alone."""
    object_id, chosen, values = picture()
    first, second = radius_px // 2, radius_px - radius_px // 2
    tent = np.convolve(np.ones(2 * first + 1), np.ones(2 * second + 1))
    across = np.arange(SIZE)
    gap = across[:, None] - across[None]
    weights = np.where(abs(gap) <= radius_px, tent[np.clip(gap + radius_px, 0, 2 * radius_px)], 0)
    expected = np.zeros((SIZE, SIZE, 3))
    for id_ in (1, 2):
        counts = (chosen & (object_id == id_))[..., None]
        total, share = (
            np.einsum("ry,cx,yxk->rck", weights, weights, each * counts) for each in (values, np.ones(1))
        )
        expected += np.where(counts, total / np.maximum(share, 1e-9), 0)
    means = Nearby(object_id, chosen).mean(values[chosen], radius_px)
    assert means == pytest.approx(expected[chosen], abs=1e-12)


def test_other_objects_never_get_in():
    object_id, chosen, values = picture()
    louder = np.where((object_id == 2)[..., None], 1e3, values)
    is_first = (object_id == 1)[chosen]
    near = Nearby(object_id, chosen)
    assert np.array_equal(near.mean(values[chosen], 8)[is_first], near.mean(louder[chosen], 8)[is_first])


def test_of_nothing_there_is_nothing():
    object_id, chosen, values = picture()
    near = Nearby(object_id, np.zeros_like(chosen))
    assert near.mean(values[np.zeros_like(chosen)], 3).shape == (0, 3)
