"""Any change to a glTF file gives a scene or one clear line."""

import copy
import json
import random

import numpy as np
import pytest
from gltf_builder import morphing, skinned_strip

from genrender.errors import SceneError
from genrender.scene.load import load_scene


def random_change(value, rng):
    """A copy of a JSON value with one thing in it replaced by something unfitting."""
    places = []

    def collect(part, path):
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, child in items:
            places.append([*path, key])
            collect(child, [*path, key])

    collect(value, [])
    changed = copy.deepcopy(value)
    *path, key = rng.choice(places)
    part = changed
    for step in path:
        part = part[step]
    if rng.random() < 0.2:
        del part[key]
    else:
        junk = [
            None,
            -1,
            0,
            1,
            2,
            3,
            10**9,
            10**30,
            1.5,
            1e308,
            True,
            "x",
            "",
            [],
            {},
            [[]],
            [None],
            {"a": 1},
        ]
        part[key] = copy.deepcopy(rng.choice(junk))
    return changed


@pytest.mark.parametrize("seed", range(4))
def test_any_change_to_a_file_gives_a_scene_or_a_scene_error(tmp_path, seed):
    rng = random.Random(seed)
    builder = rng.choice([skinned_strip, lambda: morphing([1, 0], is_sparse=True)])()
    builder.animate("turn", [(0, "rotation", [0, 1], [[0, 0, 0, 1]] * 2, "LINEAR")])
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.0, "znear": 0.1}}]
    builder.node(camera=0)
    builder.save(tmp_path / "a.gltf")
    outcomes = {"loaded": 0, "refused": 0}
    for number in range(100):
        path = tmp_path / f"{number}.gltf"
        path.write_text(json.dumps(random_change(builder.doc, rng)))
        try:
            scene = load_scene(path)
            assert np.isfinite(scene.evaluate(0.5, scene.find_animation(None))).all()
            outcomes["loaded"] += 1
        except SceneError:
            outcomes["refused"] += 1
    assert all(outcomes.values())
