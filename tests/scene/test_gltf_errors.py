"""Broken scene files: one clear line each, quickly, and without absurd memory."""

import struct
import time
import tracemalloc

import numpy as np
import pytest
from gltf_builder import SQUARE, TRIANGLE, GltfBuilder, morphing, one_triangle, skinned_strip

from genrender.errors import SceneError
from genrender.scene.load import load_scene


def assert_refused(path, pattern):
    start = time.process_time()
    with pytest.raises(SceneError, match=pattern) as caught:
        load_scene(path)
    assert time.process_time() - start < 1
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "nowhere.glb", "not found")


def test_a_folder(tmp_path):
    (tmp_path / "a.glb").mkdir()
    assert_refused(tmp_path / "a.glb", "is a folder")


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.stl").write_bytes(b"solid")
    assert_refused(tmp_path / "a.stl", r"unknown scene format '.stl', expected .gltf, .glb, ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\xff\xfe\x00",
        b"not json",
        b"[]",
        b"{}",
        b'{"asset": 3}',
        b'{"asset": {"version": "2.0"}, "nodes": 3}',
        b'{"asset": {"version": "2.0"}, "nodes": [3]}',
        b'{"asset": {"version": "2.0"}, "x": NaN}',
        b"[" * 100_000,
        b'{"asset": {"version": "2.0"}, "meshes": "abc"}',
    ],
    ids=range(12),
)
@pytest.mark.parametrize("suffix", [".gltf", ".glb"])
def test_not_a_gltf(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert_refused(path, "not a glTF file")


@pytest.mark.parametrize(
    "text",
    [
        '{"asset": {"version": "1.0"}}',
        '{"asset": {"version": "1.0"}, "nodes": {"node_1": {"meshes": ["m"]}}, "meshes": {"m": {}}}',
        '{"asset": {"version": "1.1"}, "scenes": {"default": {"nodes": []}}}',
    ],
)
def test_gltf_1(tmp_path, text):
    path = tmp_path / "a.gltf"
    path.write_text(text)
    assert_refused(path, r"is glTF '1\.[01]', expected 2.0; convert it, for example: gltf-pipeline -i a.gltf")


def test_gltf_before_1_which_tells_no_version(tmp_path):
    path = tmp_path / "a.gltf"
    path.write_text('{"nodes": {"node_1": {}}, "meshes": {}}')
    assert_refused(path, "is older than 2.0, expected 2.0")


def test_a_mistake_in_the_json_is_told_with_its_line(tmp_path):
    path = tmp_path / "100%s.gltf"
    path.write_text('{\n  "asset": {"version": "2.0"},\n  "nodes": [{]\n}')
    assert_refused(path, r"in line 3, column 14: Expecting property name .*, found '\]'")


def test_json_in_utf_16(tmp_path):
    path = tmp_path / "a.gltf"
    path.write_text('{"asset": {"version": "2.0"}}', encoding="utf-16")
    assert_refused(path, "its text is UTF-16; save it as UTF-8")


def test_json_of_a_glb_filled_up_with_zeros(tmp_path):
    builder = one_triangle()
    path = builder.save(tmp_path / "a.glb")
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    text = data[20 : 20 + length].rstrip() + b"\0\0\0"
    text += b"\0" * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path.write_bytes(head + text + rest)
    assert len(load_scene(path).tris) == 1


@pytest.mark.parametrize("n_bytes", [4, 11, 12, 19, 20, 30, 200, -1])
def test_truncated_glb(tmp_path, n_bytes):
    path = one_triangle().save(tmp_path / "a.glb")
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert_refused(path, "truncated GLB")


def test_glb_whose_chunk_is_longer_than_the_file(tmp_path):
    path = one_triangle().save(tmp_path / "a.glb")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 12, 2**31)
    path.write_bytes(data)
    assert_refused(path, "truncated GLB")


def test_glb_version_1(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(struct.pack("<4sII", b"glTF", 1, 20) + b"\0" * 8)
    assert_refused(path, "GLB version 1")


def test_other_required_extensions(tmp_path):
    builder = one_triangle()
    builder.doc["extensionsRequired"] = ["MSFT_lod"]
    assert_refused(
        builder.save(tmp_path / "a.glb"), "requires the extension MSFT_lod, which is not supported"
    )
    builder.doc["extensionsRequired"] = [
        "KHR_texture_transform",
        "KHR_materials_unlit",
        "KHR_mesh_quantization",
    ]
    assert len(load_scene(builder.save(tmp_path / "b.glb")).tris) == 1


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda d: d["accessors"][0].update(count=4), "accessor 0 is out of bounds"),
        (lambda d: d["accessors"][0].update(count=10**15), "accessor 0 is out of bounds"),
        (lambda d: d["accessors"][0].update(count=-1), "count -1"),
        (lambda d: d["accessors"][0].update(count=True), "count True"),
        (lambda d: d["accessors"][0].update(count="many"), "accessor 0 has count 'many'"),
        (lambda d: d["accessors"][0].update(byteOffset=4), "accessor 0 is out of bounds"),
        (lambda d: d["accessors"][0].update(byteOffset=-4), "byteOffset -4"),
        (lambda d: d["accessors"][0].update(componentType=5130), "componentType 5130"),
        (lambda d: d["accessors"][0].update(type="VEC2"), "'VEC2', expected VEC3"),
        (lambda d: d["accessors"][0].update(bufferView=7), "bufferView 7"),
        (lambda d: d["accessors"][0].update(bufferView=None, count=10**12), "without any data"),
        (lambda d: d["bufferViews"][0].update(byteLength=999), "ends at byte 999"),
        (lambda d: d["bufferViews"][0].update(byteStride=5), "byteStride 5"),
        (lambda d: d["bufferViews"][0].update(buffer=3), "buffer 3"),
        (lambda d: d["buffers"][0].update(byteLength=10**9), "buffer 0 is truncated"),
        (lambda d: d["meshes"][0]["primitives"][0].update(mode=9), "mode 9"),
        (lambda d: d["meshes"][0]["primitives"][0].update(indices=5), "accessor 5"),
        (lambda d: d["meshes"][0]["primitives"][0].update(indices=0), "'VEC3', expected SCALAR"),
        (lambda d: d["nodes"][0].update(mesh=4), "mesh 4"),
        (lambda d: d["nodes"][0].update(mesh=[0]), r"refers to mesh \[0\], but the file has 1"),
        (lambda d: d["nodes"][0].update(skin=2), "skin 2"),
        (lambda d: d["nodes"][0].update(children=[0]), "its own ancestor"),
        (lambda d: d["nodes"][0].update(children=[8]), "node 8"),
        (lambda d: d["nodes"][0].update(children=7), r"its nodes\[0\].children has another structure"),
        (lambda d: d["nodes"][0].update(translation=[1, 2]), "expected 3 finite numbers"),
        (
            lambda d: d["nodes"][0].update(translation="abc"),
            "has the translation abc, expected 3 finite numbers",
        ),
        (lambda d: d["nodes"][0].update(matrix=[1] * 15), "expected 16 finite numbers"),
        (lambda d: d["nodes"][0].update(scale=[1e300, 1, 1]), "infinity"),
        (lambda d: d["scenes"][0].update(nodes=[5]), "node 5"),
        (lambda d: d["scenes"][0].update(nodes=[]), "no triangles"),
        (lambda d: d.update(scene=3), "scene 3"),
        (lambda d: d["nodes"][0].pop("mesh"), None),
        (lambda d: d["meshes"][0].update(primitives=[]), "no triangles"),
        (lambda d: d["meshes"][0]["primitives"][0].update(mode=1), "no triangles"),
    ],
)
def test_broken_references_and_numbers(tmp_path, change, pattern):
    builder = one_triangle()
    change(builder.doc)
    assert_refused(builder.save(tmp_path / "a.gltf"), pattern or "no triangles")


def test_two_parents_and_longer_cycles(tmp_path):
    builder = one_triangle()
    builder.node(children=[0])
    builder.node(children=[0])
    assert_refused(builder.save(tmp_path / "a.gltf"), "node 0 has two parents, 1 and 2")
    builder = one_triangle()
    builder.node(is_root=False, children=[2])
    builder.node(is_root=False, children=[1])
    assert_refused(builder.save(tmp_path / "b.gltf"), "node 1 is its own ancestor")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_but_positions_that_are_no_numbers(tmp_path, bad):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([[0, 0, 0], [1, bad, 0], [0, 1, 0]]))
    assert_refused(
        builder.save(tmp_path / "a.glb"), "no triangles in its scene but 1 without an area or finite"
    )


def test_uvs_that_are_no_numbers_count_as_missing(tmp_path):
    builder = GltfBuilder()
    uv = builder.accessor([[0, 0], [np.nan, 0], [0, 1]])
    builder.node(mesh=builder.mesh(TRIANGLE, attributes={"TEXCOORD_0": uv}))
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    assert not scene.objects[0].has_uvs
    assert not scene.uvs.any()


def test_an_index_out_of_range(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 4]))
    assert_refused(builder.save(tmp_path / "a.glb"), "vertex index 4, but only 4 vertices")


def test_a_sparse_index_out_of_range(tmp_path):
    builder = morphing(is_sparse=True)
    builder.doc["accessors"][0]["count"] = 4
    view = builder.doc["accessors"][0]["sparse"]["indices"]["bufferView"]
    offset = builder.doc["bufferViews"][view]["byteOffset"]
    builder.blob = builder.blob[:offset] + b"\xff" + builder.blob[offset + 1 :]
    assert_refused(builder.save(tmp_path / "a.glb"), "sparse index 255")


def test_a_joint_out_of_range(tmp_path):
    builder = skinned_strip(np.tile([0, 7, 0, 0], (6, 1)), np.tile([0.5, 0.5, 0, 0], (6, 1)))
    assert_refused(builder.save(tmp_path / "a.glb"), "uses joint 7, but its skin has 2 joints")


def test_joint_weights_whose_sum_float32_cannot_hold(tmp_path):
    builder = skinned_strip(np.tile([0, 1, 0, 0], (6, 1)), np.tile([3e38, 3e38, 0, 0], (6, 1)))
    assert_refused(builder.save(tmp_path / "a.glb"), "joint weights that are no finite numbers")


@pytest.mark.parametrize(
    ("times", "values", "interpolation", "pattern"),
    [
        ([1, 0], [[0, 0, 0]] * 2, "LINEAR", "do not rise"),
        ([0, np.nan], [[0, 0, 0]] * 2, "LINEAR", "do not rise"),
        ([0, 1], [[0, 0, 0], [np.inf, 0, 0]], "LINEAR", "no finite numbers"),
        ([0, 1], [[0, 0, 0]] * 3, "LINEAR", "has 3 elements, expected 2"),
        ([0, 1], [[0, 0, 0]] * 2, "CUBICSPLINE", "has 2 elements, expected 6"),
        ([0, 1], [[0, 0, 0]] * 2, "BEZIER", "interpolation 'BEZIER'"),
        ([0, 1], [[0, 0, 0, 1]] * 2, "LINEAR", "'VEC4', expected VEC3"),
    ],
)
def test_broken_animations(tmp_path, times, values, interpolation, pattern):
    builder = one_triangle()
    builder.animate("move", [(0, "translation", times, values, interpolation)])
    assert_refused(builder.save(tmp_path / "a.glb"), pattern)


def test_an_animation_that_explodes_says_so(tmp_path):
    builder = one_triangle(scale=[1e17, 1, 1])
    builder.node(is_root=True, children=[0])
    builder.doc["scenes"][0]["nodes"] = [1]
    builder.animate("boom", [(1, "scale", [0, 1], [[1, 1, 1], [1e30, 1, 1]], "LINEAR")])
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    with pytest.raises(SceneError, match=r"'boom' gives vertices that are no numbers or beyond .* at 1 s"):
        scene.evaluate(1.0, 0)


@pytest.mark.parametrize(
    ("uri", "pattern"),
    [
        ("missing.bin", "missing"),
        ("../secret.bin", "outside the scene's folder"),
        ("..%2Fsecret.bin", "outside the scene's folder"),
        ("a/../../secret.bin", "outside the scene's folder"),
        ("..\\secret.bin", "outside the scene's folder"),
        ("/etc/hostname", "outside the scene's folder"),
        ("http://example.com/a.bin", "only files beside the scene"),
        ("file:///etc/hostname", "only files beside the scene"),
        ("C:/secret.bin", "only files beside the scene"),
        ("data:application/octet-stream;base64", "without a comma"),
        ("data:application/octet-stream;base64,AAA", "not valid base64"),
        ("\0", "cannot be read"),
        ("", "cannot be read"),
        (7, "missing"),
    ],
)
def test_buffer_uris(tmp_path, uri, pattern):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 1000)
    folder = tmp_path / "scene"
    folder.mkdir()
    builder = one_triangle()
    builder.doc["buffers"][0]["uri"] = uri
    assert_refused(builder.save(folder / "a.gltf"), pattern)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 1000)
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "a.bin").symlink_to(tmp_path / "secret.bin")
    builder = one_triangle()
    builder.doc["buffers"][0]["uri"] = "a.bin"
    assert_refused(builder.save(folder / "a.gltf"), "outside the scene's folder")


def test_endless_instancing_is_stopped_before_the_memory_is(tmp_path):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([[0, 0, 0]] * 100, np.tile(np.arange(99), 600)))
    for _ in range(900):
        builder.node(mesh=0)
    path = builder.save(tmp_path / "a.glb")
    assert_refused(path, "more than 16,777,216 triangles")
    tracemalloc.start()
    try:
        with pytest.raises(SceneError):
            load_scene(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6


def test_key_times_that_are_signalling_nans(tmp_path):
    builder = one_triangle()
    times = np.array([0, 0x7FA00000], np.uint32).view(np.float32)
    builder.animate("Go", [(0, "translation", times, np.zeros((2, 3), np.float32), "LINEAR")])
    assert_refused(builder.save(tmp_path / "a.glb"), "no finite numbers")
