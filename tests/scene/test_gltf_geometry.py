"""glTF geometry: accessors, primitives, buffers, nodes."""

# ruff: noqa: RUF005 - an array plus an offset is no concatenation of lists

import numpy as np
import pytest
from gltf_builder import SQUARE, TRIANGLE, GltfBuilder, one_triangle
from whole_scenes import outside, scene_file

from genrender.errors import SceneError
from genrender.scene.load import load_scene


def test_a_triangle_is_loaded_as_it_is(tmp_path):
    scene = load_scene(one_triangle(name="leaf").save(tmp_path / "a.gltf"))
    assert np.array_equal(scene.evaluate(0.0), np.array(TRIANGLE, np.float32))
    assert scene.tris.tolist() == [[0, 1, 2]]
    assert scene.object_id.tolist() == [1]
    assert [o.name for o in scene.objects] == ["leaf"]
    assert not scene.objects[0].has_uvs
    assert not scene.uvs.any()
    assert scene.name == "a"


def test_glb_data_uri_and_external_buffer_agree(tmp_path):
    embedded = load_scene(one_triangle().save(tmp_path / "a.glb"))
    builder = one_triangle()
    (tmp_path / "my data").mkdir()
    (tmp_path / "my data" / "b.bin").write_bytes(builder.blob)
    builder.doc["buffers"][0]["uri"] = "my%20data/b.bin"
    external = load_scene(builder.save(tmp_path / "b.gltf"))
    assert np.array_equal(embedded.rest_verts, external.rest_verts)
    assert np.array_equal(embedded.rest_verts, np.array(TRIANGLE, np.float32))


def test_a_percent_encoded_data_uri_is_read(tmp_path):
    builder = one_triangle()
    body = "".join(f"%{byte:02x}" for byte in builder.blob)
    builder.doc["buffers"][0]["uri"] = f"data:application/octet-stream,{body}"
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert np.array_equal(scene.rest_verts, np.array(TRIANGLE, np.float32))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (4, [[0, 1, 2]]),
        (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0]]),
    ],
)
@pytest.mark.parametrize("is_indexed", [False, True])
def test_triangles_strips_and_fans(tmp_path, mode, expected, is_indexed):
    builder = GltfBuilder()
    positions = [*SQUARE, [0, 2, 0]]
    builder.node(mesh=builder.mesh(positions, range(5) if is_indexed else None, mode=mode))
    assert load_scene(builder.save(tmp_path / "a.gltf")).tris.tolist() == expected


def test_a_strip_keeps_one_winding(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([*SQUARE, [0, 2, 0], [1, 2, 0]], mode=5))
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    corners = scene.rest_verts[scene.tris]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()


def test_stitches_of_a_strip_are_left_out(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 1, 3], mode=5))
    assert [sorted(tri) for tri in load_scene(builder.save(tmp_path / "a.gltf")).tris.tolist()] == [[0, 1, 2]]


def test_points_and_lines_are_left_out(tmp_path):
    builder = GltfBuilder()
    for mode in (0, 1, 2, 3):
        builder.node(mesh=builder.mesh(SQUARE, mode=mode))
    builder.node(mesh=builder.mesh(TRIANGLE))
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert len(scene.objects) == len(scene.tris) == 1
    assert scene.warnings == ("left out 4 primitives of points or lines",)


def test_nothing_but_points(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, mode=0))
    with pytest.raises(
        SceneError, match="no triangles in its scene; left out 1 primitive of points or lines;"
    ):
        load_scene(builder.save(tmp_path / "a.gltf"))


def test_a_trailing_part_of_a_triangle_is_left_out(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE))
    assert load_scene(builder.save(tmp_path / "a.gltf")).tris.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("dtype", "scale"), [("i1", 127), ("u1", 255), ("i2", 32767), ("u2", 65535)])
@pytest.mark.parametrize("is_normalized", [False, True])
def test_integer_positions(tmp_path, dtype, scale, is_normalized):
    builder = GltfBuilder()
    stored = np.array([[0, 0, 0], [scale, 0, 0], [0, scale // 2, 0]])
    position = builder.accessor(stored, dtype, normalized=is_normalized)
    builder.doc["extensionsRequired"] = ["KHR_mesh_quantization"]
    builder.node(mesh=builder.mesh(attributes={"POSITION": position}))
    expected = stored / scale if is_normalized else stored
    np.testing.assert_allclose(load_scene(builder.save(tmp_path / "a.glb")).rest_verts, expected, rtol=1e-6)


def test_the_most_negative_normalized_integer_is_minus_one(tmp_path):
    builder = GltfBuilder()
    position = builder.accessor([[-128, -127, 0], [127, 0, 0], [0, 127, 0]], "i1", normalized=True)
    builder.node(mesh=builder.mesh(attributes={"POSITION": position}))
    assert load_scene(builder.save(tmp_path / "a.glb")).rest_verts[0].tolist() == [-1, -1, 0]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_index_types(tmp_path, dtype):
    builder = GltfBuilder()
    builder.mesh(SQUARE)
    builder.doc["meshes"][0]["primitives"][0]["indices"] = builder.accessor([3, 2, 1], dtype)
    builder.node(mesh=0)
    assert load_scene(builder.save(tmp_path / "a.glb")).tris.tolist() == [[3, 2, 1]]


def test_interleaved_attributes(tmp_path):
    builder = GltfBuilder()
    uvs = np.array([[0, 0], [0.5, 0], [0, 0.25]], np.float32)
    rows = np.concatenate([np.array(TRIANGLE, np.float32), uvs], axis=1)
    view = builder.view(rows.tobytes(), stride=20)
    accessors = builder.doc["accessors"]
    accessors.append({"bufferView": view, "componentType": 5126, "count": 3, "type": "VEC3"})
    accessors.append(
        {"bufferView": view, "byteOffset": 12, "componentType": 5126, "count": 3, "type": "VEC2"}
    )
    builder.node(mesh=builder.mesh(attributes={"POSITION": 0, "TEXCOORD_0": 1}))
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert np.array_equal(scene.rest_verts, np.array(TRIANGLE, np.float32))
    assert np.array_equal(scene.uvs[0], uvs)
    assert scene.objects[0].has_uvs


@pytest.mark.parametrize("has_base", [True, False])
def test_sparse_positions(tmp_path, has_base):
    builder = GltfBuilder()
    position = builder.accessor(SQUARE)
    accessor = builder.doc["accessors"][position]
    accessor["sparse"] = {
        "count": 2,
        "indices": {"bufferView": builder.view(np.array([1, 3], "<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": builder.view(np.array([[5, 0, 0], [5, 7, 0]], "<f4").tobytes())},
    }
    if not has_base:
        del accessor["bufferView"]
    builder.node(mesh=builder.mesh(attributes={"POSITION": position}, indices=[0, 1, 2, 2, 1, 3]))
    expected = np.array(SQUARE, np.float32) * has_base
    expected[[1, 3]] = [[5, 0, 0], [5, 7, 0]]
    assert np.array_equal(load_scene(builder.save(tmp_path / "a.gltf")).rest_verts, expected)


def test_uvs_stay_raw_per_corner(tmp_path):
    builder = GltfBuilder()
    uv = builder.accessor([[-1, 0], [2, 0], [0, 3.5]])
    builder.node(mesh=builder.mesh(TRIANGLE, [2, 0, 1], attributes={"TEXCOORD_0": uv}))
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert scene.uvs.tolist() == [[[0, 3.5], [-1, 0], [2, 0]]]


def test_normalized_uvs(tmp_path):
    builder = GltfBuilder()
    uv = builder.accessor([[0, 0], [65535, 0], [0, 13107]], "u2", normalized=True)
    builder.node(mesh=builder.mesh(TRIANGLE, attributes={"TEXCOORD_0": uv}))
    np.testing.assert_allclose(
        load_scene(builder.save(tmp_path / "a.gltf")).uvs[0], [[0, 0], [1, 0], [0, 0.2]], rtol=1e-6
    )


def test_every_node_that_shows_a_mesh_has_its_own_vertices_and_object(tmp_path):
    builder = one_triangle(name="wheel")
    builder.node(mesh=0, translation=[10, 0, 0], name="wheel")
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert [o.name for o in scene.objects] == ["wheel", "wheel_2"]
    assert scene.object_id.tolist() == [1, 2]
    assert scene.tris.tolist() == [[0, 1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(scene.rest_verts[3:], scene.rest_verts[:3] + [10, 0, 0])


def test_primitives_that_share_vertices_share_them_in_the_scene(tmp_path):
    builder = GltfBuilder()
    builder.mesh(SQUARE, [0, 1, 2])
    primitives = builder.doc["meshes"][0]["primitives"]
    primitives.append({**primitives[0], "indices": builder.accessor([2, 1, 3], "u1")})
    builder.node(mesh=0)
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    assert len(scene.rest_verts) == 4
    assert scene.tris.tolist() == [[0, 1, 2], [2, 1, 3]]
    assert scene.object_id.tolist() == [1, 1]


def test_matrix_and_trs_nodes_agree(tmp_path):
    half = np.sqrt(0.5)
    trs = load_scene(
        one_triangle(translation=[1, 2, 3], rotation=[0, 0, half, half], scale=[2, 3, 4]).save(
            tmp_path / "a.gltf"
        )
    )
    # Column by column: a quarter turn about Z maps X to Y and Y to -X.
    columns = [0, 2, 0, 0, -3, 0, 0, 0, 0, 0, 4, 0, 1, 2, 3, 1]
    matrix = load_scene(one_triangle(matrix=columns).save(tmp_path / "b.gltf"))
    np.testing.assert_allclose(trs.rest_verts, [[1, 2, 3], [1, 4, 3], [-2, 2, 3]], atol=1e-6)
    np.testing.assert_allclose(matrix.rest_verts, trs.rest_verts, atol=1e-6)


def test_transforms_apply_from_child_to_root(tmp_path):
    builder = GltfBuilder()
    builder.node(is_root=False, mesh=builder.mesh(TRIANGLE), translation=[1, 0, 0])
    builder.node(children=[0], scale=[2, 2, 2])
    scene = load_scene(builder.save(tmp_path / "a.gltf"))
    np.testing.assert_array_equal(scene.rest_verts, 2 * (np.array(TRIANGLE) + [1, 0, 0]))


def test_only_the_default_scene_is_shown(tmp_path):
    builder = one_triangle(name="first")
    builder.node(is_root=False, mesh=0, name="second")
    builder.doc["scenes"].append({"nodes": [1]})
    builder.doc["scene"] = 1
    assert [o.name for o in load_scene(builder.save(tmp_path / "a.gltf")).objects] == ["second"]
    del builder.doc["scene"]
    assert [o.name for o in load_scene(builder.save(tmp_path / "b.gltf")).objects] == ["first"]
    del builder.doc["scenes"]
    assert [o.name for o in load_scene(builder.save(tmp_path / "c.gltf")).objects] == ["first", "second"]


def test_image_files_are_never_opened(tmp_path):
    builder = one_triangle()
    builder.doc["images"] = [{"uri": "nowhere.png"}, {"uri": "http://example.com/a.png"}]
    assert len(load_scene(builder.save(tmp_path / "a.gltf")).tris) == 1


@pytest.mark.parametrize(
    "name", ["still_life.glb", "cart.glb", outside("CesiumMilkTruck.glb"), outside("Duck.glb")]
)
def test_node_transforms_agree_with_trimesh(tmp_path, name):
    import trimesh

    path = scene_file(name, tmp_path)
    scene = load_scene(path)
    reference = trimesh.load_scene(path)
    triangles = np.concatenate(
        [
            trimesh.transform_points(geometry.triangles.reshape(-1, 3), matrix).reshape(-1, 3, 3)
            for matrix, geometry in (
                (reference.graph[node][0], reference.geometry[reference.graph[node][1]])
                for node in reference.graph.nodes_geometry
            )
        ]
    )
    ours = scene.rest_verts[scene.tris].reshape(-1, 9)
    theirs = triangles.reshape(-1, 9)
    assert len(ours) == len(theirs)
    # The two list their triangles in different orders: each must have a partner among the others.
    for some, others in ((ours, theirs), (theirs, ours)):
        for chunk in np.array_split(some, len(some) // 200):
            distance = np.abs(chunk[:, None] - others[None]).max(axis=2)
            assert distance.min(axis=1).max() < 1e-5
