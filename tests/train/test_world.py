"""Laws of the training world: determinism, captions inside the vocabulary, truthful depth and light."""

import numpy as np
import pytest

from genrender.scene.procedural.creatures import biped, quadruped, walk_cycle
from genrender.scene.procedural.primitives import (
    box,
    capsule,
    lathe,
    merge,
    pyramid,
    rotation_about,
    sphere,
    torus,
)
from genrender.train.light import box_blur, outlines, render
from genrender.train.looks import Look, paint, random_look
from genrender.train.objects import CREATURES, STATIC, Prop, make_props
from genrender.train.stages import sheet
from genrender.train.vocabulary import (
    COLORS,
    LATER_WORDS,
    LOOKS,
    MAX_WORDS,
    OBJECTS,
    contrast,
    other_looks,
    vocabulary,
)
from genrender.train.world import Sample, make_sample


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
    first, again, other = (make_sample((3, n), 64, 8) for n in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.depth, again.depth)
    assert first.caption == again.caption
    assert (first.image != other.image).any()


@pytest.fixture(scope="module")
def small_samples() -> list[Sample]:
    return [make_sample((5, seed), 32, 4) for seed in range(360)]


def test_captions_stay_inside_the_vocabulary_and_use_most_of_it(small_samples):
    words = set(vocabulary())
    captions = [sample.caption.split() for sample in small_samples]
    said = {word for caption in captions for word in caption}
    assert said <= words
    assert len(said) > 0.9 * len(words)
    assert max(len(caption) for caption in captions) <= MAX_WORDS


def test_later_words_leave_the_others_where_they_were():
    words = vocabulary()
    assert words[-len(LATER_WORDS) :] == list(LATER_WORDS)
    before = words[: -len(LATER_WORDS)]
    assert before == sorted(before)
    assert len(set(words)) == len(words)


def test_half_of_the_pictures_are_stages_whose_ground_is_in_the_depth(small_samples):
    stages = [sample for sample in small_samples if sample.background[0] == "ground"]
    assert 0.42 < len(stages) / len(small_samples) < 0.58
    shown = np.array([(sample.depth[-1] > 0).mean() for sample in stages])
    assert (shown > 0.9).mean() > 0.75
    assert (shown < 0.5).any()  # some clips do not have their ground in the depth


def test_a_caption_counts_what_is_seen(small_samples):
    for sample in small_samples:
        n_seen = len(np.unique(sample.object_id[sample.object_id > 0]))
        assert n_seen <= sum(group.count for group in sample.groups) + 1  # a sliver need not be named


def test_depth_and_instance_mask_tell_the_same_silhouette():
    for seed in range(20):
        sample = make_sample((9, seed), 128, 16)
        # The mask holds what the pixel at the middle of each latent pixel shows.
        assert (sample.depth[4::8, 4::8][sample.object_id > 0] >= 51).all()


def signed_share(look: Look, points: np.ndarray) -> np.ndarray:
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    mixed = paint(look, points, normals, np.full(len(points), 0.005, np.float32))
    way = look.second - look.first
    return ((mixed - look.first) @ way) / (way @ way)


@pytest.mark.parametrize("pattern", [look for look in LOOKS if look != "plain"])
def test_patterns_show_both_colours_and_plain_only_one(pattern):
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (20_000, 3)).astype(np.float32)
    first, second = np.array(COLORS["red"]), np.array(COLORS["white"])
    share = signed_share(Look(pattern, first, second, np.eye(3)), points)
    assert (share < 0.3).mean() > 0.1
    assert (share > 0.7).mean() > 0.1
    plain = signed_share(Look("plain", first, second, np.eye(3)), points)
    np.testing.assert_allclose(plain, 0, atol=1e-6)


@pytest.mark.parametrize("pattern", [look for look in LOOKS if look != "plain"])
def test_the_prompt_decides_a_named_look_and_chance_a_free_one(pattern):
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (5_000, 3)).astype(np.float32)
    axis = np.array([0.0, 1.0, 0.0])

    def share(names, seed):
        return signed_share(random_look(np.random.default_rng(seed), pattern, names, axis), points)

    np.testing.assert_allclose(share(("red", "white"), 1), share(("red", "white"), 2), atol=1e-4)
    assert np.abs(share((), 1) - share((), 2)).mean() > 0.1


def test_a_named_pattern_lies_where_the_camera_sees_it_and_a_free_one_on_the_object_at_rest():
    """Turning an object about its axis moves a free pattern along, and leaves a named one where it is."""
    ball = sphere(0.5)
    shown = {}
    for name, names in (("named", ("red", "white")), ("free", ())):
        look = random_look(np.random.default_rng(3), "checkered", names, np.array([0.0, 1.0, 0.0]))
        for turn in (0.0, 0.7):
            posed = ball.verts @ rotation_about((0.0, 1.0, 0.0), turn).T
            stage = sheet(np.random.default_rng(4), [(Prop(ball.verts, posed, ball.tris), look)])
            backdrop = np.zeros((64, 64, 3), np.float32)
            shown[name, turn] = render(np.random.default_rng(5), stage, 64, backdrop).image
    away = {name: np.abs(shown[name, 0.0] - shown[name, 0.7]).mean() for name in ("named", "free")}
    assert away["named"] < 0.02
    assert away["free"] > 0.05


def test_a_pattern_too_fine_for_a_pixel_fades_to_one_colour():
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (1_000, 3)).astype(np.float32)
    look = Look("checkered", np.array(COLORS["red"]), np.array(COLORS["white"]), np.eye(3))
    far = paint(look, points, np.eye(3, dtype=np.float32)[[1] * 1_000], np.full(1_000, 0.4, np.float32))
    np.testing.assert_allclose(far.std(axis=0), 0, atol=1e-4)


def test_outlines_are_at_steps_in_depth_and_not_on_slopes():
    # A plane that recedes has inverse depth linear in the picture.
    depth = 1 / np.tile(np.linspace(0.5, 0.1, 40, dtype=np.float32), (40, 1))
    everywhere = np.ones((40, 40), bool)
    assert outlines(depth, everywhere).max() < 0.01
    depth[10:30, 15:25] -= 0.3
    drawn = outlines(depth, everywhere)
    assert drawn[20, 14:16].min() > 0.9
    assert drawn[20, 24:26].min() > 0.9
    assert drawn[20, 17:23].max() < 0.01
    assert drawn[5].max() < 0.01


def test_a_blur_keeps_the_mean_and_spreads_a_point_over_its_square():
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 1
    blurred = box_blur(point, 1)
    np.testing.assert_allclose(blurred[3:6, 3:6], 1 / 9, atol=1e-6)
    assert blurred.sum() == pytest.approx(1, abs=1e-5)


def test_an_altered_caption_differs_in_one_word_that_means_something_else(small_samples):
    rng = np.random.default_rng(0)
    words = set(vocabulary())
    synonyms = ({"gray", "grey"}, {"purple", "violet"}, {"striped", "stripy"})
    named_looks = changed_looks = 0
    for sample in small_samples:
        before = sample.caption.split()
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
        "a cube with red and white scales",
        "a cube with red and white fur",
    ]
    assert other_looks("a red fox") == other_looks("a striped fox and a brick cube") == []
