"""`genrender inspect`, and how fast what needs no model answers."""

import json
import subprocess
import sys

import pytest

from genrender.cli import main


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
