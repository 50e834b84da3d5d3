"""Compressed glTF files: meshopt against what its own library encodes, Draco through its library."""

import base64
import json
import sys
from pathlib import Path

import DracoPy
import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder
from test_rewrite_gltf import document

from genrender.errors import SceneError
from genrender.scene.formats.gltf import meshopt
from genrender.scene.formats.gltf.rewrite import write_with_uvs
from genrender.scene.load import load_scene
from genrender.scene.uv.unwrap import unwrap

# Made with meshoptimizer 0.2.30a0: encoded data, and what that library decodes them to.
SAMPLES = json.loads((Path(__file__).parent / "meshopt_samples.json").read_text())
EXT, DRACO = "EXT_meshopt_compression", "KHR_draco_mesh_compression"
UV_SQUARE = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])


def encoded(name):
    sample = SAMPLES[name]
    return sample, base64.b64decode(sample["data"]), base64.b64decode(sample["decoded"])


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_mode_version_and_filter_is_decoded_as_its_library_does(name):
    sample, data, expected = encoded(name)
    kind = sample.get("filter", "NONE")
    decoded = meshopt.decode(data, sample["mode"], sample["count"], sample["stride"], kind)
    if kind == "QUATERNION":  # the format allows a rounding error
        assert len(decoded) == len(expected)
        ours, theirs = (np.frombuffer(values, "<i2").astype(int) for values in (decoded, expected))
        assert np.abs(ours - theirs).max() <= 1
    else:
        assert decoded == expected


@pytest.mark.parametrize("name", ["wave_0", "wave_1", "grid_1", "grid_sequence", "random_1"])
def test_cut_or_damaged_data_never_fail_otherwise_than_as_broken(name):
    sample, data, _ = encoded(name)
    shape = sample["mode"], sample["count"], sample["stride"]
    for length in range(0, len(data), 7):
        with pytest.raises(ValueError, match=r"ends too early|left over|unknown version|channel mode"):
            meshopt.decode(data[:length], *shape)
    rng = np.random.default_rng(3)
    for _ in range(200):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            decoded = meshopt.decode(bytes(broken), *shape)
        except ValueError:
            continue
        assert len(decoded) == sample["count"] * sample["stride"]


@pytest.mark.parametrize(
    ("mode", "count", "stride", "kind", "pattern"),
    [
        ("ATTRIBUTES", 1, 6, "NONE", "6 bytes"),
        ("ATTRIBUTES", 1, 0, "NONE", "0 bytes"),
        ("ATTRIBUTES", 20, 4, "QUATERNION", "the filter 'QUATERNION' for elements of 4"),
        ("ATTRIBUTES", 20, 4, "COLOR", "the filter 'COLOR'"),
        ("TRIANGLES", 4, 4, "NONE", "4 corners"),
        ("TRIANGLES", 3, 8, "NONE", "8 bytes"),
        ("VERTICES", 3, 8, "NONE", "mode is 'VERTICES'"),
    ],
)
def test_shapes_that_the_format_does_not_have(mode, count, stride, kind, pattern):
    with pytest.raises(ValueError, match=pattern):
        meshopt.decode(encoded("constant_0")[1], mode, count, stride, kind)


def meshopt_file(extension=EXT, version=0):
    """A grid of 7 x 7 places, quantised, as gltfpack writes it: only the compressed data are there."""
    builder = GltfBuilder()
    for name in (f"wave_{version}", "short"):
        sample, data, decoded = encoded(name)
        view = builder.view(data)
        compressed = {"buffer": 0, "byteOffset": builder.doc["bufferViews"][view]["byteOffset"]}
        compressed |= {"byteLength": len(data), "byteStride": sample["stride"]}
        compressed |= {"mode": sample["mode"], "count": sample["count"]}
        builder.doc["bufferViews"][view] = {
            "buffer": 1,
            "byteLength": len(decoded),
            **({"byteStride": sample["stride"]} if sample["mode"] == "ATTRIBUTES" else {}),
            "extensions": {extension: compressed},
        }
    builder.doc["buffers"].append({"byteLength": 4000, "extensions": {extension: {"fallback": True}}})
    builder.doc["accessors"] = [
        {"bufferView": 0, "componentType": 5123, "count": 49, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5123, "count": 216, "type": "SCALAR"},
    ]
    builder.doc["meshes"] = [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}]
    builder.node(mesh=0, scale=[0.5, 0.5, 0.5])
    builder.doc["extensionsUsed"] = builder.doc["extensionsRequired"] = [extension, "KHR_mesh_quantization"]
    return builder


@pytest.mark.parametrize(("extension", "version"), [(EXT, 0), ("KHR_meshopt_compression", 1)])
def test_a_file_that_meshopt_compresses(tmp_path, extension, version):
    scene = load_scene(meshopt_file(extension, version).save(tmp_path / "a.glb"))
    positions = np.frombuffer(encoded("wave_0")[2], "<u2").reshape(-1, 4)[:49, :3]
    np.testing.assert_array_equal(scene.rest_verts, positions * np.float32(0.5))
    expected = np.frombuffer(encoded("short")[2], "<u2").reshape(-1, 3)
    assert len(scene.tris) + scene.n_dropped == len(expected) == 72
    assert scene.warnings == ()


def test_a_compressed_file_is_written_back_without_compression(tmp_path):
    scene = load_scene(meshopt_file().save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene)
    write_with_uvs(unwrapped.scene, set(unwrapped.made), tmp_path / "b.glb")
    again = load_scene(tmp_path / "b.glb")
    np.testing.assert_array_equal(again.rest_verts[again.tris], scene.rest_verts[scene.tris])
    assert again.has_uvs.all()
    after = document(tmp_path / "b.glb")
    assert after["extensionsUsed"] == after["extensionsRequired"] == ["KHR_mesh_quantization"]
    assert EXT not in json.dumps(after)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"count": 2**40}, "more than 1,073,741,824 bytes once decompressed"),
        ({"count": 5000}, r"bufferView 0 cannot be decompressed \(it ends too early\); export"),
        ({"byteLength": 10**6}, "bufferView 0 ends at byte 1000000, but its buffer has"),
        ({"buffer": 5}, "refers to buffer 5"),
        ({"mode": 3}, "its mode is '3'"),
        ({"byteStride": "x"}, "byteStride 'x', expected a whole number"),
        ({"count": 3}, "of its bytes are left over"),
    ],
)
def test_broken_compressed_views(tmp_path, change, pattern):
    builder = meshopt_file()
    builder.doc["bufferViews"][0]["extensions"][EXT] |= change
    with pytest.raises(SceneError, match=pattern):
        load_scene(builder.save(tmp_path / "a.glb"))


def draco_file(is_required=True):
    """A square with UVs and two joints, in Draco alone."""
    joints = np.array([[0, 1, 0, 0]] * 4, np.uint8)
    data = DracoPy.encode(
        np.array(SQUARE, np.float32),
        np.array([[0, 1, 2], [2, 1, 3]], np.uint32),
        tex_coord=UV_SQUARE.astype(np.float64),
        generic_attributes={7: joints},
        preserve_order=True,
        quantization_bits=14,
    )
    ids = {a["num_components"]: a["unique_id"] for a in DracoPy.decode(data).attributes}
    builder = GltfBuilder()
    names = {"POSITION": ("VEC3", 5126), "TEXCOORD_0": ("VEC2", 5126), "JOINTS_0": ("VEC4", 5121)}
    for kind, component in names.values():
        builder.doc["accessors"].append({"componentType": component, "count": 4, "type": kind})
    builder.doc["accessors"].append({"componentType": 5123, "count": 6, "type": "SCALAR"})
    attributes = dict(zip(names, range(3), strict=True))
    attributes["WEIGHTS_0"] = builder.accessor([[0.5, 0.5, 0, 0]] * 4)
    compressed = {
        "bufferView": builder.view(data),
        "attributes": {"POSITION": ids[3], "TEXCOORD_0": ids[2], "JOINTS_0": ids[4]},
    }
    primitive = {"attributes": attributes, "indices": 3, "extensions": {DRACO: compressed}}
    builder.doc["meshes"] = [{"primitives": [primitive]}]
    builder.node(mesh=0, skin=0)
    builder.node()
    builder.node(translation=[0, 0, 2])
    builder.doc["skins"] = [{"joints": [1, 2]}]
    builder.doc["extensionsUsed"] = [DRACO]
    if is_required:
        builder.doc["extensionsRequired"] = [DRACO]
    return builder


def test_a_file_that_draco_compresses(tmp_path):
    scene = load_scene(draco_file().save(tmp_path / "a.glb"))
    np.testing.assert_allclose(scene.rest_verts, np.add(SQUARE, [0, 0, 1]), atol=1e-4)
    assert scene.tris.tolist() == [[0, 1, 2], [2, 1, 3]]
    np.testing.assert_allclose(scene.uvs, UV_SQUARE[scene.tris], atol=1e-3)
    assert scene.warnings == ()


def test_draco_is_written_back_plain(tmp_path):
    scene = load_scene(draco_file().save(tmp_path / "a.glb"))
    unwrapped = unwrap(scene, "unwrap")
    write_with_uvs(unwrapped.scene, set(unwrapped.made), tmp_path / "b.glb")
    again = load_scene(tmp_path / "b.glb")
    np.testing.assert_array_equal(again.rest_verts[again.tris], scene.rest_verts[scene.tris])
    assert DRACO not in json.dumps(document(tmp_path / "b.glb"))


def test_without_its_library_draco_is_refused_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    for is_required in (True, False):
        path = draco_file(is_required).save(tmp_path / "a.glb")
        with pytest.raises(SceneError, match=r"pip install 'genrender\[draco\]', or export it without Draco"):
            load_scene(path)


def test_without_its_library_the_plain_data_beside_draco_are_read(tmp_path, monkeypatch):
    builder = draco_file(is_required=False)
    plain = builder.accessor(SQUARE)
    builder.doc["accessors"][0] = builder.doc["accessors"][plain]
    primitive = builder.doc["meshes"][0]["primitives"][0]
    primitive["attributes"] = {"POSITION": 0}
    primitive["indices"] = builder.accessor([0, 1, 2], "u2")
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    assert load_scene(builder.save(tmp_path / "a.glb")).tris.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda p: p["extensions"][DRACO].update(bufferView=9), "refers to bufferView 9"),
        (lambda p: p["extensions"][DRACO].update(attributes=3), "names no attributes"),
        (lambda p: p["extensions"][DRACO]["attributes"].update(POSITION=99), "its library cannot read it"),
        (lambda p: p["extensions"][DRACO]["attributes"].update(POSITION="x"), "its library cannot read it"),
        (lambda p: p["extensions"][DRACO].update(bufferView=0), "its library cannot read it"),
        (lambda p: p["extensions"][DRACO]["attributes"].update(TEXCOORD_0=7), "is a VEC2, but Draco has 4"),
        (lambda p: p.pop("indices"), "no indices"),
    ],
)
def test_broken_draco(tmp_path, change, pattern):
    builder = draco_file()
    change(builder.doc["meshes"][0]["primitives"][0])
    with pytest.raises(SceneError, match=pattern):
        load_scene(builder.save(tmp_path / "a.glb"))
