"""USD instances whose number changes, that stand within one another, or that are skinned."""

import numpy as np
import pytest
from test_usd import SQUARE, add_mesh, loaded, new_stage, skinned_stage

from genrender.scene.load import load_scene

pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
from pxr import Gf, Sdf, Usd, UsdGeom, UsdSkel

CARD = np.array(SQUARE, np.float64)


def add_instancer(stage, path, prototypes, positions, indices=None):
    """Positions and indices: lists, or by time code."""
    instancer = UsdGeom.PointInstancer.Define(stage, path)
    instancer.CreatePrototypesRel().SetTargets([Sdf.Path(prototype) for prototype in prototypes])
    indices = indices or {code: [0] * len(at) for code, at in positions.items()}
    for attribute, samples in (
        (instancer.CreatePositionsAttr(), positions),
        (instancer.CreateProtoIndicesAttr(), indices),
    ):
        for code, values in samples.items():
            attribute.Set(values, Usd.TimeCode.Default() if code is None else code)
    return instancer


def cards(scene, code, first=0):
    """Places of the cards that are seen at a time code, by the scene's object."""
    verts = scene.evaluate((code - first) / 24, 0) if scene.animations else scene.rest_verts
    places = {}
    for number, thing in enumerate(scene.objects):
        corners = verts[scene.tris[scene.object_id == number + 1]]
        if np.ptp(corners.reshape(-1, 3), axis=0).max() > 0:
            places[thing.name] = tuple(corners.reshape(-1, 3).min(axis=0).round(4).tolist())
    return places


def test_instances_come_and_go(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(1, 5))
    positions = {1: [], 2: [(3, 0, 0), (6, 0, 0)], 4: [(3, 1, 0), (6, 0, 0), (9, 0, 0)], 5: [(4, 0, 0)]}
    add_instancer(stage, "/Drops", ["/Drops/Card"], positions)
    add_mesh(stage, "/Drops/Card")
    scene = loaded(stage)
    assert [cards(scene, code, 1) for code in range(1, 6)] == [
        {},
        {"Card": (3, 0, 0), "Card_2": (6, 0, 0)},
        {"Card": (3, 0, 0), "Card_2": (6, 0, 0)},
        {"Card": (3, 1, 0), "Card_2": (6, 0, 0), "Card_3": (9, 0, 0)},
        {"Card": (4, 0, 0)},
    ]
    # What is not there yet waits where it will be: cameras that hold the clip look nowhere else.
    assert scene.rest_verts[:, 0].min() == 3


def test_ids_say_which_instance_is_which(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 1))
    positions = {0: [(0, 0, 0), (5, 0, 0)], 1: [(5, 1, 0), (9, 0, 0)]}
    instancer = add_instancer(stage, "/Drops", ["/Drops/Card"], positions)
    add_mesh(stage, "/Drops/Card")
    ids = instancer.CreateIdsAttr()
    ids.Set([7, 8], 0)
    ids.Set([8, 9], 1)
    scene = loaded(stage)
    assert cards(scene, 0) == {"Card": (0, 0, 0), "Card_2": (5, 0, 0)}
    assert cards(scene, 1) == {"Card_2": (5, 1, 0), "Card_3": (9, 0, 0)}
    instancer.CreateInvisibleIdsAttr([8])
    assert cards(loaded(stage), 1) == {"Card_3": (9, 0, 0)}


def test_another_prototype_is_another_surface(tmp_path):
    stage = new_stage(tmp_path / "a.usda", codes=(0, 1))
    positions = {None: [(0, 0, 0)]}
    add_instancer(stage, "/Drops", ["/Drops/Card", "/Drops/Leaf"], positions, {0: [0], 1: [1]})
    add_mesh(stage, "/Drops/Card")
    add_mesh(stage, "/Drops/Leaf")
    scene = loaded(stage)
    assert (list(cards(scene, 0)), list(cards(scene, 1))) == (["Card"], ["Leaf"])


def test_instancers_within_instancers(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    add_instancer(stage, "/Rows", ["/Rows/Row"], {None: [(0, 0, 0), (0, 10, 0)]})
    UsdGeom.Xform.Define(stage, "/Rows/Row").AddScaleOp().Set((2, 2, 2))
    row = add_instancer(stage, "/Rows/Row/Cells", ["/Rows/Row/Cells/Card"], {None: [(1, 0, 0), (3, 0, 0)]})
    row.AddTranslateOp().Set((0, 0, 5))
    add_mesh(stage, "/Rows/Row/Cells/Card")
    scene = loaded(stage)
    assert sorted(cards(scene, 0).values()) == [(2, 0, 10), (2, 10, 10), (6, 0, 10), (6, 10, 10)]
    row.GetPrototypesRel().SetTargets(["/Rows"])
    add_mesh(stage, "/Ground")
    scene = loaded(stage)
    assert [thing.name for thing in scene.objects] == ["Ground"]
    assert "instance of itself" in scene.warnings[0]


def test_what_stands_above_a_prototype_hides_nothing(tmp_path):
    stage = new_stage(tmp_path / "a.usda")
    store = UsdGeom.Scope.Define(stage, "/Store")
    store.MakeInvisible()
    store.CreatePurposeAttr("guide")
    add_mesh(stage, "/Store/Card")
    instancer = add_instancer(stage, "/Drops", ["/Store/Card"], {None: [(3, 0, 0)]})
    assert cards(loaded(stage), 0) == {"Card": (3, 0, 0)}
    add_mesh(stage, "/Ground")
    instancer.MakeInvisible()
    assert cards(loaded(stage), 0) == {"Ground": (0, 0, 0)}
    instancer.MakeVisible()
    instancer.CreatePurposeAttr("proxy")
    assert cards(loaded(stage), 0) == {"Ground": (0, 0, 0)}


@pytest.mark.parametrize(
    ("indices", "positions", "reason"),
    [
        ([0], [(0, 0, 0)], "shows prototype 0, but has 0"),
        ([], [], "has no instances"),
        ([0, 0], [(0, 0, 0)], "has 2 instances at time code 0, but positions"),
        ([3], [(0, 0, 0)], "shows prototype 3"),
    ],
)
def test_a_bad_instancer_is_left_out_with_a_word(tmp_path, indices, positions, reason):
    stage = new_stage(tmp_path / "a.usda")
    add_mesh(stage, "/Ground")
    prototypes = [] if reason.endswith("has 0") else ["/Bad/Card"]
    add_instancer(stage, "/Bad", prototypes, {None: positions}, {None: indices})
    add_mesh(stage, "/Bad/Card")
    scene = loaded(stage)
    assert [thing.name for thing in scene.objects] == ["Ground"]
    (warning,) = scene.warnings
    assert warning.startswith(f"left out: PointInstancer '/Bad' {reason}")


def as_usd_bakes(tmp_path, code):
    """The skinned body of `skinned_stage`, as UsdSkel itself bakes it."""
    baked = skinned_stage(tmp_path / f"baked{code}.usda")
    assert UsdSkel.BakeSkinning(UsdSkel.Root.Get(baked, "/Root"), Gf.Interval(0, 10))
    mesh = UsdGeom.Mesh.Get(baked, "/Root/Body")
    matrix = np.array(UsdGeom.XformCache(code).GetLocalToWorldTransform(mesh.GetPrim()))
    return np.asarray(mesh.GetPointsAttr().Get(code)) @ matrix[:3, :3] + matrix[3, :3]


@pytest.mark.parametrize("specifier", ["Def", "Over"])
def test_skinned_prototypes(tmp_path, specifier):
    skinned_stage(tmp_path / "figure.usda").Save()
    stage = new_stage(tmp_path / "a.usda", codes=(0, 10))
    layer = stage.GetRootLayer()
    store = Sdf.CreatePrimInLayer(layer, "/Store")
    store.specifier = getattr(Sdf, f"Specifier{specifier}")
    figure = Sdf.CreatePrimInLayer(layer, "/Store/Figure")
    figure.specifier = Sdf.SpecifierDef
    figure.referenceList.Prepend(Sdf.Reference("./figure.usda", "/Root"))
    add_instancer(stage, "/Crowd", ["/Store/Figure"], {None: [(0, 0, 0), (40, 0, 3)]})
    scene = loaded(stage)
    n_own = 4 if specifier == "Def" else 0  # what is defined is shown where it stands, too
    for code in (0, 4, 10):
        expected = as_usd_bakes(tmp_path, code)
        verts = scene.evaluate(code / 24, 0)[n_own:]
        np.testing.assert_allclose(verts[:4], expected, atol=1e-5)
        np.testing.assert_allclose(verts[4:], expected + np.array([40, 0, 3]), atol=1e-5)


def test_skinned_instances_stand_where_they_are_put(tmp_path):
    skinned_stage(tmp_path / "figure.usda").Save()
    stage = new_stage(tmp_path / "a.usda", codes=(0, 10))
    for number in range(2):
        place = UsdGeom.Xform.Define(stage, f"/Place{number}")
        place.AddTranslateOp().Set((100 * number, 0, 0))
        holder = stage.DefinePrim(f"/Place{number}/Figure")
        holder.GetReferences().AddReference("./holder.usda", "/Holder")
        holder.SetInstanceable(True)
    holder = new_stage(tmp_path / "holder.usda")
    UsdGeom.Xform.Define(holder, "/Holder").AddTranslateOp().Set((0, 0, 3))
    holder.DefinePrim("/Holder/Figure").GetReferences().AddReference("./figure.usda", "/Root")
    holder.Save()
    stage.Save()
    scene = load_scene(tmp_path / "a.usda")
    assert len({thing.mesh for thing in scene.objects}) == 1
    for code in (0, 7):
        expected = as_usd_bakes(tmp_path, code)
        verts = scene.evaluate(code / 24, 0)
        np.testing.assert_allclose(verts[:4], expected + np.array([0, 0, 3]), atol=1e-5)
        np.testing.assert_allclose(verts[4:], expected + np.array([100, 0, 3]), atol=1e-5)


def test_instances_of_one_figure_with_motions_of_their_own(tmp_path):
    figure = skinned_stage(tmp_path / "figure.usda")
    UsdSkel.BindingAPI(figure.GetPrimAtPath("/Root/Skeleton")).GetAnimationSourceRel().ClearTargets(True)
    figure.Save()
    stage = new_stage(tmp_path / "a.usda", codes=(0, 10))
    for number, degrees in enumerate((0, 90)):
        motion = UsdSkel.Animation.Define(stage, f"/Motion{number}")
        motion.CreateJointsAttr(["hip", "hip/knee"])
        motion.CreateTranslationsAttr([(0, 0, 0), (0, 1, 0)])
        motion.CreateScalesAttr([(1, 1, 1), (1, 1, 1)])
        half = np.deg2rad(degrees) / 2
        turn = Gf.Quatf(float(np.cos(half)), 0, 0, float(np.sin(half)))
        motion.CreateRotationsAttr([turn, Gf.Quatf(1)])
        root = UsdSkel.Root.Define(stage, f"/Figure{number}")
        root.GetPrim().GetReferences().AddReference("./figure.usda", "/Root")
        root.GetPrim().SetInstanceable(True)
        UsdSkel.BindingAPI.Apply(root.GetPrim()).CreateAnimationSourceRel().SetTargets([motion.GetPath()])
    first, second = loaded(stage).rest_verts.reshape(2, 4, 3)
    about_z = np.stack([-(first[:, 1] - 7), first[:, 0] + 7, first[:, 2]], axis=1)
    np.testing.assert_allclose(second, about_z, atol=1e-5)
    assert np.abs(first - second).max() > 1
