"""Small scenes of the kinds that the assets lack, for benchmarks that damage files."""

# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (usd-core and alembic3d fill their modules while they are imported: a type checker sees them empty)

import json
import struct
import sys
from pathlib import Path

import numpy as np

OBJ = """o card
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0.5
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 2/2 3/3 4/4
g other
v 2 0 0
f -1 2 3
"""
PLY = """ply
format ascii 1.0
element vertex 4
property float x
property float y
property float z
property float s
property float t
element face 2
property list uchar int vertex_indices
end_header
0 0 0 0 0
1 0 0 1 0
1 1 0 1 1
0 1 0.5 0 1
3 0 1 2
4 0 1 2 3
"""
USDA = """#usda 1.0
(
    defaultPrim = "Top"
    endTimeCode = 10
    metersPerUnit = 0.01
    startTimeCode = 1
    timeCodesPerSecond = 24
    upAxis = "Z"
)
def Xform "Top"
{
    double3 xformOp:translate.timeSamples = { 1: (0, 0, 0), 10: (1, 2, 3) }
    uniform token[] xformOpOrder = ["xformOp:translate"]
    def Mesh "Card"
    {
        int[] faceVertexCounts = [4, 3]
        int[] faceVertexIndices = [0, 1, 2, 3, 0, 1, 4]
        point3f[] points = [(0, 0, 0), (100, 0, 0), (100, 100, 0), (0, 100, 0), (50, -50, 20)]
        texCoord2f[] primvars:st = [(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0)] ( interpolation = "vertex" )
    }
    def Camera "Eye"
    {
        float focalLength = 35
        float verticalAperture = 24
        double3 xformOp:translate = (0, 0, 500)
        uniform token[] xformOpOrder = ["xformOp:translate"]
    }
    def PointInstancer "Many"
    {
        int[] protoIndices = [0, 0]
        point3f[] positions = [(0, 0, 0), (200, 0, 0)]
        rel prototypes = </Top/Many/Proto>
        over "Proto"
        {
            def Mesh "Triangle"
            {
                int[] faceVertexCounts = [3]
                int[] faceVertexIndices = [0, 1, 2]
                point3f[] points = [(0, 0, 0), (10, 0, 0), (0, 10, 0)]
            }
        }
    }
}
"""


def make_samples(folder: Path) -> list[Path]:
    """Small files of the kinds that the assets lack."""
    from genrender.gbuffer.exr.frame import write_exr
    from genrender.scene.load import load_scene
    from genrender.shots.clip import ShotConfig, plan_shot

    (folder / "sample.obj").write_text(OBJ)
    (folder / "ascii.ply").write_text(PLY)
    head, body = PLY.split("end_header\n")
    rows = [list(map(float, line.split())) for line in body.splitlines()]
    packed = b"".join(struct.pack("<5f", *row) for row in rows[:4])
    packed += b"".join(struct.pack(f"<B{len(row) - 1}i", *map(int, row)) for row in rows[4:])
    head = head.replace("ascii", "binary_little_endian") + "end_header\n"
    (folder / "binary.ply").write_bytes(head.encode() + packed)
    shot = plan_shot(load_scene(folder / "sample.obj"), ShotConfig(size=(16, 16)))
    write_exr(folder / "sample.exr", shot.gbuffer(0))
    _write_cryptomatte(folder / "crypto.exr")
    _write_glb(folder / "sample.glb")
    made = ["sample.obj", "sample.glb", "ascii.ply", "binary.ply", "sample.exr", "crypto.exr"]
    (folder / "sample.usda").write_text(USDA)
    try:
        from pxr import Usd

        Usd.Stage.Open(str(folder / "sample.usda")).Export(str(folder / "sample.usdc"))
        made += ["sample.usda", "sample.usdc"]
    except ModuleNotFoundError:
        print("usd-core is not installed: USD is left out", file=sys.stderr)
    try:
        _write_alembic(folder / "sample.abc")
        made.append("sample.abc")
    except ModuleNotFoundError:
        print("alembic3d is not installed: Alembic is left out", file=sys.stderr)
    return [folder / name for name in made]


def _write_glb(path: Path) -> None:
    """A square that turns."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    turns = np.array([[0, 0, 0, 1], [0, 1, 0, 0]], np.float32)
    parts = (
        points,
        points[:, :2],
        np.array([0, 1, 2, 0, 2, 3], np.uint32),
        np.array([0, 1], np.float32),
        turns,
    )
    kinds = ("VEC3", "VEC2", "SCALAR", "SCALAR", "VEC4")
    views, accessors, data = [], [], b""
    for index, (part, kind) in enumerate(zip(parts, kinds, strict=True)):
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": part.nbytes})
        component = 5125 if part.dtype == np.uint32 else 5126
        count = part.size if kind == "SCALAR" else len(part)
        accessors.append({"bufferView": index, "componentType": component, "count": count, "type": kind})
        data += part.tobytes()
    root = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(data)}],
        "bufferViews": views,
        "accessors": accessors,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2}]}],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1}}],
        "nodes": [{"mesh": 0}, {"camera": 0, "translation": [0, 0, 4]}],
        "scenes": [{"nodes": [0, 1]}],
        "scene": 0,
        "animations": [
            {
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "rotation"}}],
                "samplers": [{"input": 3, "output": 4}],
            }
        ],
    }
    text = json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def _write_cryptomatte(path: Path) -> None:
    import OpenEXR

    values = np.zeros((8, 8), np.float32)
    values[2:6] = 1
    rank = np.where(values > 0, np.uint32(0x3F2A51C7), np.uint32(0)).view(np.float32)
    channels = {"Depth.Z": 5 * values, "UV.U": values, "UV.V": values}
    channels |= {"Crypto00.R": rank, "Crypto00.G": values}
    header = {
        "compression": OpenEXR.ZIPS_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "cryptomatte/1a2b3c4/name": "Crypto",
        "cryptomatte/1a2b3c4/manifest": '{"Card":"3f2a51c7"}',
    }
    OpenEXR.File(header, channels).write(str(path))


def _write_alembic(path: Path) -> None:
    """A triangle that moves and changes its shape, seen by a camera."""
    import imath
    from alembic3d import Abc, AbcCoreAbstract, AbcGeom

    archive = Abc.OArchive(str(path))
    archive.addTimeSampling(AbcCoreAbstract.TimeSampling(1 / 24, 1.0))
    place = AbcGeom.OXform(archive.getTop(), "Card", 1)
    mesh = AbcGeom.OPolyMesh(place, "CardShape", 1)
    positions, indices, counts = imath.V3fArray(3), imath.IntArray(3), imath.IntArray(1)
    counts[0] = 3
    for number in range(2):
        move = AbcGeom.XformSample()
        move.setTranslation(imath.V3d(number, 0, 0))
        place.getSchema().set(move)
        for corner, point in enumerate([(0, 0, 0), (0, 1 + number, 0), (1, 0, 0)]):
            positions[corner] = imath.V3f(*map(float, point))
            indices[corner] = corner
        mesh.getSchema().set(AbcGeom.OPolyMeshSchemaSample(positions, indices, counts))
    AbcGeom.OCamera(archive.getTop(), "Eye").getSchema().set(AbcGeom.CameraSample())
