"""--objects, --merge and --ignore: every command sees the objects that were asked for, also later ones."""

import json

import numpy as np
import pytest
from cli.conftest import frames
from scene.gltf_builder import SQUARE, GltfBuilder

from genrender.gbuffer.exr.frame import read_exr
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from genrender.sampling.appearance import read_appearance
from genrender.sampling.store import RunStore

RULE = ("--objects", "material", "--merge", "wood*=Wood", "--ignore", "glass")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Four cards, each of a material of its own, that share their texture coordinates."""
    builder = GltfBuilder()
    uvs = builder.accessor([[0, 1], [1, 1], [0, 0], [1, 0]])
    names = ("wood light", "wood dark", "glass", "steel")
    builder.doc["materials"] = [{"name": name} for name in names]
    for index in range(len(names)):
        mesh = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], attributes={"TEXCOORD_0": uvs})
        builder.doc["meshes"][mesh]["primitives"][0]["material"] = index
        builder.node(mesh=mesh, name=f"card {index}", translation=[1.2 * index, 0, 0])
    return builder.save(tmp_path_factory.mktemp("shop") / "shop.glb")


@pytest.fixture
def words(shop, model):
    options = ["--prompt", "a red fox", "--model", model, "--frames", 4, "--size", 64, "--steps", 3]
    return ["render", shop, *options, "--camera", "orbit", *RULE]


def test_exr_files_hold_the_objects(call, shop, tmp_path):
    look = ("--camera", "static,ortho")
    result = call("gbuffers", shop, "--out", "g", "--frames", 1, "--size", "96x32", *look, *RULE)
    assert result.code == 0, result.err
    shown = read_exr(tmp_path / "g" / "frame_0000.exr").object_id[16]
    changes = shown[np.flatnonzero(np.diff(shown, prepend=-1))].tolist()
    assert changes == [0, 1, 0, 1, 0, 2, 0]  # no glass, and the gap where it stood


def test_a_preview_and_a_report(call, shop, tmp_path):
    assert call("preview", shop, "--out", "p", "--frames", 1, "--size", 32, *RULE).code == 0
    report = json.loads(call("inspect", shop, "--json", "--picture", "charts.png", *RULE).out)
    listed = [(thing["object_id"], thing["name"], thing["triangles"]) for thing in report["objects"]]
    assert listed == [(1, "Wood", 4), (2, "steel", 2)]
    assert (report["totals"]["objects"], report["totals"]["triangles"]) == (2, 6)
    assert report["objects"][0]["uv"]["advice"].startswith("fine")
    assert (tmp_path / "charts.png").is_file()


@pytest.mark.parametrize("command", ["render", "compare", "preview", "gbuffers", "inspect"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            ("--objects", "material", "--ignore", "stone"),
            "shop.glb: no object is called 'stone'; it has: wood light, wood dark, glass, steel",
        ),
        (("--merge", "card=Wood"), "no object is called 'card'; it has: card 0, card 1, card 2, card 3"),
        (("--merge", "wood*"), "--merge 'wood*': expected PATTERN=NAME"),
        (("--ignore", "*"), "all 4 objects are ignored"),
    ],
)
def test_a_mistake_is_one_line(call, shop, model, tmp_path, command, wrong, said):
    extra = {
        "render": ("--prompt", "a fox", "--model", model),
        "compare": ("--prompt", "a fox", "--model", model),
        "gbuffers": ("--out", "out"),
    }.get(command, ())
    result = call(command, shop, *extra, *wrong)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert said in result.err
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_model_has_no_objects(call):
    result = call("inspect", "--model", "pocket", "--ignore", "a")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "--ignore" in result.err


def test_a_finished_run_shows_the_same_objects_again(call, words, tmp_path):
    assert call(*words, "--run-dir", "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert config["objects"] == {"by": "material", "merge": [["wood*", "Wood"]], "ignore": ["glass"]}
    assert {name: len(ids) for name, ids in config["atlas_ids"].items()} == {"Wood": 2, "steel": 1}
    clip = open_run(tmp_path / "run").clip
    assert [thing.name for thing in clip.geometry.scene.objects] == ["Wood", "steel"]
    assert np.unique(clip.gbuffers[0].object_id).tolist() == [0, 1, 2]
    assert call("evaluate", "run").code == 0


def test_a_run_of_other_objects_is_another_shot(call, words):
    assert call(*words, "--run-dir", "run").code == 0
    assert call(*words[: -len(RULE)], "--run-dir", "nodes").code == 0
    result = call("evaluate", "run", "--reference", "nodes")
    assert result.code == 2
    assert "objects differs" in result.err


def test_a_stopped_run_goes_on_with_its_objects(call, words, tmp_path, monkeypatch):
    assert call(*words, "--run-dir", "whole").code == 0
    original = RunStore.commit

    def commit(self, generator):
        original(self, generator)
        if self.step == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunStore, "commit", commit)
        assert call(*words, "--run-dir", "run").code == 130
    assert call("resume", "run").code == 0
    assert frames(tmp_path / "whole") == frames(tmp_path / "run")


def test_a_look_is_lent_from_object_to_object(call, words, tmp_path):
    """Steel by itself is object 1 and was object 2, with the third texture: two were of wood."""
    assert call(*words, "--run-dir", "run").code == 0
    alone = [word for word in words if word not in ("--merge", "wood*=Wood")]
    result = call(*alone, "--ignore", "wood*", "--appearance-from", "run", "--run-dir", "lent")
    assert result.code == 0, result.err
    theirs, ours = (
        json.loads((tmp_path / name / "config.json").read_text())["config"]["atlas_ids"]
        for name in ("run", "lent")
    )
    assert (theirs, ours) == ({"Wood": [1, 2], "steel": [3]}, {"steel": [1]})
    appearance = read_appearance(tmp_path / "run" / "appearance.npz")
    for before, after in zip(
        appearance.gbuffers, appearance.matched(theirs, ours, {1: 1}).gbuffers, strict=True
    ):
        np.testing.assert_array_equal(after.object_id, np.where(before.object_id == 2, 1, 0))
        assert after.visible.any()


def test_prompts_name_the_objects_there_are(call, words, tmp_path):
    assert call(*words, "--prompt-for", "wood=a green fox", "--run-dir", "run").code == 0
    assert call(*words, "--run-dir", "plain").code == 0
    frames = [[file.read_bytes() for file in RunFolder(tmp_path / n).frame_files()] for n in ("run", "plain")]
    assert frames[0] != frames[1]
    for name in ("glass", "card 0"):
        result = call(*words, "--prompt-for", f"{name}=a fox")
        assert result.code == 2
        assert f"no object is called '{name}'; it has: Wood, steel" in result.err


def test_objects_without_a_partner_are_named_and_none_at_all_is_refused(call, words, tmp_path):
    assert call(*words, "--run-dir", "run").code == 0
    alone = words[: -len(RULE)]
    result = call(*alone, "--appearance-from", "run", "--run-dir", "lent")
    assert result.code == 2
    assert (
        "called as one of the run run: here card 0, card 1, card 2, card 3; there Wood, steel" in result.err
    )
    assert "loading model" not in result.err
    assert not (tmp_path / "lent").exists()
    result = call(
        *alone, "--merge", "card 3=Steel.", "--ignore", "card 2", "--appearance-from", "run", "--run-dir", "l"
    )
    assert result.code == 0, result.err
    told = "no look is taken over by what the run run has no object of that name for: card 0, card 1"
    assert told in result.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--engine", "reproject"], "carried by the texture engine alone"),
        (["--size", "32"], "of other width (64, here 32)"),
    ],
)
def test_what_cannot_take_over_a_look_is_told_before_the_model_is_loaded(call, words, more, said):
    assert call(*words, "--run-dir", "run").code == 0
    result = call(*words, "--appearance-from", "run", "--run-dir", "lent", *more)
    assert result.code == 2
    assert said in result.err
    assert "loading model" not in result.err
