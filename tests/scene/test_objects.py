"""Objects by node, material and mesh: the same surface, divided as the files say and as patterns ask."""

import json
import struct
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder
from whole_scenes import outside, scene_file

from genrender.errors import SceneError
from genrender.scene.load import load_scene
from genrender.scene.objects import NO_MATERIAL, ObjectRule, with_objects
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.clip import ShotConfig, plan_shot, render_clip
from genrender.shots.objects import atlas_ids_by_name
from genrender.surface.texels import texel_ids

UVS = [[0, 1], [1, 1], [0, 0], [1, 0]]
BY_MATERIAL, BY_MESH = ObjectRule("material"), ObjectRule("mesh")


def cards(path, names=("left", "right", "floor"), has_uvs=True):
    """`left` and `right` show one card, half of it of paper and half of wood; `floor` has no material."""
    builder = GltfBuilder()
    builder.doc["materials"] = [{"name": "wood"}, {"name": "paper"}]
    attributes = {"TEXCOORD_0": builder.accessor(UVS)} if has_uvs else {}
    card = builder.mesh(SQUARE, [0, 1, 2], name="card", attributes=attributes)
    (half,) = builder.doc["meshes"][card]["primitives"]
    builder.doc["meshes"][card]["primitives"] = [
        {**half, "material": 1},
        {**half, "indices": builder.accessor([2, 1, 3], "u2"), "material": 0},
    ]
    floor = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], attributes={"TEXCOORD_0": builder.accessor(UVS)})
    places = {"left": (card, [0, 0, 0]), "right": (card, [1.5, 0, 0]), "floor": (floor, [0.5, -4, 0])}
    for name in names:
        mesh, place = places[name]
        builder.node(mesh=mesh, name=name, translation=place)
    return load_scene(builder.save(path))


@pytest.fixture
def scene(tmp_path):
    return cards(tmp_path / "cards.glb")


@pytest.fixture(params=["cart.glb", outside("CesiumMilkTruck.glb")])
def truck(request, tmp_path):
    return load_scene(scene_file(request.param, tmp_path))


def sizes(scene):
    return {thing.name: thing.n_tris for thing in scene.objects}


def triangles(scene, name=None):
    """Corners and coordinates of every triangle, in no order."""
    chosen = np.ones(len(scene.tris), bool) if name is None else scene.object_id == named(scene, name)
    rows = np.concatenate([scene.rest_verts[scene.tris[chosen]], scene.uvs[chosen]], axis=-1)
    return Counter(row.tobytes() for row in rows)


def named(scene, name):
    (object_id,) = scene.find_objects(name)
    return object_id


def sizes_by_material(path):
    """Triangles of every material, from the file's JSON alone, and of each mesh as often as nodes show it."""
    data = path.read_bytes()
    doc = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    sizes = Counter()
    for node in doc["nodes"]:
        for primitive in doc["meshes"][node["mesh"]]["primitives"] if "mesh" in node else ():
            name = doc["materials"][primitive["material"]]["name"]
            sizes[name] += doc["accessors"][primitive["indices"]]["count"] // 3
    return sizes


@pytest.mark.parametrize(
    "name", ["cart.glb", "automaton.glb", outside("CesiumMilkTruck.glb"), outside("RobotExpressive.glb")]
)
def test_materials_of_a_gltf_file_are_objects(tmp_path, name):
    path = scene_file(name, tmp_path)
    loaded = load_scene(path)
    divided = sizes(with_objects(loaded, BY_MATERIAL))
    expected = sizes_by_material(path)
    assert divided.keys() == expected.keys()
    missing = {material: expected[material] - n for material, n in divided.items()}
    assert min(missing.values()) >= 0
    assert sum(missing.values()) == loaded.n_dropped
    assert triangles(with_objects(loaded, BY_MATERIAL)) == triangles(loaded)


def test_instances_of_a_mesh_are_one_object(truck):
    node, mesh = sizes(truck), sizes(with_objects(truck, BY_MESH))
    body = truck.objects[0].name
    assert mesh == {body: node[body], "Wheels": 2 * node["Wheels"]}


def test_a_node_a_material_and_a_mesh(scene):
    assert sizes(with_objects(scene, ObjectRule())) == {"left": 2, "right": 2, "floor": 2}
    assert sizes(with_objects(scene, BY_MATERIAL)) == {"wood": 2, "paper": 2, NO_MATERIAL: 2}
    assert sizes(with_objects(scene, BY_MESH)) == {"card": 4, "floor": 2}
    paper = scene.tris[[0, 2]]
    shown = with_objects(scene, BY_MATERIAL)
    np.testing.assert_array_equal(shown.tris[shown.object_id == named(shown, "paper")], paper)


@pytest.mark.parametrize(
    ("head", "nodes"), [("o", {"Box": 3, "Lid": 1}), ("g", {"Box": 3, "Lid": 1}), ("#", {"things": 4})]
)
def test_materials_of_an_obj_file_reach_across_its_objects(tmp_path, head, nodes):
    verts = "".join(f"v {x} {y} 0\n" for y in range(2) for x in range(4))
    (tmp_path / "things.obj").write_text(
        f"{verts}{head} Box\nf 1 2 5\nusemtl red paint\nf 2 6 5\n{head} Lid\nf 2 3 6\n"
        f"{head} Box\nusemtl blue\nf 3 7 6\n"
    )
    scene = load_scene(tmp_path / "things.obj")
    assert sizes(scene) == nodes
    by_material = with_objects(scene, BY_MATERIAL)
    assert sizes(by_material) == {"red paint": 2, "blue": 1, NO_MATERIAL: 1}
    assert triangles(by_material) == triangles(scene)
    blue = scene.rest_verts[by_material.tris[by_material.object_id == named(by_material, "blue")]]
    np.testing.assert_array_equal(blue, [[[2, 0, 0], [2, 1, 0], [1, 1, 0]]])


def test_usd_binds_materials_as_usd_core_says(tmp_path):
    pxr = pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Sdf, Usd, UsdGeom, UsdShade, Vt

    assert pxr is not None
    stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
    materials = {name: UsdShade.Material.Define(stage, f"/Looks/{name}") for name in ("Red", "Blue", "Gold")}
    UsdGeom.Xform.Define(stage, "/Group")
    UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath("/Group")).Bind(materials["Gold"])
    for path in ("/Group/Inherits", "/Group/Own", "/Bare"):
        mesh = UsdGeom.Mesh.Define(stage, path)
        mesh.CreatePointsAttr(Vt.Vec3fArray([(x, y, 0) for y in (0, 1) for x in range(3)]))
        mesh.CreateFaceVertexCountsAttr(Vt.IntArray([4, 4]))
        mesh.CreateFaceVertexIndicesAttr(Vt.IntArray([0, 1, 4, 3, 1, 2, 5, 4]))
    own = UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath("/Group/Own"))
    own.Bind(materials["Red"])
    subset = own.CreateMaterialBindSubset("right", Vt.IntArray([1]))
    UsdShade.MaterialBindingAPI.Apply(subset.GetPrim()).Bind(materials["Blue"])
    for index in range(2):
        prim = stage.DefinePrim(f"/Instance{index}", "Xform")
        prim.GetReferences().AddInternalReference(Sdf.Path("/Group"))
        prim.SetInstanceable(True)
    stage.Save()

    expected = Counter()
    for prim in Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies()):
        if prim.IsA(UsdGeom.Mesh):
            n_left = 4
            for part in UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets():
                bound, _ = UsdShade.MaterialBindingAPI(part.GetPrim()).ComputeBoundMaterial()
                expected[bound.GetPrim().GetName()] += 2
                n_left -= 2
            bound, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
            expected[bound.GetPrim().GetName() if bound else NO_MATERIAL] += n_left
    assert expected == {"Gold": 12, "Red": 6, "Blue": 6, NO_MATERIAL: 4}
    scene = load_scene(tmp_path / "a.usda")
    assert sizes(with_objects(scene, BY_MATERIAL)) == expected
    # The instances show two meshes, each twice.
    assert sorted(sizes(with_objects(scene, BY_MESH)).values()) == [4, 4, 4, 8, 8]


@pytest.mark.parametrize(
    "rule",
    [BY_MATERIAL, BY_MESH, ObjectRule(merge=(("*", "all"),)), ObjectRule("material", (("w*", "paper"),))],
)
@pytest.mark.parametrize("name", ["cards", "cart.glb", outside("CesiumMilkTruck.glb")])
def test_the_picture_stays_and_only_objects_change(scene, tmp_path, name, rule):
    scene = scene if name == "cards" else load_scene(scene_file(name, tmp_path))
    if name != "cards" and rule.merge and rule.by == "material":
        rule = ObjectRule("material", (("w*", "glass"),))
    config = ShotConfig(size=(96, 64), times_s=(0.3,), camera="orbit", uv="keep")
    (before,) = render_clip(scene, config).gbuffers
    (after,) = render_clip(scene, replace(config, objects=rule)).gbuffers
    np.testing.assert_array_equal(after.depth, before.depth)
    shown = with_objects(scene, rule)
    has_uvs = before.visible & scene.has_uvs[before.tri_id]
    np.testing.assert_array_equal(after.uv[has_uvs], before.uv[has_uvs])
    np.testing.assert_array_equal(shown.tris[after.tri_id], scene.tris[before.tri_id])
    np.testing.assert_array_equal(
        after.object_id[after.visible], shown.object_id[after.tri_id][after.visible]
    )
    assert after.object_id.max() <= len(shown.objects)


def test_what_matches_becomes_one_object_and_keeps_its_place(scene):
    rule = ObjectRule(merge=(("RIGHT", "floor"), ("*", "rest")))
    shown = with_objects(scene, rule)
    assert sizes(shown) == {"rest": 4, "floor": 2}  # the first pattern counts; the last takes what is left
    assert [thing.name for thing in with_objects(scene, ObjectRule(merge=(("right", "floor"),))).objects] == [
        "left",
        "floor",
    ]
    floor = with_objects(scene, ObjectRule(merge=(("right", "floor"),)))
    assert triangles(floor, "floor") == triangles(scene, "floor") + triangles(scene, "right")
    assert floor.find_objects("floor") == [2]


def test_names_do_not_depend_on_what_is_left_out(tmp_path):
    builder = GltfBuilder()
    for shift in range(3):
        builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2], name="m"), name="leaf", translation=[shift, 0, 0])
    scene = load_scene(builder.save(tmp_path / "leaves.glb"))
    for by, names in (("node", ["leaf", "leaf_2", "leaf_3"]), ("mesh", ["m", "m_2", "m_3"])):
        assert list(sizes(with_objects(scene, ObjectRule(by)))) == names
        kept = with_objects(scene, ObjectRule(by, ignore=(names[1],)))
        assert list(sizes(kept)) == [names[0], names[2]]
        assert triangles(kept, names[2]) == triangles(with_objects(scene, ObjectRule(by)), names[2])


def test_materials_of_one_name_are_one_object(tmp_path):
    builder = GltfBuilder()
    builder.doc["materials"] = [{"name": "red"}, {}, {"name": "red"}]
    for index in range(3):
        mesh = builder.mesh(SQUARE, [0, 1, 2])
        builder.doc["meshes"][mesh]["primitives"][0]["material"] = index
        builder.node(mesh=mesh, name=f"n{index}")
    scene = load_scene(builder.save(tmp_path / "red.glb"))
    assert sizes(with_objects(scene, BY_MATERIAL)) == {"red": 2, "material_1": 1}


@pytest.mark.parametrize("camera", [None, "orbit", "dolly"])
@pytest.mark.parametrize("backdrop", ["none", "both"])
def test_what_is_left_out_is_as_if_it_had_never_been(scene, tmp_path, camera, backdrop):
    alone = cards(tmp_path / "alone.glb", ("left", "right"))
    config = ShotConfig(size=(64, 48), n_frames=3, camera=camera, backdrop=backdrop)
    expected = render_clip(alone, config)
    clip = render_clip(scene, replace(config, objects=ObjectRule(ignore=("FLO*",))))
    for frame in range(3):
        np.testing.assert_array_equal(
            clip.geometry.cameras[frame].world_from_camera, expected.geometry.cameras[frame].world_from_camera
        )
        for name in ("object_id", "depth", "uv", "atlas_id"):
            ours, theirs = (getattr(c.gbuffers[frame], name) for c in (clip, expected))
            np.testing.assert_array_equal(ours, theirs)
    whole = plan_shot(scene, config)
    assert (whole.cameras[0].world_from_camera != clip.geometry.cameras[0].world_from_camera).any()


def test_a_material_is_left_out(scene):
    shown = with_objects(scene, ObjectRule("material", ignore=("paper", NO_MATERIAL)))
    assert sizes(shown) == {"wood": 2}
    np.testing.assert_array_equal(shown.tris, scene.tris[[1, 3]])


def texels_by_origin(scene, clip, rule):
    """The texels that pixels show, by the object that their triangles belonged to."""
    shown = with_objects(scene, rule)
    origin = {tri.tobytes(): object_id for tri, object_id in zip(scene.tris, scene.object_id, strict=True)}
    of_tri = np.array([origin[tri.tobytes()] for tri in shown.tris])
    texels = {object_id: set() for object_id in scene.object_id.tolist()}
    for gbuffer in clip.gbuffers:
        ids = texel_ids(gbuffer, 64)
        of_pixel = of_tri[gbuffer.tri_id]
        for object_id, found in texels.items():
            found.update(ids[gbuffer.visible & (of_pixel == object_id)].tolist())
    return texels


@pytest.mark.parametrize("mode", ["keep", "unwrap"])
def test_what_is_joined_shares_no_texel(scene, mode):
    """All three have the same coordinates, or the same charts."""
    rule = ObjectRule(merge=(("*", "all"),))
    clip = render_clip(scene, ShotConfig(size=(96, 96), n_frames=2, camera="orbit", uv=mode, objects=rule))
    texels = texels_by_origin(scene, clip, rule)
    assert {len(found) > 50 for found in texels.values()} == {True}
    assert len(set.union(*texels.values())) == sum(len(found) for found in texels.values())
    assert {np.unique(gbuffer.object_id[gbuffer.visible]).item() for gbuffer in clip.gbuffers} == {1}


def test_the_wheels_of_a_truck_keep_their_texels_apart(truck):
    apart = unwrap(truck).scene
    joined = unwrap(with_objects(truck, ObjectRule(merge=(("wheels*", "Wheels"),)))).scene
    wheels = joined.object_id == named(joined, "Wheels")
    expected = atlas_ids_by_name(apart)
    n_textures = len(expected["Wheels"]) + len(expected["Wheels_2"])
    assert len(atlas_ids_by_name(joined)["Wheels"]) == n_textures
    assert set(joined.atlas_id[wheels].tolist()).isdisjoint(joined.atlas_id[~wheels].tolist())
    np.testing.assert_array_equal(np.sort(joined.uvs, axis=None), np.sort(apart.uvs, axis=None))


def test_each_part_of_an_object_keeps_its_coordinates_or_gets_charts(tmp_path):
    scene = cards(tmp_path / "half.glb", has_uvs=False)
    shown = with_objects(scene, ObjectRule(merge=(("*", "all"),)))
    assert not shown.objects[0].has_uvs
    unwrapped = unwrap(shown)
    assert unwrapped.made == {0: "has none", 1: "has none"}
    left, right, floor = np.split(unwrapped.scene.uvs, 3)
    np.testing.assert_array_equal(floor, scene.uvs[4:])
    np.testing.assert_array_equal(left, right)  # they show one mesh
    assert unwrapped.scene.objects[0].has_uvs
    # By material, each piece of the mesh has charts of its own, which instances share.
    by_material = unwrap(with_objects(scene, BY_MATERIAL)).scene
    assert len(by_material.parts) == 5
    np.testing.assert_array_equal(by_material.uvs[0], by_material.uvs[1])
    np.testing.assert_array_equal(by_material.uvs[2], by_material.uvs[3])
    assert len(np.unique(by_material.atlas_id)) == 5


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (ObjectRule(ignore=("lefty",)), "no object is called 'lefty'; it has: left, right, floor"),
        (ObjectRule(merge=(("w?", "W"),)), "no object is called 'w?'; it has: left, right, floor"),
        (
            ObjectRule("material", ignore=("left",)),
            "no object is called 'left'; it has: wood, paper, no material",
        ),
        (ObjectRule(ignore=("*",)), "all 3 objects are ignored"),
    ],
)
def test_a_pattern_that_does_not_fit_is_told_with_what_there_is(scene, rule, said):
    with pytest.raises(SceneError) as error:
        with_objects(scene, rule)
    assert str(error.value).startswith("cards.glb: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_materials_is_told(tmp_path):
    (tmp_path / "plain.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    scene = load_scene(tmp_path / "plain.obj")
    with pytest.raises(SceneError, match=r"plain.obj: tells no materials .*--objects node or mesh"):
        with_objects(scene, BY_MATERIAL)
