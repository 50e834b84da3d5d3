"""Scenes written back: surfaces move as before, texture coordinates are new, the rest is the file's."""

import json
import struct

import numpy as np
import pytest
import trimesh
from gltf_builder import GltfBuilder
from whole_scenes import outside, scene_file

from genrender.errors import SceneError
from genrender.scene.formats.gltf.accessor import read_as_stored, read_floats, read_ints
from genrender.scene.formats.gltf.file import open_gltf
from genrender.scene.formats.gltf.rewrite import write_with_uvs
from genrender.scene.load import load_scene
from genrender.scene.uv.quality import overlap_percent
from genrender.scene.uv.unwrap import report_of, spans, unwrap

SCENES = [
    "walking_biped.glb",
    "still_life.glb",
    "cart.glb",
    "automaton.glb",
    "jelly.glb",
    outside("Fox.glb"),
    outside("Duck.glb"),
    outside("CesiumMilkTruck.glb"),
    outside("RobotExpressive.glb"),
    outside("MorphStressTest.gltf"),
    outside("SimpleSkin.gltf"),
]


def document(path):
    data = path.read_bytes()
    if data[:4] != b"glTF":
        return json.loads(data)
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def rewritten(path, out, mode="unwrap"):
    scene = load_scene(path)
    unwrapped = unwrap(scene, mode)
    write_with_uvs(unwrapped.scene, set(unwrapped.made), out)
    return scene, unwrapped, load_scene(out)


@pytest.mark.parametrize("mode", ["auto", "unwrap"])
@pytest.mark.parametrize("name", SCENES)
def test_every_triangle_of_every_animation_is_where_it_was(tmp_path, name, mode):
    scene, unwrapped, again = rewritten(scene_file(name, tmp_path), tmp_path / "new.glb", mode)
    assert [(o.name, o.n_tris) for o in again.objects] == [(o.name, o.n_tris) for o in scene.objects]
    assert again.animations == scene.animations
    for animation in [None, *range(len(scene.animations))]:
        duration_s = 0.0 if animation is None else scene.animations[animation].duration_s
        for time_s in (0.0, 0.37 * duration_s, duration_s):
            before = scene.evaluate(time_s, animation)[scene.tris]
            after = again.evaluate(time_s, animation)[again.tris]
            np.testing.assert_array_equal(after, before)
    # The coordinates are those that were asked for, to the bit.
    np.testing.assert_array_equal(again.uvs, unwrapped.scene.uvs)
    for index, span in enumerate(spans(again.objects)):
        if index in unwrapped.made and unwrapped.made[index].endswith("asked for"):
            assert overlap_percent(again.uvs[span], 512) < 0.1
            assert report_of(again, span).outside_percent == 0
        assert report_of(again, span).faults == ()


@pytest.mark.parametrize(
    "name",
    [
        "walking_biped.glb",
        "cart.glb",
        "jelly.glb",
        outside("Fox.glb"),
        outside("CesiumMilkTruck.glb"),
        outside("RobotExpressive.glb"),
    ],
)
def test_nodes_skins_animations_and_pictures_stay(tmp_path, name):
    path = scene_file(name, tmp_path)
    rewritten(path, tmp_path / "new.glb")
    before, after = document(path), document(tmp_path / "new.glb")
    for key in set(before) - {"meshes", "accessors", "bufferViews", "buffers", "materials"}:
        assert after[key] == before[key], key
    assert after["accessors"][: len(before["accessors"])] == before["accessors"]
    assert after["materials"][: len(before["materials"])] == before["materials"]


@pytest.mark.parametrize(
    "name", ["trotting_quadruped.glb", "walking_biped.glb", outside("Duck.glb"), outside("Fox.glb")]
)
def test_another_library_reads_the_same_surface_and_the_new_coordinates(tmp_path, name):
    path = scene_file(name, tmp_path)
    _, unwrapped, _ = rewritten(path, tmp_path / "new.glb")
    (mesh,) = trimesh.load(tmp_path / "new.glb", process=False).geometry.values()
    (old,) = trimesh.load(path, process=False).geometry.values()
    np.testing.assert_allclose(mesh.triangles, old.triangles)
    uv = np.asarray(mesh.visual.uv)[mesh.faces]
    expected = unwrapped.scene.uvs * [1, -1] + [0, 1]  # trimesh counts V upwards
    np.testing.assert_allclose(uv, expected, atol=1e-6)


def test_a_picture_goes_on_using_the_old_coordinates(tmp_path):
    """They become a further set, and only where they are needed: another mesh has the material as it was."""
    builder = GltfBuilder()
    builder.doc["images"], builder.doc["textures"] = [{"uri": "wood.png"}], [{"source": 0}]
    transform = {"KHR_texture_transform": {"texCoord": 1, "scale": [2, 2]}}
    builder.doc["materials"] = [
        {
            "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}},
            "normalTexture": {"index": 0, "texCoord": 1},
            "emissiveTexture": {"index": 0, "extensions": transform},
        }
    ]
    positions = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    tiled, good = positions[:, :2] * 4.0, positions[:, :2] * 0.9
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])
    for uvs in (tiled, good):
        attributes = {
            "TEXCOORD_0": builder.accessor(uvs),
            "TEXCOORD_1": builder.accessor(uvs / 8),
            "TANGENT": builder.accessor(np.tile([1.0, 0, 0, 1], (4, 1))),
        }
        mesh = builder.mesh(positions, [0, 1, 2, 0, 2, 3], attributes=attributes)
        builder.doc["meshes"][mesh]["primitives"][0]["material"] = 0
        builder.node(mesh=mesh)
    # Three bytes per vertex, each at a multiple of four: as other software writes colours.
    packed = np.pad(colours, ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    builder.doc["accessors"].append(
        {
            "bufferView": builder.view(packed, 4),
            "componentType": 5121,
            "count": 4,
            "type": "VEC3",
            "normalized": True,
        }
    )
    builder.doc["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = len(builder.doc["accessors"]) - 1
    path = builder.save(tmp_path / "a.glb")
    (tmp_path / "sub").mkdir()
    _, unwrapped, again = rewritten(path, tmp_path / "sub" / "b.glb", "auto")
    assert list(unwrapped.made) == [0]
    doc = document(tmp_path / "sub" / "b.glb")
    assert doc["images"] == [{"uri": "../wood.png"}]
    before, after = (document(file)["meshes"] for file in (path, tmp_path / "sub" / "b.glb"))
    assert after[1] == before[1]
    primitive = after[0]["primitives"][0]
    assert set(primitive["attributes"]) == set(before[0]["primitives"][0]["attributes"]) | {"TEXCOORD_2"}
    first, copy = doc["materials"]
    assert first == builder.doc["materials"][0]
    assert copy["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 0, "texCoord": 2}
    assert copy["normalTexture"] == first["normalTexture"]
    assert copy["emissiveTexture"] == first["emissiveTexture"]
    assert primitive["material"] == 1
    # Corner by corner, every other attribute is what it was.
    scene = trimesh.load(tmp_path / "sub" / "b.glb", process=False)
    mesh = next(iter(scene.geometry.values()))
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], positions[[[0, 1, 2], [0, 2, 3]]])
    file = open_gltf(again.path)
    corner = read_ints(file, primitive["indices"], ("SCALAR",))[:, 0]
    old_corner = [0, 1, 2, 0, 2, 3]
    attributes = primitive["attributes"]
    np.testing.assert_array_equal(
        read_floats(file, attributes["TEXCOORD_2"], ("VEC2",))[corner], tiled[old_corner]
    )
    stored, is_normalized = read_as_stored(file, attributes["COLOR_0"])
    np.testing.assert_array_equal(stored[corner], colours[old_corner])
    assert is_normalized


def test_strips_and_shared_buffers_of_a_gltf_file(tmp_path):
    builder = GltfBuilder()
    positions = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 2, 1]]
    builder.node(mesh=builder.mesh(positions, [0, 1, 2, 3, 4], mode=5))
    builder.node(mesh=0, translation=[3, 0, 0])
    scene, unwrapped, again = rewritten(builder.save(tmp_path / "a.gltf"), tmp_path / "b.glb", "auto")
    np.testing.assert_array_equal(again.rest_verts[again.tris], scene.rest_verts[scene.tris])
    np.testing.assert_array_equal(again.uvs, unwrapped.scene.uvs)
    assert len(document(tmp_path / "b.glb")["meshes"]) == 1


def test_a_file_that_has_changed_is_refused(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene).scene
    other = GltfBuilder()
    other.node(mesh=other.mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]] * 2))
    other.save(tmp_path / "a.glb")
    with pytest.raises(SceneError, match="no longer has the scene's 1 triangles; load it again"):
        write_with_uvs(unwrapped, {0}, tmp_path / "b.glb")
    assert not (tmp_path / "b.glb").exists()
