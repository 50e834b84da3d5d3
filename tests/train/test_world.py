"""Laws of the training world: determinism, captions inside the vocabulary, truthful depth and masks."""

import numpy as np
import pytest

from genrender.scene.creatures import biped, quadruped, walk_cycle
from genrender.scene.primitives import box, capsule, lathe, merge, pyramid, rotation_about, sphere, torus
from genrender.train.looks import Look, paint
from genrender.train.objects import CREATURES, STATIC, make_props
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS, contrast, other_looks, vocabulary
from genrender.train.world import make_sample


def signed_volume(verts: np.ndarray, tris: np.ndarray) -> float:
    a, b, c = (verts[tris[:, i]] for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize(
    ("part", "volume"),
    [
        (box((1, 2, 3)), 6.0),
        (sphere(0.5, 64), np.pi / 6),
        (pyramid(1, 1), 1 / 3),
        (torus(0.35, 0.15, 96), 2 * np.pi**2 * 0.35 * 0.15**2),
        (lathe([(0, 1), (0.5, 1), (0.5, 0), (0, 0)], 96), np.pi / 4),
        (capsule((0, 0, 0), (0, 2, 0), 0.3, 0.3, 96), np.pi * 0.09 * 2 + 4 / 3 * np.pi * 0.027),
    ],
)
def test_primitives_enclose_their_volume_with_outward_faces(part, volume):
    assert signed_volume(part.verts, part.tris) == pytest.approx(volume, rel=0.03)
    assert part.uvs.min() >= 0
    assert part.uvs.max() <= 1


def test_merged_parts_do_not_share_uv_cells():
    merged = merge([sphere(), box(), torus()])
    n_sphere, n_box = len(sphere().verts), len(box().verts)
    cells = np.floor(merged.uvs * 2).astype(int)
    owners = [{tuple(c) for c in part} for part in np.split(cells, [n_sphere, n_sphere + n_box])]
    assert all(len(owner) == 1 for owner in owners)
    assert len(set.union(*owners)) == 3


def test_a_creature_at_rest_is_its_mesh_and_turns_rigidly_with_its_root():
    creature = quadruped()
    np.testing.assert_allclose(creature.pose({}), creature.mesh.verts, atol=1e-12)
    turn = rotation_about((0, 1, 0), 0.7)
    root = np.asarray(creature.bones[0].start)
    expected = (creature.mesh.verts - root) @ turn.T + root
    np.testing.assert_allclose(creature.pose({"hips": turn}), expected, atol=1e-12)


def test_a_walk_repeats_after_one_cycle_and_moves_opposite_legs_apart():
    creature = biped()
    first, last = (creature.pose(walk_cycle(creature, phase)) for phase in (0.0, 1.0))
    np.testing.assert_allclose(first, last, atol=1e-9)
    posed = creature.pose(walk_cycle(creature, 0.25))
    feet = [
        posed[creature.joint_ids[:, 0] == [b.name for b in creature.bones].index(name)].mean(0)
        for name in ("left_foot", "right_foot")
    ]
    assert abs(feet[0][2] - feet[1][2]) > 0.2


def test_every_class_has_a_builder():
    assert set(OBJECTS) == set(CREATURES) | set(STATIC)
    rng = np.random.default_rng(0)
    for kind in OBJECTS:
        for prop in make_props(kind, 2, rng):
            assert np.isfinite(prop.posed).all()
            assert prop.posed.shape == prop.rest.shape


def test_samples_are_determined_by_their_seed():
    first, again, other = make_sample((3, 1)), make_sample((3, 1)), make_sample((3, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.depth, again.depth)
    assert first.caption == again.caption
    assert (first.image != other.image).any()


def test_captions_stay_inside_the_vocabulary_and_use_most_of_it():
    words = set(vocabulary())
    said = {w for seed in range(400) for w in make_sample((5, seed), 16, 2).caption.split()}
    assert said <= words
    assert len(said) > 0.9 * len(words)


def test_depth_and_instance_mask_tell_the_same_silhouette():
    for seed in range(20):
        sample = make_sample((9, seed))
        # Both are point samples half a pixel apart: one pixel around the latent pixel's centre decides.
        around = [sample.depth[2 + dy :: 4, 2 + dx :: 4] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        assert (np.max(around, axis=0)[sample.object_id > 0] >= 51).all()


@pytest.mark.parametrize("pattern", ["striped", "checkered", "spotted", "marble", "wooden", "brick"])
def test_patterns_show_both_colours_and_plain_only_one(pattern):
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (20_000, 3))
    first, second = np.array(COLORS["red"]), np.array(COLORS["white"])
    mixed = paint(Look(pattern, first, second, np.eye(3), 3.0, 0.0), points)
    share = ((mixed - first) @ (second - first)) / ((second - first) @ (second - first))
    assert (share < 0.3).mean() > 0.1
    assert (share > 0.7).mean() > 0.1
    plain = paint(Look("plain", first, second, np.eye(3), 3.0, 0.0), points)
    np.testing.assert_array_equal(plain, np.broadcast_to(first, plain.shape))


def test_an_altered_caption_differs_in_one_word_that_means_something_else():
    rng = np.random.default_rng(0)
    words = set(vocabulary())
    synonyms = ({"gray", "grey"}, {"purple", "violet"}, {"striped", "stripy"})
    named_looks = changed_looks = 0
    for index in range(200):
        before = make_sample((5, index), 16, 2).caption.split()
        after = contrast(rng, " ".join(before)).split()
        assert set(after) <= words
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b and a not in ("a", "an")]
        assert len(changed) == 1
        assert not any(set(changed[0]) <= names for names in synonyms)
        assert " a orange" not in " ".join(after)
        assert " an red" not in " ".join(after)
        named_looks += "striped" in before
        changed_looks += changed[0][0] == "striped"
    assert changed_looks > 0.3 * named_looks > 0


def test_other_looks_say_the_same_of_another_look():
    texts = other_looks("a striped fox on a blue background")
    assert texts[:3] == [
        "a plain fox on a blue background",
        "a checkered fox on a blue background",
        "a spotted fox on a blue background",
    ]
    assert len(texts) == len(LOOKS) - 1
    assert other_looks("an orange brick cube")[0] == "an orange plain cube"
    assert other_looks("a cube with red and white dots") == [
        "a cube with red and white stripes",
        "a cube with red and white checks",
        "a cube with red and white bricks",
    ]
    assert other_looks("a red fox") == other_looks("a striped fox and a brick cube") == []
