"""Shapes that USD tells by their sizes: they measure what USD itself says they measure."""

import numpy as np
import pytest

from genrender.scene.load import load_scene

pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
from pxr import Sdf, Usd, UsdGeom

# Type, attributes, and the volume of what they enclose; a plane's area.
SHAPES = [
    ("Cube", {"size": 3.0}, 27),
    ("Sphere", {"radius": 2.0}, 4 / 3 * np.pi * 8),
    ("Cylinder", {"radius": 0.5, "height": 3.0}, np.pi * 0.25 * 3),
    (
        "Cylinder_1",
        {"radiusTop": 0.5, "radiusBottom": 1.5, "height": 3.0},
        np.pi * 3 / 3 * (0.25 + 0.75 + 2.25),
    ),
    ("Cone", {"radius": 1.5, "height": 2.0}, np.pi * 2.25 * 2 / 3),
    ("Capsule", {"radius": 0.5, "height": 2.0}, np.pi * 0.25 * 2 + np.pi / 6),
    ("Plane", {"width": 2.0, "length": 3.0}, 6),
]


def shape(stage, kind, values, axis="Z", path="/Thing"):
    prim = stage.DefinePrim(path, kind)
    for name, value in values.items():
        prim.GetAttribute(name).Set(value)
    if kind not in ("Cube", "Sphere"):
        prim.GetAttribute("axis").Set(axis)
    return prim


def new_stage(path):
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdGeom.SetStageUpAxis(stage, "Y")
    return stage


def measure(scene, verts):
    """Volume, if it is closed, and area."""
    a, b, c = verts[scene.tris].astype(np.float64).transpose(1, 0, 2)
    volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
    return volume, np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


@pytest.mark.parametrize("axis", ["X", "Y", "Z"])
@pytest.mark.parametrize(("kind", "values", "expected"), SHAPES, ids=[kind for kind, *_ in SHAPES])
def test_sizes_are_those_of_usd(tmp_path, kind, values, expected, axis):
    stage = new_stage(tmp_path / "a.usda")
    prim = shape(stage, kind, values, axis)
    extent = np.array(
        UsdGeom.Boundable.ComputeExtentFromPlugins(UsdGeom.Boundable(prim), Usd.TimeCode.Default())
    )
    stage.Save()
    scene = load_scene(tmp_path / "a.usda")
    verts = scene.rest_verts[np.unique(scene.tris)]
    np.testing.assert_allclose([verts.min(axis=0), verts.max(axis=0)], extent, atol=1e-6)
    assert [thing.name for thing in scene.objects] == ["Thing"]
    assert scene.has_uvs.all()
    assert 0 <= scene.uvs.min() <= scene.uvs.max() <= 1
    volume, area = measure(scene, scene.rest_verts)
    if kind == "Plane":
        assert area == pytest.approx(expected)
    else:  # outwards; 32 sides are a little less than round
        assert 0.96 * expected < volume <= expected * (1 + 1e-6)


def test_the_tip_of_a_cone_points_along_its_axis(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    shape(stage, "Cone", {"radius": 1.0, "height": 2.0}, "X")
    stage.Save()
    verts = load_scene(tmp_path / "a.usda").rest_verts
    assert np.abs(verts[verts[:, 0] > 0.9][:, 1:]).max() < 1e-6


def test_sizes_may_move_and_bad_ones_are_left_out(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(2)
    radius = shape(stage, "Sphere", {}, path="/Ball").GetAttribute("radius")
    radius.Set(1.0, 0)
    radius.Set(3.0, 2)
    shape(stage, "Cube", {"size": float("nan")}, path="/Broken")
    stage.DefinePrim("/Patch", "NurbsPatch")
    stage.DefinePrim("/Hair", "BasisCurves")
    stage.DefinePrim("/Fur", "BasisCurves")
    stage.Save()
    scene = load_scene(tmp_path / "a.usda")
    for code in range(3):
        assert np.linalg.norm(scene.evaluate(code / 24, 0), axis=1).max() == pytest.approx(1 + code)
    assert scene.warnings == (
        "left out: Cube '/Broken' has size that is no number; export it again",
        "left out 3 parts (NurbsPatch '/Patch', BasisCurves '/Hair', BasisCurves '/Fur'): each is no mesh; "
        "convert it to one",
    )


def test_points_of_instances_show_shapes(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    instancer = UsdGeom.PointInstancer.Define(stage, "/Drops")
    shape(stage, "Sphere", {"radius": 0.25}, path="/Drops/Drop")
    instancer.CreatePrototypesRel().SetTargets([Sdf.Path("/Drops/Drop")])
    instancer.CreateProtoIndicesAttr([0, 0])
    instancer.CreatePositionsAttr([(0, 0, 0), (7, 0, 0)])
    stage.Save()
    scene = load_scene(tmp_path / "a.usda")
    middles = scene.rest_verts.reshape(2, -1, 3)
    np.testing.assert_allclose(middles.max(axis=1)[:, 0], [0.25, 7.25])
