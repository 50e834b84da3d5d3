"""The judge: which object a label is about, and weights that come back as they went."""

import numpy as np
import pytest
import torch

from genrender.errors import ModelError
from genrender.train import data as shards
from genrender.train.judge import (
    SIDE,
    UNKNOWN,
    Judge,
    cut_out,
    labels_of,
    named_objects,
    score,
    sharp_ids,
    train_judge,
)
from genrender.train.loop import LoopConfig
from genrender.train.vocabulary import COLORS, LOOKS, Described
from genrender.train.world import make_sample

FOX, BOXES = Described("fox", 1, "striped", ("red", "white")), Described("cube", 2, None, ())


def test_instances_belong_to_the_groups_in_their_order():
    object_id = np.zeros((8, 8), np.uint8)
    object_id[:2, :4], object_id[4:6, :3], object_id[6:, 4:] = 1, 2, 4
    (fox, fox_mask), (boxes, boxes_mask) = named_objects(object_id, (FOX, BOXES))
    assert (fox, boxes) == (FOX, BOXES)
    np.testing.assert_array_equal(fox_mask, object_id == 1)
    np.testing.assert_array_equal(boxes_mask, object_id == 4)  # the larger one
    assert named_objects(object_id, (FOX,)) == []  # one is named, three are seen: nobody knows which


def test_too_small_an_object_is_not_judged():
    object_id = np.zeros((16, 16), np.uint8)
    object_id[:2, :3], object_id[8:, 8:] = 1, 2
    assert [group for group, _ in named_objects(object_id, (FOX, FOX))] == [FOX]


def test_instances_at_picture_size_follow_the_depth():
    """Against the true ones, which the world knows at any size."""
    errors = []
    for seed in range(12):
        truth = make_sample((2, seed), 128, 128)
        sample = make_sample((2, seed), 128, 16)
        np.testing.assert_array_equal(truth.depth, sample.depth)
        blocks = sample.object_id.repeat(8, 0).repeat(8, 1)
        found = sharp_ids(sample.object_id, sample.depth)
        errors.append([np.mean(ids != truth.object_id) for ids in (found, blocks)])
    sharp, coarse = np.mean(errors, axis=0)
    assert sharp < 0.35 * coarse, (sharp, coarse)


@pytest.mark.parametrize("cell", [1, 8])
@pytest.mark.parametrize(("y", "x"), [(0, 0), (80, 104), (96, 64)])
def test_an_object_is_as_large_in_every_cut_out_wherever_it_is(cell, y, x):
    picture = np.zeros((128, 128, 3), np.float32)
    picture[y : y + 32, x : x + 16] = 1
    mask = picture[::cell, ::cell, 0] > 0
    pixels, own = cut_out(picture, mask, 0.15)
    assert pixels.shape == (3, SIDE, SIDE)
    # 32 of 32 + 2 * 0.15 * 32 pixels, rounded to cells.
    shown = float(pixels[0].max(1).values.sum())
    assert 0.62 * SIDE <= shown <= 0.85 * SIDE
    assert ((own[0] > 0.5) == (pixels[0] > 0.5)).float().mean() > 0.97


def test_labels_hold_what_is_told_and_nothing_else():
    labels = labels_of([(FOX, "green"), (BOXES, None)])
    names = list(COLORS)
    assert labels.look.tolist() == [list(LOOKS).index("striped"), UNKNOWN]
    assert labels.background.tolist() == [names.index("green"), UNKNOWN]
    assert labels.colors[0].nonzero().ravel().tolist() == sorted(names.index(c) for c in ("red", "white"))
    assert (labels.colors[1] == UNKNOWN).all()


def test_weights_come_back_from_a_small_file(tmp_path):
    torch.manual_seed(0)
    judge = Judge().eval()
    file = tmp_path / "judge.safetensors"
    judge.save(file)
    assert file.stat().st_size < 3e6
    pixels, mask = torch.randn(2, 3, SIDE, SIDE), torch.ones(2, 1, SIDE, SIDE)
    with torch.no_grad():
        for mine, theirs in zip(judge(pixels, mask), Judge.load(file)(pixels, mask), strict=True):
            torch.testing.assert_close(mine, theirs, atol=5e-3, rtol=0)


def test_a_judge_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="--stage judge"):
        Judge.load(tmp_path / "nothing.safetensors")
    (tmp_path / "words").write_text("no weights")
    with pytest.raises(ModelError, match=r"cannot read it .*train the judge again"):
        Judge.load(tmp_path / "words")


def test_what_lies_outside_the_mask_changes_no_look():
    """Only what the object shows is averaged; a far corner lies beyond what its features see."""
    torch.manual_seed(0)
    judge = Judge().eval()
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., :16, :16] = 1
    other = pixels.clone()
    other[..., -16:, -16:] = 1.0
    with torch.no_grad():
        before, after = judge(pixels, mask), judge(other, mask)
    torch.testing.assert_close(before[0], after[0])
    assert not torch.equal(before[2], after[2])  # the background is what lies outside


def test_it_learns_from_shards_and_is_scored_on_renders(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 12)
    shards.write_shard(tmp_path, 64, 32, 0)
    torch.manual_seed(0)
    before = Judge().kind.weight.clone()
    torch.manual_seed(0)
    judge = train_judge(tmp_path, tmp_path / "judge.pt", LoopConfig(steps=3, batch=4, warmup=1))
    assert not torch.equal(judge.kind.weight, before)
    figures = score(judge, (make_sample((1, i), 64, 32) for i in range(30)), 8)
    assert set(figures) >= {"kind", "colors", "look"}
    assert all(0 <= value <= 1 for value in figures.values())
