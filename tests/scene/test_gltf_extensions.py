"""glTF extensions that change what is seen, each in a file of a triangle or two."""

# ruff: noqa: RUF005 - an array plus an offset is no concatenation of lists

import numpy as np
import pytest
from gltf_builder import SQUARE, TRIANGLE, GltfBuilder, one_triangle
from test_rig import QUARTER_TURN, skinned_strip

from genrender.errors import SceneError
from genrender.scene.formats.gltf.rewrite import write_with_uvs
from genrender.scene.load import load_scene
from genrender.scene.uv.unwrap import unwrap

UV_SQUARE = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])


def instanced(builder, node, **attributes):
    """Gives a node instances."""
    read = {name: builder.accessor(values) for name, values in attributes.items()}
    extensions = builder.doc["nodes"][node].setdefault("extensions", {})
    extensions["EXT_mesh_gpu_instancing"] = {"attributes": read}
    builder.doc.setdefault("extensionsUsed", []).append("EXT_mesh_gpu_instancing")
    return builder


def pointing(builder, pointer, times, values, interpolation="LINEAR", **fields):
    """Adds an animation of one channel with a JSON pointer."""
    builder.animate("point", [(0, "pointer", times, values, interpolation)], **fields)
    target = builder.doc["animations"][-1]["channels"][0]["target"]
    del target["node"]
    target["extensions"] = {"KHR_animation_pointer": {"pointer": pointer}}
    builder.doc["extensionsUsed"] = ["KHR_animation_pointer"]
    return builder


def loaded(builder, tmp_path):
    return load_scene(builder.save(tmp_path / "a.glb"))


# EXT_mesh_gpu_instancing


def test_every_instance_is_an_object_where_its_transform_puts_it(tmp_path):
    builder = one_triangle(name="leaf", translation=[10, 0, 0], scale=[2, 2, 2])
    instanced(
        builder,
        0,
        TRANSLATION=[[0, 0, 0], [1, 0, 0], [0, 3, 0]],
        ROTATION=[[0, 0, 0, 1], [0, 0, 0, 1], QUARTER_TURN],
        SCALE=[[1, 1, 1], [1, 1, 1], [-1, 2, 1]],
    )
    scene = loaded(builder, tmp_path)
    assert [(o.name, o.n_tris) for o in scene.objects] == [("leaf", 1), ("leaf_2", 1), ("leaf_3", 1)]
    assert len({o.mesh for o in scene.objects}) == 1
    expected = [
        [[10, 0, 0], [12, 0, 0], [10, 2, 0]],
        [[12, 0, 0], [14, 0, 0], [12, 2, 0]],
        # Scaled by (-1, 2), turned a quarter, moved up by 3, and that doubled and moved by the node.
        [[10, 6, 0], [10, 4, 0], [6, 6, 0]],
    ]
    np.testing.assert_allclose(scene.rest_verts.reshape(3, 3, 3), expected, atol=1e-5)
    assert scene.warnings == ()


def test_instances_with_some_attributes_and_quantised_rotations(tmp_path):
    builder = one_triangle()
    instanced(builder, 0)
    turn = builder.accessor(np.round(np.array([QUARTER_TURN, [0, 0, 0, 1]]) * 32767), "i2", normalized=True)
    builder.doc["nodes"][0]["extensions"]["EXT_mesh_gpu_instancing"]["attributes"] = {
        "ROTATION": turn,
        "_ID": 0,
    }
    verts = loaded(builder, tmp_path).rest_verts.reshape(2, 3, 3)
    np.testing.assert_allclose(verts[0], [[0, 0, 0], [0, 1, 0], [-1, 0, 0]], atol=1e-4)
    np.testing.assert_allclose(verts[1], TRIANGLE, atol=1e-4)


def test_instances_move_with_their_node(tmp_path):
    builder = instanced(one_triangle(), 0, TRANSLATION=[[0, 0, 0], [0, 5, 0]])
    builder.animate("move", [(0, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], "LINEAR")])
    verts = loaded(builder, tmp_path).evaluate(0.5, 0).reshape(2, 3, 3)
    np.testing.assert_allclose(verts, [TRIANGLE + np.array([2, 0, 0]), TRIANGLE + np.array([2, 5, 0])])


def test_no_attributes_no_instances_and_no_mesh(tmp_path):
    scene = loaded(instanced(one_triangle(), 0), tmp_path)
    assert len(scene.objects) == 1
    builder = one_triangle()
    instanced(builder, builder.node(), TRANSLATION=[[0, 0, 0]])
    assert len(loaded(builder, tmp_path).objects) == 1


def test_instances_that_differ_in_number_or_are_endless(tmp_path):
    builder = instanced(one_triangle(), 0, TRANSLATION=[[0, 0, 0]] * 2, SCALE=[[1, 1, 1]] * 3)
    with pytest.raises(
        SceneError, match=r"node 0 has instances that differ in number \(2 TRANSLATION, 3 SCALE"
    ):
        loaded(builder, tmp_path)
    builder = instanced(one_triangle(), 0, TRANSLATION=[[0, np.nan, 0]])
    with pytest.raises(SceneError, match="no finite numbers"):
        loaded(builder, tmp_path)
    builder = instanced(one_triangle(), 0, TRANSLATION=[[0, 0, 0]])
    del builder.doc["accessors"][-1]["bufferView"]
    builder.doc["accessors"][-1]["count"] = 2**31
    with pytest.raises(SceneError, match="elements without any data"):
        loaded(builder, tmp_path)


def test_instances_of_a_skinned_figure(tmp_path):
    builder = skinned_strip(mesh_node={"rotation": QUARTER_TURN})
    instanced(builder, 0, TRANSLATION=[[0, 0, 0], [1, 0, 0]])
    builder.animate("bend", [(2, "rotation", [0, 1], [[0, 0, 0, 1], QUARTER_TURN], "LINEAR")])
    scene = loaded(builder, tmp_path)
    bent = loaded(skinned_strip_bent(), tmp_path).evaluate(1.0, 0)
    verts = scene.evaluate(1.0, 0).reshape(2, -1, 3)
    np.testing.assert_allclose(verts[0], bent, atol=1e-6)
    # The node's own +X is the world's +Y.
    np.testing.assert_allclose(verts[1], bent + [0, 1, 0], atol=1e-6)


def skinned_strip_bent():
    builder = skinned_strip()
    builder.animate("bend", [(2, "rotation", [0, 1], [[0, 0, 0, 1], QUARTER_TURN], "LINEAR")])
    return builder


# KHR_node_visibility


def hidden(builder, node, visible=False):
    builder.doc["nodes"][node].setdefault("extensions", {})["KHR_node_visibility"] = {"visible": visible}
    return builder


def test_hidden_nodes_and_all_below_them_are_left_out(tmp_path):
    builder = GltfBuilder()
    mesh = builder.mesh(TRIANGLE)
    child = builder.node(is_root=False, mesh=mesh, name="child of hidden")
    hidden(builder, child, visible=True)
    hidden(builder, builder.node(children=[child], mesh=mesh, name="hidden"))
    builder.node(mesh=mesh, name="shown")
    hidden(builder, builder.node(mesh=mesh, name="shown too"), visible=True)
    assert [o.name for o in loaded(builder, tmp_path).objects] == ["shown", "shown too"]


def test_a_camera_below_a_hidden_node_still_sees(tmp_path):
    builder = one_triangle()
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    hidden(builder, builder.node(camera=0, name="Eye"))
    assert loaded(builder, tmp_path).camera_names == ("Eye",)


def test_all_hidden(tmp_path):
    with pytest.raises(SceneError, match="no triangles in its scene"):
        loaded(hidden(one_triangle(), 0), tmp_path)


def test_visibility_that_an_animation_changes(tmp_path):
    builder = GltfBuilder()
    mesh = builder.mesh(TRIANGLE)
    child = builder.node(is_root=False, mesh=mesh, translation=[0, 0, 7])
    hidden(builder, builder.node(children=[child]))
    builder.node(mesh=mesh)
    pointer = "/nodes/1/extensions/KHR_node_visibility/visible"
    pointing(builder, pointer, [0, 1, 2], [0, 1, 0], "STEP")
    builder.doc["accessors"][-1].update(componentType=5121, bufferView=builder.view(bytes([0, 1, 0])))
    builder.animate("other", [(2, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], "LINEAR")])
    scene = loaded(builder, tmp_path)
    assert len(scene.objects) == 2
    areas = []
    for time_s in (0.5, 1.5, 2.5):
        corners = scene.evaluate(time_s, 0)[scene.tris]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas.append((np.linalg.norm(normals, axis=1) / 2).tolist())
    assert areas == [[0, 0.5], [0.5, 0.5], [0, 0.5]]
    # What another animation does not show stays hidden.
    first = scene.evaluate(1.0, scene.find_animation("other"))[scene.tris[0]]
    assert (first == first[0]).all()


# KHR_animation_pointer


@pytest.mark.parametrize(
    ("target", "values", "expected"),
    [
        ("translation", [[0, 0, 0], [2, 0, 0]], [[2, 0, 0], [3, 0, 0], [2, 1, 0]]),
        ("rotation", [[0, 0, 0, 1], QUARTER_TURN], [[0, 0, 0], [0, 1, 0], [-1, 0, 0]]),
        ("scale", [[1, 1, 1], [3, -1, 1]], [[0, 0, 0], [3, 0, 0], [0, -1, 0]]),
    ],
)
def test_pointers_to_transforms(tmp_path, target, values, expected):
    scene = loaded(pointing(one_triangle(), f"/nodes/0/{target}", [0, 1], values), tmp_path)
    np.testing.assert_allclose(scene.evaluate(1.0, 0), expected, atol=1e-6)
    assert scene.warnings == ()


def test_a_pointer_to_weights(tmp_path):
    builder = GltfBuilder()
    target = builder.accessor([[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    builder.node(mesh=builder.mesh(TRIANGLE, targets=[{"POSITION": target}]))
    scene = loaded(pointing(builder, "/nodes/0/weights", [0, 2], [0, 1]), tmp_path)
    assert scene.evaluate(1.0, 0)[1].tolist() == [1.5, 0, 0]


def test_pointers_to_a_camera(tmp_path):
    builder = one_triangle()
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    builder.node(camera=0, name="Zoom")
    pointing(builder, "/cameras/0/perspective/yfov", [0, 1], [0.8, 0.4])
    pointing(builder, "/cameras/0/perspective/znear", [0, 1], [0.1, 2])
    scene = loaded(builder, tmp_path)
    camera = scene.camera("Zoom", 1.0, scene.find_animation("all"))
    assert camera.yfov_deg == pytest.approx(np.rad2deg(0.4))
    assert camera.near == 2
    assert scene.camera("Zoom", 0.0).yfov_deg == pytest.approx(np.rad2deg(0.8))


@pytest.mark.parametrize(
    ("pointer", "pattern"),
    [
        ("/nodes/9/translation", "moves /nodes/9/translation, which does not exist: that is left out"),
        ("/cameras/0/perspective/yfov", "does not exist"),
        ("/nodes/0/weights/0", "moves /nodes/0/weights/0, which is not read: it stands still"),
        ("/meshes/0/weights", "is not read"),
        ("/materials/0/pbrMetallicRoughness/baseColorFactor", None),
        ("nonsense", None),
    ],
)
def test_pointers_to_other_things_leave_the_rest(tmp_path, pointer, pattern):
    builder = pointing(one_triangle(), pointer, [0, 1], [[0, 0, 0], [2, 0, 0]])
    builder.animate("move", [(0, "translation", [0, 1], [[0, 0, 0], [4, 0, 0]], "LINEAR")])
    scene = loaded(builder, tmp_path)
    assert scene.evaluate(1.0, scene.find_animation("move"))[0].tolist() == [4, 0, 0]
    if pattern is None:
        assert scene.warnings == ()
    else:
        (warning,) = scene.warnings
        assert pattern in warning
        assert "animation 0 (point)" in warning


# KHR_texture_transform and KHR_mesh_quantization


def textured(transform, n_sets=1, name="baseColorTexture", **info):
    """A square with UVs (set 1: ten times these) and one picture."""
    builder = GltfBuilder()
    attributes = {f"TEXCOORD_{k}": builder.accessor(UV_SQUARE * 10.0**k) for k in range(n_sets)}
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], attributes=attributes))
    builder.doc["meshes"][0]["primitives"][0]["material"] = 0
    info = {"index": 0, "extensions": {"KHR_texture_transform": transform}, **info}
    material = {name: info} if name != "baseColorTexture" else {"pbrMetallicRoughness": {name: info}}
    builder.doc["materials"] = [material]
    builder.doc["extensionsUsed"] = ["KHR_texture_transform"]
    return builder


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"offset": [0.5, 0.25], "scale": [0.5, 2]}, UV_SQUARE * [0.5, 2] + [0.5, 0.25]),
        # The format's own example: the lower left quadrant of the picture.
        (
            {"offset": [0, 1], "rotation": np.pi / 2, "scale": [0.5, 0.5]},
            [[0, 1], [0, 0.5], [0.5, 1], [0.5, 0.5]],
        ),
        ({"offset": [0, 1], "scale": [1, -1]}, [[0, 1], [1, 1], [0, 0], [1, 0]]),
        ({"texCoord": 1, "scale": [7, 7]}, UV_SQUARE),  # that is about another set
        ({"scale": "large", "offset": [0.5, 0]}, UV_SQUARE + [0.5, 0]),
        ({}, UV_SQUARE),
    ],
)
def test_coordinates_are_as_the_picture_sees_them(tmp_path, transform, expected):
    scene = loaded(textured(transform, n_sets=2), tmp_path)
    np.testing.assert_allclose(scene.uvs, np.asarray(expected)[[[0, 1, 2], [2, 1, 3]]], atol=1e-6)


def test_a_transform_may_bring_a_picture_back_to_the_first_set(tmp_path):
    scene = loaded(textured({"texCoord": 0, "scale": [0.5, 0.5]}, n_sets=2, texCoord=1), tmp_path)
    assert scene.uvs.max() == 0.5
    scene = loaded(textured({"scale": [0.5, 0.5]}, n_sets=2, texCoord=1), tmp_path)
    assert scene.uvs.max() == 1


def test_the_base_colour_decides_before_other_pictures(tmp_path):
    builder = textured({"scale": [0.5, 0.5]})
    builder.doc["materials"][0]["normalTexture"] = {"index": 0}
    assert loaded(builder, tmp_path).uvs.max() == 0.5
    builder = textured({"scale": [0.25, 0.25]}, name="normalTexture")
    assert loaded(builder, tmp_path).uvs.max() == 0.25


def test_coordinates_of_a_compressor(tmp_path):
    """Whole numbers of 12 bits, normalized by 65535, as gltfpack writes them: the transform undoes that."""
    builder = textured({"scale": [65535 / 4095] * 2})
    builder.doc["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"] = builder.accessor(
        np.round(UV_SQUARE * 4095), "u2", normalized=True
    )
    builder.doc["extensionsRequired"] = ["KHR_mesh_quantization", "KHR_texture_transform"]
    scene = loaded(builder, tmp_path)
    np.testing.assert_allclose(scene.uvs, UV_SQUARE[[[0, 1, 2], [2, 1, 3]]], atol=1e-6)


def test_a_transform_without_a_material_or_coordinates(tmp_path):
    builder = textured({"scale": [3, 3]})
    del builder.doc["meshes"][0]["primitives"][0]["material"]
    assert loaded(builder, tmp_path).uvs.max() == 1
    builder = textured({"scale": [3, 3]}, n_sets=0)
    assert not loaded(builder, tmp_path).has_uvs.any()
    beyond_float32 = loaded(textured({"scale": [1e30, 1e30], "offset": [1e300, 0]}), tmp_path)
    assert not beyond_float32.has_uvs.any()
    assert not beyond_float32.uvs.any()


# What is used and not read


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("MSFT_lod", "uses the extension MSFT_lod, which is not read: the finest level of detail"),
        ("ACME_soft_bodies", "uses the extension ACME_soft_bodies, which is not read: what it adds, moves"),
        ("KHR_materials_unlit", None),
        ("KHR_lights_punctual", None),
        ("KHR_texture_basisu", None),
        ("KHR_mesh_quantization", None),
        ("VRM", None),
    ],
)
def test_what_is_used_and_not_read_is_named_once(tmp_path, name, pattern):
    builder = one_triangle()
    builder.doc["extensionsUsed"] = [name, name]
    warnings = loaded(builder, tmp_path).warnings
    assert len(warnings) == (pattern is not None)
    assert pattern is None or warnings[0].startswith(pattern)


# Written back


def written_back(builder, tmp_path):
    scene = loaded(builder, tmp_path)
    unwrapped = unwrap(scene, "unwrap").scene
    write_with_uvs(unwrapped, set(range(len(scene.objects))), tmp_path / "b.glb")
    return unwrapped, load_scene(tmp_path / "b.glb")


def test_new_coordinates_are_not_transformed_again(tmp_path):
    unwrapped, again = written_back(textured({"scale": [4, 4], "offset": [0.5, 0]}), tmp_path)
    np.testing.assert_array_equal(again.uvs, unwrapped.uvs)


def test_instances_stay_instances(tmp_path):
    unwrapped, again = written_back(
        instanced(one_triangle(), 0, TRANSLATION=[[0, 0, 0], [3, 0, 0]]), tmp_path
    )
    assert len(again.objects) == 2
    np.testing.assert_array_equal(again.rest_verts, unwrapped.rest_verts)
    np.testing.assert_array_equal(again.uvs, unwrapped.uvs)
