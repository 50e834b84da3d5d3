"""The commands take scenes of every format alike."""

import json

import numpy as np
import pytest

from genrender.gbuffer.exr.frame import read_exr

CARD = "v -1 0 0\nv 1 0 0\nv 1 {0} 0\nv -1 {0} 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"


@pytest.fixture(params=["usda", "obj"])
def growing_card(request, tmp_path):
    """A card that is 1 m high and after two frames 3 m."""
    if request.param == "obj":
        (tmp_path / "frames").mkdir()
        for frame, height in enumerate((1, 2, 3)):
            (tmp_path / "frames" / f"card_{frame}.obj").write_text(CARD.format(height))
        return "frames/card_*.obj"
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Sdf, Usd, UsdGeom, Vt

    stage = Usd.Stage.CreateNew(str(tmp_path / "card.usda"))
    UsdGeom.SetStageMetersPerUnit(stage, 1)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(2)
    mesh = UsdGeom.Mesh.Define(stage, "/Card")
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray([0, 1, 2, 3]))
    for frame, height in enumerate((1, 2, 3)):
        mesh.GetPointsAttr().Set([(-1, 0, 0), (1, 0, 0), (1, height, 0), (-1, height, 0)], frame)
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
    st.Set([(0, 0), (1, 0), (1, 1), (0, 1)])
    stage.Save()
    return "card.usda"


CAMERA = {"eye": [0, 1.5, 4], "target": [0, 1.5, 0], "yfov_deg": 90}


def test_gbuffers_show_the_animation(call, growing_card, tmp_path):
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    result = call("gbuffers", growing_card, "--out", "passes", "--size", "64", "--camera", "camera.json")
    assert result.code == 0, result.err
    assert len(list((tmp_path / "passes").glob("*.exr"))) == 3
    rows = []
    for frame in range(3):
        gbuffer = read_exr(tmp_path / "passes" / f"frame_{frame:04d}.exr")
        seen = gbuffer.object_id == 1
        np.testing.assert_allclose(gbuffer.depth[seen], 4, atol=1e-5)
        rows.append(seen.any(axis=1).sum())
        v = gbuffer.uv[seen][:, 1]
        assert v.min() < 0.1
        assert v.max() > 0.9
        top = gbuffer.uv[np.flatnonzero(seen.any(axis=1))[0]][seen.any(axis=0)]
        assert top[:, 1].max() < 0.1  # V grows downwards here and upwards in these files
    assert rows == [8, 16, 24]


def test_inspect_shows_the_animation(call, growing_card):
    result = call("inspect", growing_card, "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["totals"]["triangles"] == 2
    assert report["objects"][0]["uv"]["state"] == "ok"
    assert report["animations"][0]["duration_s"] == pytest.approx(2 / 24, abs=1e-6)
    assert report["animations"][0]["fps"] == 24


def test_render_makes_a_run_of_it(call, model, growing_card, tmp_path):
    words = ["--prompt", "a fox", "--model", model, "--steps", "1", "--size", "32"]
    result = call("render", growing_card, *words, "--frames", "3")
    assert result.code == 0, result.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("card-")
    assert len(list((folder / "frames").iterdir())) == 3
    assert call("evaluate", folder, "--json").code == 0
