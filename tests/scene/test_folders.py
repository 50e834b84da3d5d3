"""Which files a scene may bring along: one rule, whatever the format."""

import json
import os
import struct
from pathlib import Path

import pytest

from genrender.cli import main, parse
from genrender.errors import SceneError
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.words import job_words
from genrender.scene.load import load_scene, scene_files

OUTSIDE = "outside the scene's folder.*--allow-folder"
USDA = """#usda 1.0
def Mesh "Card"
{
    int[] faceVertexCounts = [3]
    int[] faceVertexIndices = [0, 1, 2]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
}
"""
CORNERS = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)


def gltf(uri):
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
            "accessors": [{"componentType": 5126, "type": "VEC3", "count": 3, "bufferView": 0}],
            "bufferViews": [{"buffer": 0, "byteLength": 36}],
            "buffers": [{"byteLength": 36, "uri": uri}],
        }
    )


ARCS = {
    "reference": '#usda 1.0\ndef "Here" (\n    references = @{}@</Card>\n)\n{{\n}}\n',
    "payload": '#usda 1.0\ndef "Here" (\n    payload = @{}@</Card>\n)\n{{\n}}\n',
    "sublayer": "#usda 1.0\n(\n    subLayers = [@{}@]\n)\n",
    "variant": """#usda 1.0
def "Here" (
    variantSets = "look"
    variants = {{
        string look = "a"
    }}
)
{{
    variantSet "look" = {{
        "a" (
            references = @{}@</Card>
        ) {{
        }}
    }}
}}
""",
}


@pytest.fixture
def places(tmp_path):
    """A folder for the scene, and one beside it with what the scene must not bring along by itself."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "below", outside):
        folder.mkdir(parents=True)
        (folder / "card.usda").write_text(USDA)
        (folder / "card.bin").write_bytes(CORNERS)
    return inside, outside


def check(scene, outside):
    """Refused in one line, and read where the user names the folder."""
    with pytest.raises(SceneError, match=OUTSIDE) as caught:
        load_scene(scene)
    assert "\n" not in str(caught.value)
    assert len(load_scene(scene, [outside]).tris) == 1
    assert load_scene(scene, [outside]).allowed_folders == (outside.resolve(),)


@pytest.mark.parametrize("kind", [*ARCS, "gltf"])
def test_files_outside_are_read_only_where_the_user_says(places, kind):
    if kind != "gltf":
        pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    inside, outside = places
    suffix, write = ("bin", gltf) if kind == "gltf" else ("usda", ARCS[kind].format)
    scene = inside / f"scene.{'gltf' if kind == 'gltf' else 'usda'}"
    for uri in (f"../out/card.{suffix}", str(outside / f"card.{suffix}")):
        scene.write_text(write(uri))
        check(scene, outside)
    os.symlink(outside / f"card.{suffix}", inside / f"link.{suffix}")
    scene.write_text(write(f"./link.{suffix}"))
    check(scene, outside)
    scene.write_text(write(f"./below/card.{suffix}"))
    assert len(load_scene(scene).tris) == 1


def test_references_of_what_is_referred_to(places):
    pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    inside, outside = places
    scene, middle = inside / "scene.usda", inside / "below" / "middle.usda"
    scene.write_text(ARCS["reference"].format("./below/middle.usda").replace("</Card>", "</Here>"))
    middle.write_text(ARCS["reference"].format("../../out/card.usda"))
    check(scene, outside)
    middle.write_text(ARCS["reference"].format("../beside.usda"))  # still in the scene's folder
    (inside / "beside.usda").write_text(USDA)
    assert len(load_scene(scene).tris) == 1
    assert (inside / "beside.usda").resolve() in scene_files(scene)


@pytest.mark.parametrize("uri", ["../out/card.usda", "{outside}/card.usda"])
def test_packages_bring_along_what_they_hold(places, uri):
    pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import Sdf, Usd

    inside, outside = places
    (outside / "root.usda").write_text(ARCS["reference"].format(uri.format(outside=outside)))
    # It was Usd's before OpenUSD 26.
    writer = Sdf.ZipFileWriter if hasattr(Sdf, "ZipFileWriter") else Usd.ZipFileWriter
    package = writer.CreateNew(str(inside / "scene.usdz"))
    package.AddFile(str(outside / "root.usda"), "root.usda")
    package.Save()
    with pytest.raises(SceneError, match=OUTSIDE):
        load_scene(inside / "scene.usdz")


CLIP = """#usda 1.0
over "Card"
{
    double3 xformOp:translate.timeSamples = { 0: (0, 0, 0), 1: (5, 0, 0) }
}
"""
WITH_CLIPS = """def Mesh "Card" (
    clips = {
        dictionary default = {
            asset[] assetPaths = [@../out/clip.usda@]
            asset manifestAssetPath = @../out/clip.usda@
            string primPath = "/Card"
            double2[] active = [(0, 0)]
            double2[] times = [(0, 0), (1, 1)]
        }
    }
)
{
    double3 xformOp:translate
    uniform token[] xformOpOrder = ["xformOp:translate"]
"""


def test_value_clips_are_files_too(places):
    pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    inside, outside = places
    (outside / "clip.usda").write_text(CLIP)
    (inside / "scene.usda").write_text(USDA.replace('def Mesh "Card"\n{\n', WITH_CLIPS))
    check(inside / "scene.usda", outside)
    moved = load_scene(inside / "scene.usda", [outside])
    assert moved.evaluate(1 / 24, 0)[0, 0] == pytest.approx(0.05)  # centimetres, as nothing else is said


def test_a_folder_that_is_not_there(places):
    inside, _ = places
    (inside / "scene.gltf").write_text(gltf("card.bin"))
    with pytest.raises(SceneError, match=r"there is no folder nowhere.*--allow-folder"):
        load_scene(inside / "scene.gltf", ["nowhere"])


def test_the_command_line_says_which_folders(places, capsys):
    inside, outside = places
    (inside / "scene.gltf").write_text(gltf("../out/card.bin"))
    assert main(["inspect", str(inside / "scene.gltf")]) == 2
    assert "--allow-folder" in capsys.readouterr().err
    assert main(["inspect", str(inside / "scene.gltf"), "--allow-folder", str(outside)]) == 0
    again = ["unwrap", str(inside / "scene.gltf"), "--allow-folder", str(outside), "--out"]
    assert main([*again, str(inside / "new.glb")]) == 0
    assert len(load_scene(inside / "new.glb").tris) == 1


def test_the_runs_of_a_comparison_may_use_the_same_folders():
    folders = (Path("library"), Path("shared"))
    words = job_words(RenderJob(ClipJob(Path("a.usda"), allow_folder=folders), "a fox"), Path("run"))
    assert parse(words).content.allow_folder == folders
