"""The table of metrics: what is measured is what is named, and the other way round."""

import numpy as np
from scene.gltf_builder import one_triangle

from genrender.evaluation.studies import STUDIES
from genrender.metrics.table import COMPARED, COSTS, FIGURES, METRICS, Subject, look_up, measure
from genrender.runs.record import Cost
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

KEYS = [
    "surface_error",
    "surface_error_low",
    "surface_error_high",
    "foreground_error",
    "background_error",
    "surface_error_by_quarter",
    "texel_std",
    "texel_std_without_frame_mean",
    "clip_frame_consistency",
    "clip_prompt_fidelity",
    "depth_agreement",
    "sharpness",
    "relative_sharpness",
]


def subject(tmp_path) -> Subject:
    scene = load_scene(one_triangle().save(tmp_path / "triangle.glb"))
    clip = render_clip(scene, ShotConfig(size=(32, 32), n_frames=6, camera="orbit"))
    frames = np.random.default_rng(0).uniform(0, 1, (6, 32, 32, 3)).astype(np.float32)
    return Subject(frames, clip)


def test_keys_of_the_file_stay_what_they_are(tmp_path):
    measured = measure(subject(tmp_path))
    assert [key for key in measured if key in KEYS] == KEYS
    assert list(measured["surface_error"]) == ["1", "4", "16", "first"]
    assert {stride: len(of) for stride, of in measured["surface_error_by_quarter"].items()} == {
        "1": 4,
        "first": 4,
    }
    assert measured["clip_prompt_fidelity"] is None, "no CLIP was given"
    assert measured["relative_sharpness"] is None, "no reference was given"


def test_every_named_number_is_there_and_every_number_is_named(tmp_path):
    measured = measure(subject(tmp_path))
    costs = {metric.key for metric in COSTS}
    for key in FIGURES.keys() - costs:
        assert look_up(measured, key) is None or np.isfinite(look_up(measured, key))
    assert FIGURES.keys() >= {key for study in STUDIES.values() for key in study.shown}
    assert FIGURES.keys() >= set(COMPARED)
    assert len({figure.title for figure in FIGURES.values()}) == len(FIGURES), "two would be called alike"
    assert {metric.key for metric in METRICS} == set(measured)


def test_what_a_run_tells_of_its_cost_is_named():
    assert {metric.key for metric in COSTS} <= set(Cost.__dataclass_fields__)


def test_a_reference_of_the_same_frames_is_as_sharp(tmp_path):
    mine = subject(tmp_path)
    assert measure(Subject(mine.frames, mine.clip, reference=mine))["relative_sharpness"] == 1
