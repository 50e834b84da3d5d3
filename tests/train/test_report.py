"""The report's measures on pictures whose truth is known."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from genrender.errors import ConfigError
from genrender.train.report import nearest_color, silhouette_iou
from genrender.train.subjects import parse_character, world_subjects
from genrender.train.vocabulary import COLORS, LOOKS, vocabulary


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


def test_prompts_name_known_words_and_never_repeat_a_colour():
    words = set(vocabulary())
    for subject in islice(world_subjects(32), 20):
        for look in LOOKS:
            assert set(subject.prompt(look).split()) <= words
        assert (subject.depth > 0).any()
        assert len({subject.color, subject.other_color, subject.background}) == 3


def test_a_character_is_a_file_and_a_noun():
    assert parse_character("a=b/fox.glb=fox") == (Path("a=b/fox.glb"), "fox")
    for text in ("fox.glb", "=fox", "fox.glb="):
        with pytest.raises(ConfigError, match="FILE=NOUN"):
            parse_character(text)
