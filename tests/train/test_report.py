"""The report's measures on pictures whose truth is known."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from genrender.errors import ConfigError
from genrender.scene.backdrop_ids import GROUND_ID
from genrender.scene.formats.gltf.write import GltfScene, MeshNode, write_glb
from genrender.scene.procedural.primitives import sphere
from genrender.train.report import inner_edges, nearest_color, relate_inner_edges, silhouette_iou
from genrender.train.shots import BOX, CHARACTER, all_colors_right, typical_clip
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


def test_inner_edges_are_told_relative_to_renders_or_not_at_all():
    figures = {"shapes_inner_edges": 3.0, "shapes_iou": 0.9, "renders_inner_edges": 4.0}
    relate_inner_edges(figures, ["shapes", "characters"])
    assert figures == {"shapes_inner_edges": 0.75, "shapes_iou": 0.9, "renders_inner_edges": 4.0}
    without = {"shapes_inner_edges": 3.0, "shapes_iou": 0.9}
    relate_inner_edges(without, ["shapes", "characters"])
    assert without == {"shapes_iou": 0.9}


def test_inner_edges_are_seen_where_brightness_changes_with_the_depth():
    depth = np.zeros((64, 64), np.uint8)
    depth[8:56, 8:56] = 100
    depth[20:44, 24:40] = 160  # an arm before the body
    rng = np.random.default_rng(0)
    flat = rng.normal(0.5, 0.01, (64, 64, 3))
    assert inner_edges(flat, depth) == pytest.approx(1, abs=0.25)
    shown = flat.copy()
    shown[depth == 160] += 0.2
    assert inner_edges(shown, depth) > 5
    assert np.isnan(inner_edges(flat, np.where(depth > 0, np.uint8(100), np.uint8(0))))


def test_a_typical_shot_shows_all_three_and_all_three_colours_count(tmp_path):
    write_glb(tmp_path / "ball.glb", GltfScene((MeshNode("ball", sphere(0.5, 12)),)))
    clip = typical_clip(tmp_path / "ball.glb", 64)
    asked = {CHARACTER: "red", BOX: "blue", GROUND_ID: "green"}
    for gbuffer in clip.gbuffers:
        assert set(asked) <= set(np.unique(gbuffer.object_id))
        frame = np.zeros((64, 64, 3))
        for number, color in asked.items():
            frame[gbuffer.object_id == number] = COLORS[color]
        assert all_colors_right(frame, gbuffer.object_id, asked, nearest_color)
        for number in asked:
            wrong = frame.copy()
            wrong[gbuffer.object_id == number] = COLORS["yellow"]
            assert not all_colors_right(wrong, gbuffer.object_id, asked, nearest_color)
    eyes = [camera.world_from_camera[:3, 3] for camera in clip.geometry.cameras]
    assert np.linalg.norm(eyes[0] - eyes[-1]) > 0.5
