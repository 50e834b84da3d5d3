"""Which moments a clip shows, whatever the format: first key to last key, at the file's own rate."""

import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder
from hypothesis import given
from hypothesis import strategies as st

from genrender.errors import ConfigError
from genrender.scene.load import load_scene
from genrender.scene.moments import (
    STANDARD_RATES,
    frames_between,
    rate_of_keys,
    seconds_of,
    shape_as_text,
    tidy_rate,
)
from genrender.scene.scene import Scene
from genrender.shots.clip import ShotConfig, plan_shot

TRIS = [0, 1, 2, 2, 1, 3]


def sliding(folder, keys_s, places=None) -> Scene:
    """A card that is `places` to the right at each key, the number of the key if not said otherwise."""
    builder = GltfBuilder()
    node = builder.node(mesh=builder.mesh(SQUARE, TRIS), name="card")
    places = np.arange(len(keys_s)) if places is None else np.array(places)
    keys = np.stack([places, 0 * places, 0 * places], axis=1)
    builder.animate("Slide", [(node, "translation", list(keys_s), keys, "LINEAR")])
    return load_scene(builder.save(folder / "card.glb"))


def shown(scene: Scene, **config) -> list[float]:
    """How far to the right the card is in every frame."""
    shot = plan_shot(scene, ShotConfig(**config))
    at_rest = plan_shot(scene, ShotConfig(times_s=(-9.0,))).verts(0)[0, 0]
    return [round(float(shot.verts(frame)[0, 0] - at_rest), 4) for frame in range(shot.n_frames)]


@pytest.mark.parametrize("rate", [24, 25, 30, 60, 24000 / 1001])
@pytest.mark.parametrize("first", [0, 1, 10])
def test_a_clip_is_first_key_to_last_key_at_the_rate_of_its_keys(tmp_path, first, rate):
    scene = sliding(tmp_path, np.float32(np.arange(first, first + 12) / rate))
    assert scene.animations[0].fps == pytest.approx(rate)
    assert shown(scene) == list(range(12))
    # The artist's frame numbers and seconds.
    assert shown(scene, start=first + 3) == list(range(3, 12))
    assert shown(scene, start=f"{first + 3}", end=str(first + 5)) == [3, 4, 5]
    assert shown(scene, end=f"{(first + 5) / rate:.6f}s") == list(range(6))
    assert shown(scene, start=first + 9, n_frames=4) == [9, 10, 11, 11]
    # Another rate shows other moments between the same ends; frame numbers stay the file's.
    assert shown(scene, fps=rate / 2, start=first + 2, end=first + 8) == [2, 4, 6, 8]


def test_without_a_grid_there_are_24_frames_a_second(tmp_path):
    scene = sliding(tmp_path, [0, 0.5])
    assert scene.animations[0].fps is None
    assert len(shown(scene)) == 13
    assert shown(scene, start=6, end="0.5s") == [round(n / 12, 4) for n in range(6, 13)]
    assert plan_shot(scene, ShotConfig()).fps == 24


def test_a_loop_shows_a_closing_pose_once(tmp_path):
    keys = np.arange(1, 10) / 24
    there_and_back = [0, 1, 2, 3, 4, 3, 2, 1, 0]
    assert shown(sliding(tmp_path, keys, there_and_back)) == there_and_back
    assert shown(sliding(tmp_path, keys, there_and_back), loop=True) == there_and_back[:-1]
    twice = shown(sliding(tmp_path, keys, there_and_back), loop=True, n_frames=16)
    assert twice == there_and_back[:-1] * 2
    assert shown(sliding(tmp_path, keys), loop=True, n_frames=18) == [*range(9), *range(9)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"start": "ten"}, "start is 'ten', expected a frame number such as 10, or seconds such as 0.5s"),
        ({"end": "1e9s"}, "end is '1e9s', expected a frame number"),
        ({"start": 8, "end": 4}, "would end at frame 4 and begin at frame 8"),
        ({"start": 40}, "would end at frame 12 and begin at frame 40"),
        ({"end": 4, "n_frames": 3}, "both an end and a number of frames"),
        ({"start": 4, "times_s": (0.0,)}, "give one of them"),
        ({"start": "-999999999s"}, "expected at most"),
    ],
)
def test_moments_that_make_no_clip_are_refused(tmp_path, config, message):
    scene = sliding(tmp_path, np.arange(1, 13) / 24)
    with pytest.raises(ConfigError, match=message):
        plan_shot(scene, ShotConfig(**config))


@given(st.sampled_from(STANDARD_RATES), st.integers(0, 5000), st.integers(2, 200))
def test_keys_on_frames_tell_their_rate(rate, first, n_keys):
    keys = np.float32(np.arange(first, first + n_keys) / rate).astype(np.float64)
    found = rate_of_keys([keys])
    assert found is not None
    assert abs(found - rate) < 0.002 * rate  # 24 or 23.976: float32 may be too coarse to tell
    assert frames_between(keys[0], keys[-1], found) == n_keys


def test_keys_elsewhere_tell_no_rate():
    rates = [
        rate_of_keys([np.array(keys)]) for keys in ([0.0, 1.0], [0.0, 0.1, 0.2], [0.5], [0.0, 0.04, 0.05])
    ]
    assert rates == [None, None, None, None]
    assert rate_of_keys([]) is None


def test_numbers_and_their_texts():
    assert [seconds_of(moment, 25, "start") for moment in (10, "10", "0.4s", 12.5, "-5")] == [
        0.4,
        0.4,
        0.4,
        0.5,
        -0.2,
    ]
    assert [tidy_rate(fps) for fps in (23.976, 1 / 0.0416667, 29.97, 12.5)] == [
        24000 / 1001,
        24,
        30000 / 1001,
        12.5,
    ]
    assert [shape_as_text(aspect) for aspect in (16 / 9, 1.0, 4 / 3, 1.7778, 2.39)] == [
        "16:9",
        "1:1",
        "4:3",
        "16:9",
        "2.39:1",
    ]
