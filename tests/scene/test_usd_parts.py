"""USD: parts that are hidden, repeated, renamed, broken or elsewhere, and what is refused."""

import numpy as np
import pytest

from genrender.errors import SceneError
from genrender.scene.load import load_scene

pxr = pytest.importorskip("pxr", reason="usd-core is not installed")
from pxr import Gf, Sdf, UsdGeom, UsdUtils  # noqa: E402
from test_usd import SQUARE, add_mesh, loaded, new_stage  # noqa: E402


def test_hidden_meshes_meet_no_ray(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 2))
    UsdGeom.Xform.Define(stage, "/Group")
    add_mesh(stage, "/Group/Blinking")
    never, guide = add_mesh(stage, "/Never"), add_mesh(stage, "/Guide")
    add_mesh(stage, "/Always")
    shown = UsdGeom.Imageable(stage.GetPrimAtPath("/Group")).CreateVisibilityAttr()
    shown.Set("invisible", 0)
    shown.Set("inherited", 1)
    UsdGeom.Imageable(never).MakeInvisible()
    UsdGeom.Imageable(guide).CreatePurposeAttr("guide")
    scene = loaded(stage)
    assert [thing.name for thing in scene.objects] == ["Group", "Always"]
    assert np.ptp(scene.evaluate(0, 0)[:4], axis=0).max() == 0
    np.testing.assert_allclose(scene.evaluate(1 / 24, 0)[:4], SQUARE)
    np.testing.assert_allclose(scene.evaluate(0, 0)[4:], SQUARE)


def test_instances_share_a_mesh(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    stage.CreateClassPrim("/Master")
    add_mesh(stage, "/Master/Leaf")
    for number in range(3):
        tree = UsdGeom.Xform.Define(stage, f"/Tree{number}")
        tree.GetPrim().GetReferences().AddInternalReference("/Master")
        tree.GetPrim().SetInstanceable(True)
        tree.AddTranslateOp().Set((number * 10, 0, 0))
    scene = loaded(stage)
    assert [thing.name for thing in scene.objects] == ["Tree0", "Tree1", "Tree2"]
    assert {thing.mesh for thing in scene.objects} == {0}
    np.testing.assert_allclose(scene.rest_verts.reshape(3, 4, 3)[:, 0, 0], [0, 10, 20])


def test_point_instancers(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 1))
    instancer = UsdGeom.PointInstancer.Define(stage, "/Field")
    instancer.AddScaleOp().Set((2, 2, 2))
    UsdGeom.Xform.Define(stage, "/Field/Protos").AddTranslateOp().Set((100, 0, 0))
    UsdGeom.Xform.Define(stage, "/Field/Protos/Blade").AddTranslateOp().Set((0, 1, 0))
    add_mesh(stage, "/Field/Protos/Blade/Card")
    UsdGeom.Xformable(stage.GetPrimAtPath("/Field/Protos/Blade/Card")).AddTranslateOp().Set((0, 0, 1))
    add_mesh(stage, "/Field/Protos/Stone")
    instancer.CreatePrototypesRel().SetTargets(["/Field/Protos/Blade", "/Field/Protos/Stone"])
    instancer.CreateProtoIndicesAttr([0, 1, 0])
    positions = instancer.CreatePositionsAttr()
    positions.Set([(0, 0, 0), (1, 0, 0), (2, 0, 0)], 0)
    positions.Set([(0, 0, 0), (1, 0, 0), (2, 8, 0)], 1)
    quarter = Gf.Quath(*map(float, (np.sqrt(0.5), 0, np.sqrt(0.5), 0)))
    instancer.CreateOrientationsAttr([Gf.Quath(1), Gf.Quath(1), quarter])
    instancer.CreateInvisibleIdsAttr([1])
    scene = loaded(stage)
    assert [thing.name for thing in scene.objects] == ["Blade", "Stone", "Blade_2"]
    assert [thing.mesh for thing in scene.objects] == [0, 1, 0]
    first, hidden, turned = scene.evaluate(1 / 24, 0).reshape(3, 4, 3)
    square = np.array(SQUARE, np.float64)
    np.testing.assert_allclose(first, 2 * (square + np.array([0, 1, 1])), atol=1e-5)
    np.testing.assert_allclose(hidden, np.tile([2, 0, 0], (4, 1)), atol=1e-5)
    blade = square + np.array([0, 1, 1])
    about_y = np.stack([blade[:, 2], blade[:, 1], -blade[:, 0]], axis=1)
    expected = 2 * (about_y + np.array([2, 8, 0]))
    np.testing.assert_allclose(turned, expected, atol=5e-3)  # rotations are half floats


def test_cameras_see_what_usd_says_they_see(tmp_path):
    stage = new_stage(tmp_path / "a.usda", metres=0.1, up="Z", codes=(0, 24))
    add_mesh(stage)
    camera = UsdGeom.Camera.Define(stage, "/Rig/Zoom")
    camera.CreateHorizontalApertureAttr(36.0)
    camera.CreateVerticalApertureAttr(24.0)
    focal = camera.CreateFocalLengthAttr()
    focal.Set(35.0, 0)
    focal.Set(85.0, 24)
    camera.AddTranslateOp().Set((1, -8, 2))
    turn = camera.AddRotateXOp()
    turn.Set(80.0, 0)
    turn.Set(95.0, 24)
    camera.CreateHorizontalApertureOffsetAttr(3.0)
    camera.CreateVerticalApertureOffsetAttr(-2.0)
    camera.CreateClippingRangeAttr((0.5, 200))
    flat = UsdGeom.Camera.Define(stage, "/Flat")
    flat.CreateProjectionAttr("orthographic")
    flat.CreateVerticalApertureAttr(40.0)
    flat.CreateHorizontalApertureOffsetAttr(5.0)
    UsdGeom.Camera.Define(stage, "/Blind").CreateFocalLengthAttr(0.0)
    scene = loaded(stage)
    assert scene.camera_names == ("Zoom", "Flat")
    assert scene.warnings == (
        "left out: camera 'Blind' sees 180 degrees; give it a focal length and an aperture above 0",
    )
    assert scene.cameras[0].aspect == pytest.approx(1.5)
    seen = [scene.camera(name, 0.0) for name in ("Zoom", "Flat")]
    np.testing.assert_allclose([(lens.near, lens.far) for lens in seen], [(0.05, 20), (0, np.inf)])
    assert seen[1].shift == pytest.approx((5 * 0.1 * 0.1, 0))
    assert scene.cameras[1].ymag == pytest.approx(40 * 0.1 / 2 * 0.1)
    points = np.array([[0.3, 2.0, 1.7], [1.5, 0.5, 2.4]])
    for time_s in (0.0, 0.4, 1.0):
        frustum = camera.GetCamera(24 * time_s).frustum
        to_clip = np.array(frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix())
        clip = np.c_[points, np.ones(2)] @ to_clip
        expected = (clip[:, :2] / clip[:, 3:] * [1, -1] + 1) / 2 * [360, 240]
        seen, depth = scene.camera("Zoom", time_s, 0).project(
            np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1) * 0.1, 240, 360
        )
        np.testing.assert_allclose(seen, expected, atol=1e-3)
        np.testing.assert_allclose(depth, clip[:, 3] * 0.1, rtol=1e-5)


def test_transforms_that_carry_one_mesh_or_camera_give_it_their_name(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    for path in ("/root", "/root/Crate", "/root/Crate/Lid", "/root/ShotCam", "/root/Pair"):
        UsdGeom.Xform.Define(stage, path)
    stage.SetDefaultPrim(stage.GetPrimAtPath("/root"))
    for path in (
        "/root/Floor",
        "/root/Crate/Cube",
        "/root/Crate/Lid/Cube_001",
        "/root/Pair/A",
        "/root/Pair/B",
    ):
        add_mesh(stage, path)
    UsdGeom.Camera.Define(stage, "/root/ShotCam/Camera")
    scene = loaded(stage)
    assert sorted(thing.name for thing in scene.objects) == ["A", "B", "Crate", "Floor", "Lid"]
    assert scene.camera_names == ("ShotCam",)


def test_one_bad_part_does_not_refuse_the_rest(tmp_path, capfd):
    stage = new_stage(tmp_path / "a.usda")
    add_mesh(stage)
    for number in range(5):
        add_mesh(stage, f"/Broken{number}", indices=(0, 1, 2, 9))
    (tmp_path / "gold.mtlx").write_text("<?xml version='1.0'?><materialx version='1.38'></materialx>")
    (tmp_path / "bad.usda").write_text("#usda 1.0\ndef Mesh (\n")
    for name, asset in (("Looks", "gold.mtlx"), ("Lost", "lost.usda"), ("Bad", "bad.usda")):
        stage.DefinePrim(f"/{name}").GetReferences().AddReference(f"./{asset}", "/A")
    stage.Save()
    capfd.readouterr()
    scene = load_scene(tmp_path / "a.usda")
    assert capfd.readouterr() == ("", "")
    assert [thing.name for thing in scene.objects] == ["Card"]
    bad, looks, lost, broken = scene.warnings
    assert looks.startswith("left out: prim '/Looks' refers to gold.mtlx, whose format is not read")
    assert lost.startswith("left out: prim '/Lost' cannot be composed: there is no lost.usda")
    assert bad.startswith("left out: prim '/Bad' refers to bad.usda, which cannot be read: bad.usda, line 2:")
    assert broken == (
        "left out 5 parts (mesh 'Broken0', mesh 'Broken1', mesh 'Broken2', ...): each has a face with "
        "vertex 9, but only 4 vertices; export it again"
    )


def test_values_of_other_kinds_cost_their_part_alone(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    add_mesh(stage, "/Card")
    broken = add_mesh(stage, "/Broken").GetPrim()
    broken.CreateAttribute("xformOp:translate", Sdf.ValueTypeNames.Double).Set(3.0)
    broken.CreateAttribute("xformOpOrder", Sdf.ValueTypeNames.TokenArray).Set(["xformOp:translate"])
    flat = add_mesh(stage, "/Flat")
    primvar = UsdGeom.PrimvarsAPI(flat).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex
    )
    primvar.Set([(0, 0)] * 4)
    flat.GetPrim().CreateAttribute("primvars:st:indices", Sdf.ValueTypeNames.StringArray).Set(["a"])
    scene = loaded(stage)
    assert [(thing.name, thing.has_uvs) for thing in scene.objects] == [("Card", False), ("Flat", False)]
    (warning,) = scene.warnings
    assert warning.startswith("left out: mesh 'Broken' cannot be evaluated by USD (Invalid combination")


def test_a_mistake_in_the_text_is_told_with_its_line(tmp_path):
    path = tmp_path / "a.usda"
    path.write_text('#usda 1.0\n\ndef Mesh "m" {\n int[] faceVertexIndices = [0,1,2\n}\n')
    with pytest.raises(SceneError, match=r"^a.usda: cannot be read as USD: line 5: .*'}'.*; mend that line"):
        load_scene(path)


def test_packages_and_references(tmp_path):
    part = new_stage(tmp_path / "part.usda")
    add_mesh(part, "/Part/Card")
    part.Save()
    stage = new_stage(tmp_path / "whole.usda")
    stage.DefinePrim("/Here").GetReferences().AddReference("./part.usda", "/Part")
    stage.Save()
    assert UsdUtils.CreateNewUsdzPackage(str(tmp_path / "whole.usda"), str(tmp_path / "whole.usdz"))
    for name in ("whole.usda", "whole.usdz"):
        assert [thing.name for thing in load_scene(tmp_path / name).objects] == ["Card"]


def refused(stage, pattern):
    with pytest.raises(SceneError, match=pattern) as caught:
        loaded(stage)
    assert "\n" not in str(caught.value)


def test_changing_topology_is_refused(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 1))
    faces = add_mesh(stage).GetFaceVertexIndicesAttr()
    faces.Set([0, 1, 2, 3], 0)
    faces.Set([0, 1, 3, 2], 1)
    refused(stage, "'Card' changes its faces over time.*bake it with one topology")
    faces.Set([0, 1, 2, 3], 1)
    assert len(loaded(stage).tris) == 2


def test_a_changing_number_of_points_is_refused(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 1))
    points = add_mesh(stage).GetPointsAttr()
    points.Set(SQUARE, 0)
    points.Set([*SQUARE, (2, 2, 2)], 1)
    scene = loaded(stage)
    with pytest.raises(SceneError, match="has 5 points at time code 1, but 4 at the start"):
        scene.evaluate(1 / 24, 0)


def test_what_cannot_be_read_is_said_in_one_line(tmp_path, capfd):
    stage = new_stage(tmp_path / "lost.usda")
    stage.DefinePrim("/Here").GetReferences().AddReference("./nowhere.usda")
    refused(stage, "cannot be composed.*nowhere.usda")
    stage = new_stage(tmp_path / "ball.usda")
    UsdGeom.NurbsPatch.Define(stage, "/Ball")
    refused(stage, "expected visible meshes, found only.*NurbsPatch.*convert it")
    stage = new_stage(tmp_path / "index.usda")
    add_mesh(stage, indices=(0, 1, 2, 9))
    refused(stage, "a face with vertex 9, but only 4 vertices")
    stage = new_stage(tmp_path / "counts.usda")
    add_mesh(stage, counts=(5,))
    refused(stage, "5 corners in all, but lists 4")
    for metres in (0.0, 1e200):
        stage = new_stage(tmp_path / f"units-{metres:g}.usda", metres=metres)
        add_mesh(stage)
        refused(stage, f"{metres:g} metres per unit, expected 1e-18 to 1e.18".replace("+", "."))
    for suffix in ("usd", "usda", "usdc", "usdz"):
        path = tmp_path / f"garbage.{suffix}"
        path.write_bytes(b"#usda 1.0\n(((")
        capfd.readouterr()
        with pytest.raises(SceneError, match="cannot be read as USD") as caught:
            load_scene(path)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")
