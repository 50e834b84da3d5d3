"""`genrender inspect`, and how fast what needs no model answers."""

import json
import subprocess
import sys

import numpy as np
import OpenEXR
import pytest
from scene.gltf_builder import SQUARE, GltfBuilder
from scenes import panned_plane

from genrender.cli import main
from genrender.gbuffer.exr.frame import write_exr


def test_json_and_nothing_else(call, scene):
    result = call("inspect", scene, "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["totals"] == {"objects": 1, "triangles": 2, "vertices": 4, "animations": 2, "cameras": 1}
    assert report["objects"][0]["name"] == "card"
    assert report["objects"][0]["uv"]["state"] == "ok"
    assert [animation["name"] for animation in report["animations"]] == ["Slide", "Rise"]
    assert [camera["name"] for camera in report["cameras"]] == ["Front"]


def test_tables_for_people(call, scene):
    result = call("inspect", scene)
    assert (result.code, result.err) == (0, "")
    for text in ("card.glb", "card", "Slide", "0.25", "Rise", "Front"):
        assert text in result.out


def test_missing_uvs_are_shown(call, bare_scene):
    assert "missing" in call("inspect", bare_scene).out


@pytest.fixture
def many(tmp_path):
    """Three alike cards, and one whose coordinates are of no use."""
    builder = GltfBuilder()
    good, bad = ([[0, 1], [1, 1], [0, 0], [1, 0]], [[0, 0], [0, 0], [0, 0], [1e-3, 1e-3]])
    for name, uvs in (
        ("a_card_with_quite_a_long_name.001", good),
        ("[red] card", good),
        ("Käfer", good),
        ("bad", bad),
    ):
        attributes = {"TEXCOORD_0": builder.accessor(uvs)}
        mesh = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], name=name, attributes=attributes)
        builder.node(mesh=mesh, name=name)
    return builder.save(tmp_path / "many.glb")


def test_equal_rows_are_one_and_names_are_whole_in_80_columns(call, many, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rows = call("inspect", many).out.splitlines()
    assert max(map(len, rows)) <= 80
    assert any("1..3" in row and "a_card_with_quite_a_long_name.001" in row for row in rows)
    assert "[red] card" in "\n".join(rows)
    assert sum(" ok " in row for row in rows) == 1


def test_a_pipe_gets_a_line_for_a_row_whatever_its_length(call, many, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = call("inspect", many).out.splitlines()
    (row,) = [row for row in rows if "1..3" in row]
    assert "a_card_with_quite_a_long_name.001, [red] card, Käfer" in row


def test_coordinates_that_are_replaced_are_not_called_ok(call, many):
    *_, bad = json.loads(call("inspect", many, "--json").out)["objects"]
    assert bad["uv"]["advice"].startswith("unwrap")
    assert bad["uv"]["state"] != "ok"


def test_files_that_cannot_be_rendered_end_with_code_1(call, tmp_path):
    ones, header = np.ones((4, 4), np.float32), {"type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Depth.Z": ones}).write(str(tmp_path / "a_0.exr"))
    for more in ([], ["--json"]):
        result = call("inspect", tmp_path, *more)
        assert (result.code, result.err) == (1, "")
        assert "no channel for the texture coordinate U" in result.out
    (tmp_path / "a_0.exr").unlink()
    write_exr(tmp_path / "a_0.exr", panned_plane(16))
    assert call("inspect", tmp_path).code == 0


def test_a_model_shows_its_networks_and_its_words(call):
    result = call("inspect", "--model", "pocket", "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["picture_size"] == [128, 128]
    sizes = {network["name"]: network["size_mb"] for network in report["networks"]}
    assert {"unet", "controlnet", "text_encoder", "vae", "clip"} == set(sizes)
    assert sum(sizes.values()) < 60
    assert {"striped", "biped", "turquoise"} <= set(report["vocabulary"])
    for_people = call("inspect", "--model", "pocket").out
    for text in ("UNet2DConditionModel", "colours: red", "looks: plain", "fox"):
        assert text in for_people


@pytest.mark.parametrize(
    ("words", "said"), [([], "give a scene file or --model"), (["--model", "sd15"], "not on this machine")]
)
def test_what_cannot_be_inspected_is_said(call, words, said):
    result = call("inspect", *words)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize("words", [["--help"], ["render", "--help"], ["inspect", "SCENE"]])
def test_no_command_waits_for_pytorch_that_does_not_need_it(scene, words):
    script = (
        "import sys; from genrender.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    words = [str(scene) if word == "SCENE" else word for word in words]
    subprocess.run([sys.executable, "-c", script, *words], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["render", "gbuffers", "preview", "unwrap", "inspect", "train"])
def test_every_command_explains_itself(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"usage: genrender {command}" in capsys.readouterr().out


def test_where_a_scene_lies_is_told_where_it_is_far_away(call, tmp_path):
    for name, x in (("near", 0), ("far", 446506)):
        (tmp_path / f"{name}.obj").write_text(f"v {x} 0 0\nv {x + 1} 0 0\nv {x} 1 0\nf 1 2 3\n")
    assert "1 m wide, 1 m high, 0 m deep, around 446506.50, 0.50, 0.00\n" in call("inspect", "far.obj").out
    assert "1 m wide, 1 m high, 0 m deep\n" in call("inspect", "near.obj").out
