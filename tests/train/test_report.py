"""The report's measures on pictures whose truth is known."""

import numpy as np
import pytest

from genrender.train.report import held_out_samples, nearest_color, silhouette_iou
from genrender.train.vocabulary import COLORS, vocabulary


@pytest.mark.parametrize("name", list(COLORS))
def test_a_palette_colour_is_its_own_nearest(name):
    noise = np.random.default_rng(0).normal(0, 0.02, (50, 3))
    assert nearest_color(np.array(COLORS[name]) + noise) == name


def test_a_silhouette_is_found_against_a_gradient_and_missed_where_it_is_not():
    mask = np.zeros((32, 32), bool)
    mask[8:24, 10:20] = True
    picture = np.repeat(np.linspace(0.3, 0.6, 32), 32).reshape(32, 32, 1) * np.ones(3)
    picture[mask] = [0.9, 0.1, 0.1]
    assert silhouette_iou(picture, mask) == 1.0
    assert silhouette_iou(picture, np.roll(mask, 8, axis=1)) < 0.5


def test_held_out_prompts_name_known_words_and_never_repeat_a_colour():
    chosen = held_out_samples(32)
    words = set(vocabulary())
    for _ in range(20):
        sample, prompt, color, background = next(chosen)
        assert set(prompt.split()) <= words
        assert (sample.depth > 0).any()
        assert color != background
