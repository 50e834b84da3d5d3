"""Captions read back say what was written into them."""

import pytest

from genrender.train.captions import read_caption
from genrender.train.vocabulary import Described
from genrender.train.world import make_sample

FOX, BOX = Described("fox", 1, "striped", ("red", "white")), Described("cube", 1, "plain", ("blue",))


@pytest.mark.parametrize(
    ("text", "groups", "around"),
    [
        ("a red and white striped fox and a blue box on a green ground", (FOX, BOX), "green"),
        ("on a grey floor in front of a red wall , a fox with red and white stripes", (FOX,), "gray"),
        ("a blue box against a violet backdrop", (BOX,), "purple"),
        ("a blue box with a cyan gradient background", (BOX,), "turquoise"),
        ("two furry dogs under a blue sky", (Described("dog", 2, "furry", ()),), None),
        ("a person on a ground against a pink background", (Described("biped", 1, None, ()),), None),
    ],
)
def test_groups_and_the_colour_around_them(text, groups, around):
    assert read_caption(text) == (groups, around)


def test_what_the_world_writes_is_read_back():
    for seed in range(120):
        sample = make_sample((7, seed), 16, 2)
        groups, around = read_caption(sample.caption)
        assert [(g.kind, g.count, g.colors) for g in groups] == [
            (g.kind, g.count, g.colors) for g in sample.groups
        ]
        for read, told in zip(groups, sample.groups, strict=True):
            assert read.look == told.look or (read.look is None and told.look == "plain")
        if sample.background[0] != "sky":
            assert around == sample.background[1]
