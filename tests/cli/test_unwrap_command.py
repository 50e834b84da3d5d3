"""`genrender unwrap` and `--uv`: new texture coordinates where they are wanted, and words about it."""

import numpy as np
import pytest
from scene.gltf_builder import SQUARE, GltfBuilder

from genrender.gbuffer.exr.frame import read_exr
from genrender.media.images import read_png
from genrender.scene.load import load_scene


@pytest.fixture
def tiled_scene(tmp_path):
    """A card over which a texture is repeated three by three times."""
    builder = GltfBuilder()
    uvs = builder.accessor(np.array(SQUARE)[:, :2] * 3.0)
    card = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], attributes={"TEXCOORD_0": uvs})
    builder.node(mesh=card, name="tiled")
    return builder.save(tmp_path / "tiled.glb")


def test_a_file_with_new_coordinates(call, tiled_scene, tmp_path):
    result = call("unwrap", tiled_scene, "--out", "new.glb")
    assert (result.code, result.err) == (0, "")
    assert "new texture coordinates: tiled (100 % of its texels are in several places" in result.out
    again = load_scene(tmp_path / "new.glb")
    assert again.uvs.max() <= 1
    assert "fine" in call("inspect", "new.glb").out


def test_good_coordinates_stay_unless_all_are_wanted_new(call, scene, tmp_path):
    result = call("unwrap", scene, "--out", "new.glb")
    assert result.out == "1 of 1 objects keep theirs, which will do\nnew.glb\n"
    np.testing.assert_array_equal(load_scene(tmp_path / "new.glb").uvs, load_scene(scene).uvs)
    assert call("unwrap", scene, "--out", "new.glb", "--uv", "unwrap").code == 0
    assert (load_scene(tmp_path / "new.glb").uvs != load_scene(scene).uvs).any()


@pytest.mark.parametrize(
    ("out", "said"),
    [("tiled.glb", "it is the scene itself"), ("new.gltf", "a .glb file"), ("no/new.glb", "no such folder")],
)
def test_places_that_cannot_be_written(call, tiled_scene, out, said):
    before = tiled_scene.read_bytes()
    result = call("unwrap", tiled_scene, "--out", out)
    assert result.code == 2
    assert said in result.err
    assert tiled_scene.read_bytes() == before


def test_gbuffers_keep_or_remake(call, tiled_scene, tmp_path):
    words = ["--size", 32, "--frames", 1]
    told = {}
    for mode in ("keep", "auto", "unwrap"):
        told[mode] = call("gbuffers", tiled_scene, "--out", mode, "--uv", mode, *words).err
    uv = {mode: read_exr(tmp_path / mode / "frame_0000.exr").uv for mode in told}
    np.testing.assert_array_equal(uv["auto"], uv["unwrap"])
    assert (uv["keep"] != uv["auto"]).any()
    assert "warning: texture coordinates kept with faults: tiled (100 %" in told["keep"]
    assert "made new texture coordinates: tiled (100 % of its texels" in told["auto"]
    assert "made new texture coordinates: tiled (asked for)" in told["unwrap"]


def test_inspection_finds_advises_and_draws(call, tiled_scene, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # wide enough to keep what is looked for in one line
    result = call("inspect", tiled_scene, "--picture", "charts.png")
    assert result.code == 0
    # The table wraps its text.
    text = " ".join(result.out.replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    for found in ("overlap 100 %", "tiled", "unwrap:"):
        assert found in text
    assert read_png(tmp_path / "charts.png").std() > 10
    assert "leave it out" in call("inspect", "--model", "pocket", "--picture", "a.png").err
