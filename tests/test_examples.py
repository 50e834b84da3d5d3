"""The example scenes, the numbered examples and the benchmarks of speed: what users run first."""

import importlib.util
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_components

from genrender.backbones.sources import POCKET_FOLDER
from genrender.gbuffer.exr.frame import read_exr
from genrender.media.images import read_png
from genrender.media.video import read_video
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.scene.formats.gltf.write import glb_bytes
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

ROOT = Path(__file__).resolve().parents[1]
SCENES = ROOT / "examples" / "scenes"

needs_pocket = pytest.mark.skipif(
    not (POCKET_FOLDER / "model_index.json").is_file(), reason="the packaged pocket model is missing"
)


def load_script(path: Path) -> ModuleType:
    """A script as a module; its name may begin with a digit."""
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # as for a script that is run
    spec.loader.exec_module(module)
    return module


def example(name: str) -> ModuleType:
    return load_script(ROOT / "examples" / f"{name}.py")


make_scenes = example("make_scenes")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    GenerativeRenderingPipeline(**tiny_components()).save_pretrained(folder)
    return str(folder)


# Scenes


@pytest.mark.parametrize("name", make_scenes.SCENES)
def test_a_scene_file_is_what_the_script_makes(name: str):
    committed = (SCENES / f"{name}.glb").read_bytes()
    assert glb_bytes(make_scenes.SCENES[name]()) == committed
    assert len(committed) < 500_000


def test_the_script_writes_every_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["make_scenes.py", str(tmp_path / "made")])
    make_scenes.main()
    made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert made == {path.name: path.read_bytes() for path in SCENES.glob("*.glb")}


@pytest.mark.parametrize("name", make_scenes.SCENES)
def test_scenes_have_uvs_that_lie_in_the_texture(name: str):
    scene = load_scene(SCENES / f"{name}.glb")
    assert scene.has_uvs.all()
    assert scene.uvs.min() >= 0
    assert scene.uvs.max() <= 1
    assert inspect_scene(scene)["animations"]


@pytest.mark.parametrize(
    ("name", "animation", "duration_s"),
    [
        ("walking_biped", "Walk", 1.0),
        ("walking_biped", "Dance", 2.0),
        ("walking_pair", "Walk", 1.0),
        ("trotting_quadruped", "Trot", 16 / 24),
    ],
)
def test_creatures_move_on_the_ground_and_loop(name: str, animation: str, duration_s: float):
    scene = load_scene(SCENES / f"{name}.glb")
    index = scene.find_animation(animation)
    assert index is not None
    assert scene.animations[index].duration_s == pytest.approx(duration_s, abs=1e-6)
    times_s = np.arange(round(duration_s * 24) + 1) / 24
    poses = [scene.evaluate(float(time_s), index) for time_s in times_s]
    for pose in poses:
        assert pose[:, 1].min() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(poses[-1], poses[0], atol=1e-5)
    # No vertex leaps: a pose that is far from the next one would show as a jerk.
    steps = [np.linalg.norm(b - a, axis=1).max() for a, b in pairwise(poses)]
    assert min(steps) > 0.02
    assert max(steps) < 0.15


def test_the_walk_is_a_walk():
    """Feet take turns, the standing foot glides backwards evenly, and the body rises over it."""
    scene = load_scene(SCENES / "walking_biped.glb")
    creature = make_scenes.biped()
    names = [bone.name for bone in creature.bones]
    foot = {side: creature.joint_ids[:, 0] == names.index(f"{side}_foot") for side in ("left", "right")}
    walk = scene.find_animation("Walk")
    poses = np.stack([scene.evaluate(t / 24, walk) for t in range(24)])
    height = {side: poses[:, mask, 1].min(axis=1) for side, mask in foot.items()}
    # The tip of the toes, about which the foot rolls.
    along = {side: poses[:, mask, 2].max(axis=1) for side, mask in foot.items()}
    # The right side does what the left does, half a cycle later.
    np.testing.assert_allclose(np.roll(height["left"], 12), height["right"], atol=5e-3)
    np.testing.assert_allclose(np.roll(along["left"], 12), along["right"], atol=5e-3)
    for side in foot:
        is_down = height[side] < 5e-4
        assert 0.5 < is_down.mean() < 0.7  # a walk, not a run: each foot stands for more than it swings
        both = is_down & np.roll(is_down, -1)
        speed = (np.roll(along[side], -1) - along[side])[both] * 24
        np.testing.assert_allclose(speed, -0.6, atol=0.1)
        assert height[side].max() > 0.03
    assert (np.minimum(height["left"], height["right"]) < 1e-4).all()
    assert np.ptp(poses[:, :, 1].max(axis=1)) > 0.015


def test_the_still_life_has_a_moving_camera_that_keeps_everything_in_view():
    scene = load_scene(SCENES / "still_life.glb")
    assert [o.name for o in scene.objects] == ["table", "vase", "cube", "pyramid", "ball", "donut"]
    assert scene.camera_names == ("Dolly",)
    times_s = (0.0, 1.0, 2.0)
    clip = render_clip(scene, ShotConfig(size=(96, 96), times_s=times_s, camera="scene:Dolly"))
    for gbuffer in clip.gbuffers:
        assert set(np.unique(gbuffer.object_id)) == {0, 1, 2, 3, 4, 5, 6}
        # Things stand well inside the picture; only the table's foot may be cut off.
        assert not (gbuffer.object_id[[0, -1]] > 1).any()
        assert not (gbuffer.object_id[:, [0, -1]] > 1).any()
    eyes = np.array([camera.world_from_camera[:3, 3] for camera in clip.geometry.cameras])
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).min() > 0.5


# Examples


def test_example_02(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    example("02_gbuffers_only").main(frames=2, size=48, out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "contact_sheet.png",
        "frame_0000.exr",
        "frame_0001.exr",
    ]
    assert read_exr(tmp_path / "out" / "frame_0001.exr").object_id.max() == 6
    printed = capsys.readouterr().out
    assert "1=table, 2=vase" in printed
    assert "object ids equal: True" in printed


def test_example_03(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    example("03_surface_noise").main(out=tmp_path / "out")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:6]]
    agreement = {row[0]: float(row[3]) for row in rows}
    assert agreement["partition"] > 0.4
    assert abs(agreement["independent"]) < 0.1
    assert agreement["partition"] > agreement["fixed"] + 0.1
    assert all(abs(float(row[2]) - 1) < 0.05 for row in rows)
    assert read_png(tmp_path / "out" / "noise.png").std() > 10


def test_example_04(tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]):
    main = example("04_bring_your_own_model").main
    main(model=tiny_model, prompt="fox", frames=3, size=32, steps=2, out=tmp_path / "out")
    frames, _ = read_video(tmp_path / "out" / "video.mp4")
    assert frames.shape == (3, 32, 32, 3)
    assert "million parameters" in capsys.readouterr().out


@needs_pocket
def test_example_01(tmp_path: Path):
    example("01_render_a_clip").main(frames=4, steps=4, out=tmp_path / "out")
    frames, fps = read_video(tmp_path / "out" / "video.mp4")
    assert frames.shape == (4, 128, 128, 3)
    assert fps == 24
    assert frames.std() > 10
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


@needs_pocket
def test_example_05_shows_that_the_method_is_steadier(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    example("05_what_each_mechanism_does").main(frames=6, steps=8, out=tmp_path / "out")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:5]]
    errors = [float(row[-2]) for row in rows]
    assert errors[3] < 0.8 * errors[0]
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


# Benchmarks


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a benchmark's `main` reports for some words; it still begins the processes that measure."""

    def report(benchmark: ModuleType, *words: str) -> Any:
        capsys.readouterr()
        with monkeypatch.context() as asked:
            asked.setattr(sys, "argv", [str(benchmark.__file__), *words])
            benchmark.main()
        return json.loads(capsys.readouterr().out)

    return report


@pytest.mark.slow
def test_speed_and_the_share_of_surface_work_are_measured(
    tiny_model: str, measured: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    words = ["--model", tiny_model, "--frames", "3", "--size", "64", "--steps", "1", "--json"]
    benchmark = load_script(ROOT / "benchmarks" / "speed.py")
    in_own_process = benchmark.in_own_process

    def measure(name: str) -> Any:
        """One method by a process of its own, as all of them are; the others need not import once more."""
        return in_own_process(name) if name == "plain" else measured(benchmark, *sys.argv[1:], "--only", name)

    monkeypatch.setattr(benchmark, "in_own_process", measure)
    speed = measured(benchmark, "--chunk", "2", *words)
    share_of = load_script(ROOT / "benchmarks" / "surface_share.py")
    share = measured(share_of, "--engines", "texture", "reproject", *words)
    seconds = {name: row["seconds_per_frame"] for name, row in speed["methods"].items()}
    assert min(seconds.values()) > 0
    assert speed["ratio"] == pytest.approx(seconds["generative"] / seconds["plain"])
    shares = {"noise", "keyframes", "frames", "decoding", "lock"}
    assert set(speed["methods"]["generative"]["shares"]) == shares
    for engine in ("texture", "reproject"):
        assert set(share["engines"][engine]["seconds"]) == {"noise", "correspondence", "features"}
        assert 0 < share["engines"][engine]["share"] < 1
