"""`genrender verify`: figures as JSON or as a table, two pictures, and no diffusion library."""

import json
import subprocess
import sys

import pytest

from genrender.cli import main
from genrender.errors import MediaError
from genrender.media.images import read_png

WORDS = ("--size", 128, "--frames", 3)


def lookup(report, path):
    for key in path.split("."):
        report = report[key]
    return report


def test_json_and_nothing_else(call, scene, tmp_path):
    result = call("verify", scene, "--json", "--out", "v", *WORDS)
    assert result.code == 0
    report = json.loads(result.out)
    for path in (
        *("noise.nearest.alignment", "noise.partition.std", "noise.partition.morans_i"),
        *("noise.partition.correlation", "noise.partition.correlation_elsewhere", "coverage"),
        *("features.round_trip_error", "features.blend_error", "features.unblended_error"),
    ):
        assert isinstance(lookup(report, path), float), path
    assert (report["frames"], report["size"], report["latent_size"]) == (3, [128, 128], [16, 16])
    assert report["noise"]["nearest"]["alignment"] == 1
    assert report["noise"]["partition"]["std"] == pytest.approx(1, abs=0.05)
    assert report["features"]["blend_error"] < 0.67 * report["features"]["unblended_error"]
    assert set(report["features"]["engines"]) == {"texture", "reproject"}
    assert report["coverage"] > 0.9
    assert report["attention"] == []
    assert report["pictures"] == ["v/noise.png", "v/features.png"]
    assert sorted(file.name for file in (tmp_path / "v").iterdir()) == ["features.png", "noise.png"]
    for picture in report["pictures"]:
        assert len(set(map(tuple, read_png(tmp_path / picture).reshape(-1, 3)))) > 50
    assert all(line.startswith("genrender: ") for line in result.err.splitlines())


def test_a_table_for_people(call, scene, tmp_path):
    result = call("verify", scene, "--animation", "Rise", "--fps", 4, "--camera", "static", *WORDS)
    assert result.code == 0
    for text in ("nearest: alignment", "exactly 1", "blend error", "coverage: mean", "pass"):
        assert text in result.out
    assert result.out.splitlines()[-2:] == ["runs/verify-card/noise.png", "runs/verify-card/features.png"]
    assert (tmp_path / "runs" / "verify-card" / "noise.png").exists()


def test_what_is_not_as_expected_gets_attention(call, scene):
    # Eight pixels are one latent pixel: nothing can be told from that.
    result = call("verify", scene, "--size", 8, "--frames", 2)
    assert result.code == 0
    assert "attention" in result.out


def test_objects_without_uvs_get_some(call, bare_scene):
    result = call("verify", bare_scene, "--size", 64, "--frames", 2)
    assert result.code == 0
    assert "made texture coordinates for what has none: bare" in result.err


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["SCENE", "--frames", 1], "the clip has 1 frame"),
        (["SCENE", "--frames", 0], "number of frames is 0"),
        (["SCENE", "--size", 60], "size is 60x60, expected multiples of 8, for instance 64x64"),
        (["SCENE", "--animation", "Fly"], "no animation 'Fly'; it has: Slide, Rise"),
        (["SCENE", "--camera", "drone"], "unknown camera 'drone'"),
        (["SCENE", "--size", 64, "--frames", 2, "--camera", "away.json"], "the camera sees nothing"),
        (["SCENE", "--out", "a-file"], "it is a file"),
        (["nowhere.glb"], "scene file not found: nowhere.glb"),
    ],
)
def test_bad_input(call, tmp_path, scene, words, pattern):
    (tmp_path / "a-file").write_text("")
    (tmp_path / "away.json").write_text('{"eye": [0, 0, 5], "target": [0, 0, 9]}')
    before = sorted(tmp_path.rglob("*"))
    result = call("verify", *(scene if word == "SCENE" else word for word in words))
    assert (result.code, result.out) == (2, "")
    lines = result.err.splitlines()
    assert all(line.startswith("genrender: ") for line in lines)
    errors = [line for line in lines if "error" in line]
    assert len(errors) == 1
    assert errors[0].startswith("genrender: error: ")
    assert pattern in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_pictures_that_cannot_be_finished_leave_no_folder(call, tmp_path, scene, monkeypatch):
    def disk_full(*_):
        raise MediaError("the disk is full")

    monkeypatch.setattr("genrender.cli.verify.write_png", disk_full)
    assert call("verify", scene, "--out", "deep/v", "--size", 64, "--frames", 2).code == 2
    assert list(tmp_path.iterdir()) == []


def test_no_diffusion_library_is_needed(scene, tmp_path):
    script = (
        "import sys; from genrender.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or bool({'diffusers', 'transformers'} & sys.modules.keys()))"
    )
    words = ["verify", scene, "--size", "64", "--frames", "2", "--json"]
    subprocess.run(
        [sys.executable, "-c", script, *words],
        check=True,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_the_command_explains_itself(capsys):
    assert main(["verify", "--help"]) == 0
    assert "usage: genrender verify" in capsys.readouterr().out
