"""USD: what is read agrees with what usd-core itself says of the same files."""

import shutil

import numpy as np
import pytest
from whole_scenes import outside, scene_file

from genrender.scene.load import load_scene
from genrender.scene.rig import trs_from_local

pxr = pytest.importorskip("pxr", reason="usd-core is not installed")
from pxr import Gf, Sdf, Usd, UsdGeom, UsdSkel, Vt  # noqa: E402

SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]


def new_stage(path, metres=1.0, up="Y", codes=None, rate=24.0):
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, metres)
    UsdGeom.SetStageUpAxis(stage, up)
    stage.SetTimeCodesPerSecond(rate)
    if codes is not None:
        stage.SetStartTimeCode(codes[0])
        stage.SetEndTimeCode(codes[1])
    return stage


def add_mesh(stage, path="/Card", points=SQUARE, counts=(4,), indices=(0, 1, 2, 3)):
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(Vt.Vec3fArray(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray(counts))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray(indices))
    return mesh


def loaded(stage):
    stage.Save()
    return load_scene(stage.GetRootLayer().realPath)


def world_points(stage, path, code):
    """Where usd-core puts a mesh's points."""
    mesh = UsdGeom.Mesh.Get(stage, path)
    matrix = np.array(UsdGeom.XformCache(code).GetLocalToWorldTransform(mesh.GetPrim()))
    return np.asarray(mesh.GetPointsAttr().Get(code)) @ matrix[:3, :3] + matrix[3, :3]


@pytest.mark.parametrize("suffix", ["usd", "usda", "usdc"])
def test_units_and_axes_become_metres_with_y_up(tmp_path, suffix):
    stage = new_stage(tmp_path / f"a.{suffix}", metres=0.01, up="Z")
    add_mesh(stage, points=[(0, 0, 0), (100, 0, 0), (0, 0, 200), (0, 300, 0)])
    scene = loaded(stage)
    np.testing.assert_allclose(scene.rest_verts, [[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -3]], atol=1e-6)
    assert (scene.animations, scene.cameras) == ((), ())


def test_polygons_become_fans_that_run_counter_clockwise(tmp_path):
    pentagon = [(np.cos(a), np.sin(a), 0) for a in np.arange(5) / 5 * 2 * np.pi]
    stage = new_stage(tmp_path / "a.usda")
    counts, indices = (5, 3, 2), (0, 1, 2, 3, 4, 0, 1, 2, 3, 4)
    add_mesh(stage, "/Right", pentagon, counts, indices)
    left = add_mesh(stage, "/Left", pentagon, counts, [0, 4, 3, 2, 1, 0, 2, 1, 3, 4])
    left.CreateOrientationAttr(UsdGeom.Tokens.leftHanded)
    left.CreateHoleIndicesAttr([1])
    scene = loaded(stage)
    assert [(thing.name, thing.n_tris) for thing in scene.objects] == [("Right", 4), ("Left", 3)]
    corners = scene.rest_verts[scene.tris].astype(np.float64)
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    assert (facing > 0).all()
    area = 2.5 * np.sin(2 * np.pi / 5)
    assert facing[:3].sum() / 2 == pytest.approx(area)
    assert facing[4:].sum() / 2 == pytest.approx(area)


UVS = {
    "constant": [(0.25, 0.75)],
    "uniform": [(0.1, 0.2), (0.3, 0.4)],
    "vertex": [(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.25)],
    "varying": [(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.25)],
    "faceVarying": [(i / 8, i / 16) for i in range(7)],
}


@pytest.mark.parametrize("is_indexed", [False, True])
@pytest.mark.parametrize("interpolation", UVS)
@pytest.mark.parametrize("name", ["st", "UVMap", "anything"])
def test_texture_coordinates_of_every_interpolation(tmp_path, interpolation, is_indexed, name):
    stage = new_stage(tmp_path / "a.usda")
    indices = [0, 1, 2, 3, 3, 2, 4]
    mesh = add_mesh(stage, points=[*SQUARE, (0.5, 2, 0)], counts=[4, 3], indices=indices)
    primvar = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
        name, Sdf.ValueTypeNames.TexCoord2fArray, getattr(UsdGeom.Tokens, interpolation)
    )
    values = UVS[interpolation]
    primvar.Set(values[::-1] if is_indexed else values)
    if is_indexed:
        primvar.SetIndices(Vt.IntArray(list(reversed(range(len(values))))))
    scene = loaded(stage)
    assert scene.has_uvs.all()
    corners, faces = [[0, 1, 2], [0, 2, 3], [4, 5, 6]], [0, 0, 1]
    rows = {
        "constant": np.zeros((3, 3), int),
        "uniform": np.repeat(np.array(faces)[:, None], 3, axis=1),
        "faceVarying": np.array(corners),
    }.get(interpolation, np.array(indices)[corners])
    expected = np.array(values, np.float32)[rows]
    np.testing.assert_allclose(scene.uvs, np.stack([expected[..., 0], 1 - expected[..., 1]], -1), atol=1e-6)


def test_other_pairs_and_too_few_coordinates_are_no_uvs(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    wind = UsdGeom.PrimvarsAPI(add_mesh(stage, "/A")).CreatePrimvar(
        "wind", Sdf.ValueTypeNames.Float2Array, UsdGeom.Tokens.vertex
    )
    wind.Set([(0, 0)] * 4)
    short = UsdGeom.PrimvarsAPI(add_mesh(stage, "/B")).CreatePrimvar(
        "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
    )
    short.Set([(0, 0)] * 3)
    assert not loaded(stage).has_uvs.any()


def test_time_samples_of_points_and_transforms(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(11, 31), rate=10)
    UsdGeom.Xform.Define(stage, "/Top")
    mesh = add_mesh(stage, "/Top/Card")
    mesh.GetPointsAttr().Set(SQUARE, 11)
    mesh.GetPointsAttr().Set([(x, y, 3) for x, y, _ in SQUARE], 31)
    turn = UsdGeom.Xformable(mesh).AddRotateYOp()
    turn.Set(0.0, 11)
    turn.Set(90.0, 31)
    UsdGeom.Xformable(stage.GetPrimAtPath("/Top")).AddTranslateOp().Set((5, 0, 0))
    scene = loaded(stage)
    assert [animation.duration_s for animation in scene.animations] == [pytest.approx(2)]
    np.testing.assert_allclose(scene.rest_verts, np.array(SQUARE) + np.array([5, 0, 0]))
    for time_s in (-1, 0, 0.35, 1, 2, 9):
        expected = world_points(stage, "/Top/Card", min(max(11 + 10 * time_s, 11), 31))
        np.testing.assert_allclose(scene.evaluate(time_s, 0), expected, atol=1e-5)
    assert np.abs(scene.evaluate(2, 0) - scene.rest_verts).max() > 2


def test_without_a_range_the_samples_are_the_range(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    lift = UsdGeom.Xformable(add_mesh(stage)).AddTranslateOp()
    lift.Set((0, 0, 0), 12)
    lift.Set((0, 4, 0), 36)
    scene = loaded(stage)
    np.testing.assert_allclose(scene.evaluate(0.5, 0)[0], [0, 2, 0], atol=1e-6)
    assert scene.animations[0].duration_s == pytest.approx(24 / 24)


def skinned_stage(path):
    """Two joints, two influences per vertex, a bind transform and a blend shape with an in-between."""
    stage = new_stage(path, codes=(0, 10))
    root = UsdSkel.Root.Define(stage, "/Root")
    UsdGeom.Xformable(root).AddTranslateOp().Set((0, 7, 0))
    joints = ["hip", "hip/knee"]
    bind = [Gf.Matrix4d(1), Gf.Matrix4d().SetTranslate((0, 1, 0))]
    skeleton = UsdSkel.Skeleton.Define(stage, "/Root/Skeleton")
    skeleton.CreateJointsAttr(joints)
    skeleton.CreateBindTransformsAttr(bind)
    skeleton.CreateRestTransformsAttr(bind)
    motion = UsdSkel.Animation.Define(stage, "/Root/Motion")
    motion.CreateJointsAttr(joints)
    motion.CreateTranslationsAttr([(0, 0, 0), (0, 1, 0)])
    motion.CreateScalesAttr([(1, 1, 1), (1, 2, 1)])
    turns = motion.CreateRotationsAttr()
    motion.CreateBlendShapesAttr(["other", "bulge"])
    weights = motion.CreateBlendShapeWeightsAttr()
    for code in range(11):
        half = np.deg2rad(9 * code) / 2
        turns.Set([Gf.Quatf(1), Gf.Quatf(np.cos(half), 0, 0, np.sin(half))], code)
        weights.Set([0.5, code / 10], code)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([motion.GetPath()])

    mesh = add_mesh(stage, "/Root/Body", [(0, 0, 0), (1, 0, 0), (1, 2, 0), (0, 2, 0)])
    UsdGeom.Xformable(mesh).AddTranslateOp().Set((50, 0, 0))  # skinned: plays no part
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateJointsAttr(joints[::-1])
    binding.CreateJointIndicesPrimvar(False, 2).Set([1, 0, 1, 0, 0, 1, 0, 1])
    binding.CreateJointWeightsPrimvar(False, 2).Set([1, 0, 0.75, 0.25, 0.6, 0.4, 1, 0])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d().SetTranslate((0.5, 0, 0)))
    shape = UsdSkel.BlendShape.Define(stage, "/Root/Body/Bulge")
    shape.CreateOffsetsAttr([(0, 0, 4)])
    shape.CreatePointIndicesAttr([2])
    shape.CreateInbetween("half").SetWeight(0.5)
    shape.GetInbetween("half").SetOffsets([(3, 0, 0)])
    binding.CreateBlendShapesAttr(["bulge"])
    binding.CreateBlendShapeTargetsRel().SetTargets([shape.GetPath()])
    return stage


def test_skins_and_blend_shapes_are_as_usd_bakes_them(tmp_path):
    scene = loaded(skinned_stage(tmp_path / "a.usda"))
    shutil.copy(tmp_path / "a.usda", tmp_path / "baked.usda")
    baked = Usd.Stage.Open(str(tmp_path / "baked.usda"))
    assert UsdSkel.BakeSkinning(UsdSkel.Root.Get(baked, "/Root"), Gf.Interval(0, 10))
    for code in range(11):
        expected = world_points(baked, "/Root/Body", code)
        np.testing.assert_allclose(scene.evaluate(code / 24, 0), expected, atol=1e-5)
    assert np.ptp([scene.evaluate(code / 24, 0)[2] for code in range(11)], axis=0).min() > 0.5


def write_skeletal(path, gltf, n_frames):
    """A glTF scene of one skinned mesh as UsdSkel has it: joints side by side, in world space."""
    stage = new_stage(path, codes=(0, n_frames - 1))
    UsdSkel.Root.Define(stage, "/Root")
    (part,) = gltf.motion.parts
    joints = [f"joint_{number}" for number in range(len(part.skin.joints))]
    skeleton = UsdSkel.Skeleton.Define(stage, "/Root/Skeleton")
    skeleton.CreateJointsAttr(joints)
    skeleton.CreateBindTransformsAttr([Gf.Matrix4d(np.linalg.inv(m).T) for m in part.skin.joint_from_mesh])
    skeleton.CreateRestTransformsAttr([Gf.Matrix4d(1)] * len(joints))
    motion = UsdSkel.Animation.Define(stage, "/Root/Motion")
    motion.CreateJointsAttr(joints)
    for frame in range(n_frames):
        world = gltf.motion.pose(frame / 24, 0).world_from_node[part.skin.joints]
        translations, rotations, scales = zip(*(trs_from_local(m) for m in world), strict=True)
        motion.GetTranslationsAttr().Set([Gf.Vec3f(*map(float, t)) for t in translations], frame)
        motion.GetRotationsAttr().Set(
            [Gf.Quatf(*map(float, (w, x, y, z))) for x, y, z, w in rotations], frame
        )
        motion.GetScalesAttr().Set([Gf.Vec3h(*map(float, s)) for s in scales], frame)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([motion.GetPath()])
    block = part.block
    tris = gltf.tris
    mesh = add_mesh(
        stage,
        "/Root/Character",
        Vt.Vec3fArray.FromNumpy(block.positions),
        Vt.IntArray([3] * len(tris)),
        Vt.IntArray.FromNumpy(tris.ravel()),
    )
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    n_influences = block.joints.shape[1]
    binding.CreateJointIndicesPrimvar(False, n_influences).Set(block.joints.ravel().tolist())
    binding.CreateJointWeightsPrimvar(False, n_influences).Set(block.joint_weights.ravel().tolist())
    return stage


@pytest.mark.parametrize("name", ["walking_biped.glb", "trotting_quadruped.glb", outside("Fox.glb")])
def test_a_character_moves_in_usd_as_in_gltf(tmp_path, name):
    gltf = load_scene(scene_file(name, tmp_path))
    scene = loaded(write_skeletal(tmp_path / "character.usdc", gltf, 8))
    size = np.ptp(gltf.rest_verts, axis=0).max()
    for frame in range(8):
        error = np.abs(scene.evaluate(frame / 24, 0) - gltf.evaluate(frame / 24, 0)).max()
        assert error < 1e-3 * size  # scales are half floats in USD
    assert scene.tris.tolist() == gltf.tris.tolist()
