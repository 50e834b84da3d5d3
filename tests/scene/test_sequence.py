"""OBJ and PLY files, and sequences of them, against trimesh and what was written."""

import numpy as np
import pytest
import trimesh

from genrender.errors import SceneError
from genrender.scene.load import load_scene, scene_files

CUBE = """
# a comment, and a line that goes \\
on
mtllib nowhere.mtl
o Box
v 0 0 0 1 0 0
v 1 0 0 1 0 0
v 1 1 0 1 0 0
v 0 1 0 1 0 0
vt 0 0
vt 1 0
vt 1 1
vt 0.25 0.75
vn 0 0 1
g ignored
usemtl red
f 1/1/1 2/2/1 3/3/1 4/4/1
o Roof
v 0 2 0
f -1 1 2
"""


def grid(n=4):
    """Vertices, triangles and coordinates of a flat grid."""
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.arange(n), np.arange(n)))
    cell = np.array([row * n + column for row in range(n - 1) for column in range(n - 1)])
    tris = np.concatenate(
        [np.stack(c, 1) for c in ((cell, cell + 1, cell + n), (cell + 1, cell + n + 1, cell + n))]
    )
    return np.stack([x, y, 0 * x], 1), tris, np.stack([x, y], 1) / (n - 1)


def write_obj(path, verts, tris=None):
    _, faces, uvs = grid()
    lines = [f"v {x} {y} {z}" for x, y, z in verts] + [f"vt {u} {v}" for u, v in uvs]
    lines += ["f " + " ".join(f"{i}/{i}" for i in tri + 1) for tri in (faces if tris is None else tris)]
    path.write_text("\n".join(lines))


def wave(frame):
    verts, _, _ = grid()
    return verts + np.array([0, 0, 1]) * np.sin(verts[:, :1] + frame)


def refused(path, pattern):
    with pytest.raises(SceneError, match=pattern) as caught:
        load_scene(path)
    assert "\n" not in str(caught.value)


def test_objects_polygons_and_coordinates_of_an_obj(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text(CUBE)
    scene = load_scene(path)
    assert [(o.name, o.n_tris, o.has_uvs) for o in scene.objects] == [("Box", 2, True), ("Roof", 1, False)]
    corners = scene.rest_verts[scene.tris]
    assert corners[1].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert corners[2].tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert scene.uvs[1].tolist() == [[0, 1], [1, 0], [0.25, 0.25]]
    assert (scene.animations, scene.cameras) == ((), ())


def test_groups_name_objects_where_nothing_else_does(tmp_path):
    path = tmp_path / "thing.obj"
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\ng left arm\nf 1 2 3\ng\nf 3 2 1\ng left arm\nf 2 3 1\n"
    )
    assert [(o.name, o.n_tris) for o in load_scene(path).objects] == [("thing", 2), ("left arm", 2)]


@pytest.mark.parametrize("suffix", ["obj", "ply"])
@pytest.mark.parametrize("shape", ["box", "icosphere", "annulus"])
def test_shapes_are_as_trimesh_has_them(tmp_path, suffix, shape):
    mesh = {
        "box": trimesh.creation.box,
        "icosphere": trimesh.creation.icosphere,
        "annulus": lambda: trimesh.creation.annulus(1, 2, 3),
    }[shape]()
    path = tmp_path / f"a.{suffix}"
    mesh.export(path)
    scene = load_scene(path)
    expected = trimesh.load_mesh(path, process=False)
    np.testing.assert_allclose(scene.rest_verts[scene.tris], expected.triangles, atol=1e-6)


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_coordinates_are_as_trimesh_has_them(tmp_path, suffix):
    verts, tris, uvs = grid()
    if suffix == "obj":
        write_obj(tmp_path / "a.obj", verts)
    else:
        header = "ply\nformat ascii 1.0\nelement vertex 16\n"
        header += "".join(f"property float {name}\n" for name in "xyzst")
        header += "element face 18\nproperty list uchar int vertex_indices\nend_header\n"
        rows = [" ".join(map(str, row)) for row in np.concatenate([verts, uvs], 1)]
        rows += [f"3 {a} {b} {c}" for a, b, c in tris]
        (tmp_path / "a.ply").write_text(header + "\n".join(rows) + "\n")
    path = tmp_path / f"a.{suffix}"
    scene = load_scene(path)
    expected = trimesh.load_mesh(path, process=False)
    np.testing.assert_allclose(scene.rest_verts[scene.tris], expected.triangles, atol=1e-6)
    flipped = expected.visual.uv[expected.faces] * [1, -1] + [0, 1]
    np.testing.assert_allclose(scene.uvs, flipped, atol=1e-6)


@pytest.mark.parametrize("endian", [("<", "little"), (">", "big")])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_binary_ply_with_polygons_and_coordinates_of_corners(tmp_path, endian, is_mixed):
    faces = [[0, 1, 2, 3], [3, 2, 4]] if is_mixed else [[0, 1, 2], [0, 2, 3]]
    verts = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 2, 0)]
    header = f"ply\nformat binary_{endian[1]}_endian 1.0\ncomment TextureFile x.png\nelement vertex 5\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "property uchar red\n"
    header += "element face 2\nproperty list uchar int vertex_indices\n"
    header += "property list uchar float texcoord\nproperty int texnumber\nend_header\n"
    data = header.encode()
    for vert in verts:
        data += np.array(vert, endian[0] + "f4").tobytes() + b"\x80"
    for face in faces:
        data += bytes([len(face)]) + np.array(face, endian[0] + "i4").tobytes()
        coordinates = [(vert / 8, vert / 16) for vert in face]
        data += bytes([2 * len(face)]) + np.array(coordinates, endian[0] + "f4").tobytes()
        data += np.array([0], endian[0] + "i4").tobytes()
    (tmp_path / "a.ply").write_bytes(data)
    scene = load_scene(tmp_path / "a.ply")
    expected = [[0, 1, 2], [0, 2, 3], [3, 2, 4]] if is_mixed else faces
    np.testing.assert_allclose(scene.rest_verts[scene.tris], np.array(verts)[expected])
    coordinates = np.stack([np.array(expected) / 8, 1 - np.array(expected) / 16], -1)
    np.testing.assert_allclose(scene.uvs, coordinates)


@pytest.mark.parametrize("spec", ["", "wave_*.obj", "wave_####.obj", "wave_%04d.obj"])
def test_a_sequence_is_one_scene_in_motion(tmp_path, spec):
    for frame in (8, 9, 10, 12):
        write_obj(tmp_path / f"wave_{frame:04d}.obj", wave(frame))
    path = tmp_path / spec if spec else tmp_path
    scene = load_scene(path)
    assert [(a.name, a.duration_s) for a in scene.animations] == [("Sequence", pytest.approx(4 / 24))]
    for number, frame in enumerate((8, 9, 10)):
        np.testing.assert_allclose(scene.evaluate(number / 24, 0), wave(frame), atol=1e-6)
    halfway = (wave(10) + wave(12)) / 2
    np.testing.assert_allclose(scene.evaluate(3 / 24, 0), halfway, atol=1e-6)
    np.testing.assert_allclose(scene.evaluate(9.0, 0), wave(12), atol=1e-6)
    np.testing.assert_allclose(scene.evaluate(-1.0, 0), wave(8), atol=1e-6)
    np.testing.assert_allclose(scene.rest_verts, wave(8), atol=1e-6)
    assert len(scene_files(path)) == 4


def test_a_sequence_may_have_a_rate_of_its_own(tmp_path):
    for frame in range(3):
        write_obj(tmp_path / f"{frame}.obj", wave(frame))
    scene = load_scene(f"{tmp_path}/*.obj@12.5")
    assert scene.animations[0].duration_s == pytest.approx(2 / 12.5)
    np.testing.assert_allclose(scene.evaluate(2 / 12.5, 0), wave(2), atol=1e-6)


def test_changing_topology_is_refused(tmp_path):
    verts, tris, _ = grid()
    write_obj(tmp_path / "a_1.obj", verts)
    write_obj(tmp_path / "a_2.obj", verts, tris[:-1])
    refused(tmp_path / "a_*.obj", "a_2.obj: has other faces than a_1.obj.*bake .* one topology")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "a face with vertex 4, but only 3"),
        ("v 0 0 0\nf 1 2 -9\n", "line 2 is no face"),
        ("v 0 0 0\nf 1 x 2\n", "line 2 is no face"),
        ("v 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "line 1 is 'v 0 0', expected 'v' and 3 numbers"),
        (
            "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
            "holds no triangles but 1 without an area or finite corners",
        ),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 0 1 2\n", r"line 4 is no face: 'f 0 1 2' \(indices begin at 1\)"),
        ("v 0 0 0\nf 1 1 99999999999999999999999\n", "line 2 is no face: .*index 99999999999999999999"),
        ("v 0 0 0\nvt 0 0\nf 1/99999999999999999999 1/1 1/1\n", "line 3 is no face"),
        ("v 0 0 0\n\nv 1,5 0 0\n", "line 3 is 'v 1,5 0 0', expected 'v' and 3 numbers"),
        ("v 0 0 0\nvt\nvt a 0\n", "line 2 is 'vt', expected 'vt' and 2 numbers"),
        ("v 0 0 1.#QNAN\n", "line 1 is 'v 0 0 1.#QNAN', expected"),
        ("v 0 0 0\nl 1 1\n", "holds no triangles"),
        ("", "holds no triangles"),
    ],
)
def test_broken_obj(tmp_path, text, pattern):
    (tmp_path / "a.obj").write_text(text)
    refused(tmp_path / "a.obj", pattern)


PLY = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", "cannot be read as PLY"),
        ("ply\nformat ascii 1.0\n", "no header"),
        (
            PLY.format("binary_little_endian", 4_000_000_000) + "end_header\n",
            "4,000,000,000 vertex",
        ),
        (PLY.format("ascii", 4_000_000_000) + "end_header\n0 0 0\n", "4,000,000,000 vertex"),
        (PLY.format("odd", 1) + "end_header\n0 0 0\n", "format 'odd'"),
        (
            PLY.format("ascii", 1) + "property list uchar int x x\nend_header\n0 0 0\n",
            "cannot be read as PLY",
        ),
        (PLY.format("ascii", 1) + "end_header\n0 0 0\n", "holds no triangles"),
        (
            PLY.format("ascii", 1)
            + "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n3 0 0 9\n",
            "a face with vertex 9, but only 1",
        ),
    ],
)
def test_broken_ply(tmp_path, text, pattern):
    (tmp_path / "a.ply").write_text(text)
    refused(tmp_path / "a.ply", pattern)


def test_broken_specifications(tmp_path):
    refused(tmp_path, "is a folder, expected a scene file or a folder of .obj or .ply")
    refused(tmp_path / "*.obj", "expected a sequence of .obj or of .ply.* files, found none")
    refused(tmp_path / "nowhere" / "f_%04d.ply", "found none")
    write_obj(tmp_path / "a.obj", wave(0))
    refused(tmp_path / "a.obj@24", "scene file not found")
    refused(tmp_path / "*.obj@0", "more than 0 frames per second")
    trimesh.creation.box().export(tmp_path / "b.ply")
    refused(tmp_path, "found .obj and .ply")


@pytest.mark.parametrize("suffix", ["fbx", "blend", "dae"])
def test_other_formats_say_how_to_convert(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"")
    refused(tmp_path / f"a.{suffix}", "is not read; open it in Blender and export it as glTF")


def test_faces_keep_the_coordinates_that_they_have(tmp_path):
    obj = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nv 2 0 0\nv 2 1 0\n"
    (tmp_path / "a.obj").write_text(obj + "f 1/1 2/2 3/3 4/4\nf 2 5 6 3\nf 2/1 5/9 6\nf 2/0/1 5/0/1 6/0/1\n")
    scene = load_scene(tmp_path / "a.obj")
    assert scene.has_uvs.tolist() == [True, True, False, False, False, False]
    assert scene.uvs[1].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert not scene.uvs[2:].any()
    assert [thing.has_uvs for thing in scene.objects] == [False]
    header = PLY.format("ascii", 4) + "element face 3\nproperty list uchar int vertex_indices\n"
    header += "property list uchar float texcoord\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
    (tmp_path / "a.ply").write_text(header + "3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 0\n3 0 1 3 2 1 1\n")
    scene = load_scene(tmp_path / "a.ply")
    assert scene.has_uvs.tolist() == [True, False, False]
    assert scene.uvs[0].tolist() == [[0, 1], [1, 1], [1, 0]]


@pytest.mark.parametrize("value", ["nan", "1e30", "-70000", "1e400"])
def test_coordinates_that_tell_no_place_count_as_missing(tmp_path, value):
    text = f"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt {value} 0\n"
    (tmp_path / "a.obj").write_text(text + "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    assert load_scene(tmp_path / "a.obj").has_uvs.tolist() == [True, False]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_byte_order_marks_and_what_they_announce(tmp_path, encoding):
    text = "o Kör per\r\nv 0 0 0\r\nv 1 0 0\r\nv 1 1 0\r\nf 1 2 3\r\n"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "a.obj").write_bytes(mark + text.encode(encoding))
    assert [thing.name for thing in load_scene(tmp_path / "a.obj").objects] == ["Kör per"]


def test_comments_behind_values_and_coordinates_of_one_number(tmp_path):
    text = "o Number#1\nv 0 0 0 # a\nv 1 0 0#b\nv 1 1 0\nvt 0\nvt 0.5 # c\nvt 1 0 0\nf 1/1 2/2 3/3 # a face\n"
    (tmp_path / "a.obj").write_text(text + "f 1/1 2/2 3/3# 9\n")
    scene = load_scene(tmp_path / "a.obj")
    assert [thing.name for thing in scene.objects] == ["Number#1"]
    assert scene.uvs.tolist() == [[[0, 1], [0.5, 1], [1, 1]]] * 2


def test_rows_of_a_ply_end_with_their_lines(tmp_path):
    header = PLY.format("ascii", 4) + "element face 2\nproperty list uchar int vertex_indices\n"
    header += (
        "property list uchar float texcoord\nproperty int texnumber\ncomment no end_header yet\nend_header\n"
    )
    rows = "0 0 0 7 7\n1 0 0\n\n1 1 0 9\n0 1 0\n"
    rows += "3 0 1 2 6 0 0 1 0 1 1 0 1 1 1\n3 0 2 3 6 0.2 0.2 0.7 0.7 0.2 0.9 0 5 5\n"
    (tmp_path / "a.ply").write_text(header + rows)
    scene = load_scene(tmp_path / "a.ply")
    assert scene.rest_verts[scene.tris[1]].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 0]]
    np.testing.assert_allclose(scene.uvs[:, 0], [[0, 1], [0.2, 0.8]], atol=1e-6)


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_strips_of_triangles(tmp_path, encoding):
    header = (
        PLY.format(encoding, 5) + "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    verts = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0)]
    strip = [0, 1, 2, 3, 4, -1, 0, 0, 1, 2, -1, 4]
    if encoding == "ascii":
        body = "\n".join(" ".join(map(str, row)) for row in [*verts, [len(strip), *strip]]).encode()
    else:
        body = np.array(verts, "<f4").tobytes() + np.array([len(strip), *strip], "<i4").tobytes()
    (tmp_path / "a.ply").write_bytes(header.encode() + body)
    scene = load_scene(tmp_path / "a.ply")
    assert scene.tris.tolist() == [[0, 1, 2], [2, 1, 3], [2, 3, 4], [1, 0, 2]]
    first, second, third = scene.rest_verts[scene.tris[:3]].swapaxes(0, 1)
    assert np.cross(second - first, third - first)[:, 2].tolist() == [1, 1, 1]


FACES = "element face 2\nproperty list uchar int vertex_indices\nend_header\n"


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (PLY.format("ascii", 3) + FACES + "0 0 0\n1 0 0\n1 1 0\n3 0 1 2\n3 0", "line 14: '3 0' is no face"),
        (
            PLY.format("ascii", 3) + FACES + "0 0 0\n1 0 0\n1 1 0\n3 0 1 2\n",
            "2 face announced, but .* after 1",
        ),
        (PLY.format("ascii", 3) + FACES + "0 0 0\n1 0\n1 1 0\n3 0 1 2\n", "line 11: '1 0' is no vertex"),
        (PLY.format("ascii", 3) + FACES + "0 0 0\n1 0 x\n1 1 0\n3 0 1 2\n", "line 11: '1 0 x' is no vertex"),
        (PLY.format("ascii", "many"), "line 3: 'element vertex many' is no element"),
        (PLY.format("ascii", 1) + "property half w\n", "line 7: 'property half w' is no element or property"),
        ("ply\nproperty float x\n", "property 'x' stands before any element"),
        ("\xff\xfe", "UTF-16"),
        ("ply\nelement face 1\nproperty list float int vertex_indices\n", "line 3: 'property list float int"),
        (
            "ply\nformat ascii 1.0\nelement vertex 1\n"
            + "".join(f"property list uchar float {axis}\n" for axis in "xyz")
            + "end_header\n1 0 1 0 1 0\n",
            "no element vertex with numbers x, y and z",
        ),
    ],
)
def test_lines_of_a_ply_that_make_no_sense_are_named(tmp_path, text, pattern):
    (tmp_path / "a.ply").write_bytes(text.encode("latin-1"))
    refused(tmp_path / "a.ply", pattern)
