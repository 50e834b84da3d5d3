"""Small files that announce endless things, and large ones: refused before they take time or memory."""

import json
import os
import struct
import time
import tracemalloc

import numpy as np
import OpenEXR
import pytest

from genrender.errors import GenRenderError, SceneError
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.load import load_scene

MANY = 2**32 - 1


def gltf(accessor, **more):
    doc = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"componentType": 5126, "type": "VEC3", "count": MANY, **accessor}],
        **more,
    }
    return json.dumps(doc).encode()


VIEW = {
    "bufferViews": [{"buffer": 0, "byteLength": 12}],
    "buffers": [{"byteLength": 12, "uri": "data:;base64,AAAAAAAAAAAAAAAA"}],
}
LONG_VIEW = {
    "bufferViews": [{"buffer": 0, "byteLength": 12 * MANY}],
    "buffers": [{"byteLength": 12 * MANY, "uri": "data:;base64,AAAA"}],
}
PLY = """ply
format {} 1.0
element vertex {}
property float x
property float y
property float z
element face {}
property list uint int vertex_indices
end_header
"""
USDA = '#usda 1.0\ndef Mesh "A"\n{\nint[] faceVertexCounts = [%s]\nint[] faceVertexIndices = [0, 1, %s]\n'
USDA += "point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]\n}\n"
ABSURD = {
    "no_data.gltf": gltf({}),
    "out_of_bounds.gltf": gltf({"bufferView": 0}, **VIEW),
    "long_view.gltf": gltf({"bufferView": 0}, **LONG_VIEW),
    "sparse.gltf": gltf({"sparse": {"count": MANY, "indices": {}, "values": {}}}),
    "chunk.glb": struct.pack("<4sII I4s", b"glTF", 2, MANY, MANY, b"JSON") + b"{}",
    "index.obj": f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 {MANY}\n".encode(),
    "ascii.ply": PLY.format("ascii", MANY, 1).encode() + b"0 0 0\n",
    "binary.ply": PLY.format("binary_little_endian", MANY, 1).encode() + bytes(12),
    "list.ply": PLY.format("binary_little_endian", 1, 1).encode() + bytes(12) + struct.pack("<I", MANY),
    "faces.ply": PLY.format("binary_little_endian", 1, MANY).encode() + bytes(12),
    "corners.usda": (USDA % (2**31 - 1, 2)).encode(),
    "index.usda": (USDA % (3, 2**31 - 1)).encode(),
}


@pytest.mark.parametrize("name", ABSURD)
def test_four_thousand_million_elements_in_a_few_hundred_bytes(tmp_path, name):
    if name.endswith(".usda"):
        pytest.importorskip("pxr.Usd")
        import genrender.scene.formats.usd.read  # noqa: F401 (its libraries take seconds)
    path = tmp_path / name
    path.write_bytes(ABSURD[name])
    assert path.stat().st_size < 800
    with pytest.raises(SceneError):  # once before the clock runs: readers import their libraries then
        load_scene(path)
    tracemalloc.start()
    started_s = time.process_time()
    with pytest.raises(SceneError) as raised:
        load_scene(path)
    spent_s, peak = time.process_time() - started_s, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert spent_s < 0.5
    assert peak < 5e6


@pytest.fixture
def exr(tmp_path):
    path = tmp_path / "a.exr"
    one, zeros = np.ones((4, 4), np.int32), np.zeros((4, 4, 2), np.float32)
    write_exr(path, GBuffer(np.ones((4, 4), np.float32), zeros, one, -one, zeros))
    return path


def test_a_picture_of_four_thousand_million_pixels(exr):
    data = exr.read_bytes()
    corner, huge = struct.pack("<4i", 0, 0, 3, 3), struct.pack("<4i", 0, 0, 65535, 65535)
    assert data.count(corner) == 2
    exr.write_bytes(data.replace(corner, huge))
    with pytest.raises(GenRenderError, match="announces 4 channels of 65536x65536 pixels"):
        read_exr(exr)


@pytest.mark.parametrize("text", [b"IndexOB.X", b"string\0\6\0\0\0Crypto"])  # a channel, a type
def test_names_that_are_no_text(exr, text):
    header, channels = OpenEXR.File(str(exr)).header(), OpenEXR.File(str(exr)).channels()
    OpenEXR.File({**header, "cryptomatte/1a2b3c4/name": "Crypto"}, channels).write(str(exr))
    data = exr.read_bytes()
    assert data.count(text) == 1
    exr.write_bytes(data.replace(text, b"\x91" + text[1:]))
    with pytest.raises(GenRenderError, match=r"its header is damaged|cannot read it .* is damaged:"):
        read_exr(exr)


@pytest.mark.parametrize("name", ["a.gltf", "a.glb", "a.obj", "a.ply"])
def test_files_that_would_fill_the_memory_are_not_read(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(5 * 2**30)  # takes no room on the disk
    with pytest.raises(SceneError, match=r"has 5,369 MB, expected at most [\d,]+ MB"):
        load_scene(path)


def test_many_buffers_that_name_one_large_file(tmp_path):
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(2**31 + 1)
    doc = json.loads(gltf({"bufferView": 0}, **VIEW))
    doc["buffers"] = [{"byteLength": 12, "uri": "large.bin"}]
    (tmp_path / "a.gltf").write_text(json.dumps(doc))
    with pytest.raises(SceneError, match=r"large.bin: has 2,147 MB"):
        load_scene(tmp_path / "a.gltf")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.ply")
    with pytest.raises(SceneError):
        load_scene(tmp_path / "a.ply")


def test_references_that_multiply(tmp_path):
    pytest.importorskip("pxr.Usd")
    lines = ["#usda 1.0"]
    for level in range(8):
        lines.append(f'def Xform "L{level}"\n{{')
        if level == 0:
            lines.append('def Mesh "M" {\npoint3f[] points = [(0, 0, 0)]\n}')
        else:
            link = f"instanceable = true\nreferences = </L{level - 1}>"
            lines += [f'def "C{n}" (\n{link}\n)\n{{\n}}' for n in range(10)]
        lines.append("}")
    path = tmp_path / "a.usda"
    path.write_text("\n".join(lines))
    with pytest.raises(SceneError, match="more than 262,144 prims"):
        load_scene(path)


def test_points_of_another_type(tmp_path):
    pytest.importorskip("pxr.Usd")
    path = tmp_path / "a.usda"
    path.write_text((USDA % (3, 2)).replace("point3f[] points", "inf points"))
    with pytest.raises(SceneError, match="points that are none"):
        load_scene(path)


def test_coordinates_that_float32_cannot_compute_with(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 3e38 0 0\nv 0 -3e38 0\nf 1 2 3\n")
    with pytest.raises(SceneError, match=r"beyond 1e\+18 m"):
        load_scene(path)
