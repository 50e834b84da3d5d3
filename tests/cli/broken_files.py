"""A folder of files that commands cannot use: what the table of provocations names."""

import io
import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import torch
from PIL import Image
from safetensors.torch import save_file
from scene.gltf_builder import SQUARE, TRIANGLE, GltfBuilder, morphing, one_triangle, skinned_strip

from genrender.cli import main
from genrender.runs.folder import RunFolder
from genrender.sampling.store import RunStore

Doc = dict[str, Any]


def primitive(doc: Doc) -> Doc:
    return doc["meshes"][0]["primitives"][0]


DRACO = "KHR_draco_mesh_compression"
# One triangle, with one mistake each.
CHANGES: dict[str, Callable[[Doc], Any]] = {
    "accessor": lambda d: d["accessors"][0].update(count=4),
    "count": lambda d: d["accessors"][0].update(count="many"),
    "component": lambda d: d["accessors"][0].update(componentType=5130),
    "kind": lambda d: d["accessors"][0].update(type="VEC2"),
    "no_data": lambda d: d["accessors"][0].update(bufferView=None, count=10**12),
    "view": lambda d: d["bufferViews"][0].update(byteLength=999),
    "stride": lambda d: d["bufferViews"][0].update(byteStride=5),
    "no_length": lambda d: d["buffers"][0].update(byteLength="long"),
    "cut": lambda d: d["buffers"][0].update(byteLength=10**9),
    "mode": lambda d: primitive(d).update(mode=9),
    "floats": lambda d: primitive(d).update(indices=0),
    "reference": lambda d: d["nodes"][0].update(mesh=4),
    "no_mesh": lambda d: d["meshes"].__setitem__(0, None),
    "circle": lambda d: d["nodes"][0].update(children=[0]),
    "translation": lambda d: d["nodes"][0].update(translation=[1, 2]),
    "scale": lambda d: d["nodes"][0].update(scale=[1e300, 1, 1]),
    "extension": lambda d: d.update(extensionsRequired=["MSFT_lod"]),
    "elsewhere": lambda d: d["buffers"][0].update(uri="/etc/hostname"),
    "web": lambda d: d["buffers"][0].update(uri="http://example.com/a.bin"),
    "lost": lambda d: d["buffers"][0].update(uri="lost.bin"),
    "comma": lambda d: d["buffers"][0].update(uri="data:application/octet-stream;base64"),
    "base64": lambda d: d["buffers"][0].update(uri="data:application/octet-stream;base64,AAA"),
    "null": lambda d: d["buffers"][0].update(uri="\0"),
    "no_blob": lambda d: d["buffers"][0].update(uri=None),
    "structure": lambda d: d["nodes"][0].update(children=7),
    "parents": lambda d: d["nodes"].extend([{"children": [0]}, {"children": [0]}]),
    "draco_data": lambda d: (
        primitive(d).update(extensions={DRACO: {"bufferView": 0, "attributes": {"POSITION": 0}}}),
        d.update(extensionsRequired=[DRACO]),
    ),
    "draco": lambda d: primitive(d).update(extensions={DRACO: {"bufferView": 0}}),
}
CARD = (
    'def Mesh "Card"\n{\n    int[] faceVertexCounts = [3]\n    int[] faceVertexIndices = [0, 1, 2]\n'
    "    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]\n}\n"
)
TEXTS = {
    "notes.txt": "no scene",
    "letter.glb": "Dear Sir or Madam,",
    "comma.json.gltf": '{\n  "asset": {"version": "2.0"},\n  "nodes": [{]\n}',
    "old.gltf": '{"asset": {"version": "1.0"}}',
    "list.gltf": "[]",
    "table.gltf": "{}",
    "car.fbx": "Kaydara",
    "empty.obj": "# nothing\n",
    "vertex.obj": "v 0 0\nf 1 1 1\n",
    "face.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 x\n",
    "corner.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    "junk.ply": "ply\nformat ascii 1.0\n",
    "row.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    "property float z\n"
    "element face 0\nproperty list uchar int vertex_indices\nend_header\n0 x 0\n",
    "syntax.usda": '#usda 1.0\ndef Mesh "Card"\n{\n    int[] faceVertexCounts = [3\n}\n',
    "bare.usda": '#usda 1.0\ndef Xform "Top"\n{\n}\n',
    "rate.usda": "#usda 1.0\n(\n    timeCodesPerSecond = 0\n)\n",
    "unit.usda": f"#usda 1.0\n(\n    metersPerUnit = 0\n)\n{CARD}",
    "axis.usda": '#usda 1.0\ndef Cylinder "Can"\n{\n    uniform token axis = "W"\n}\n',
    "corners.usda": '#usda 1.0\ndef Mesh "Card"\n{\n    int[] faceVertexCounts = [3]\n'
    "    int[] faceVertexIndices = [0, 1]\n    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]\n}\n",
    "far.usda": '#usda 1.0\ndef Mesh "Card"\n{\n    int[] faceVertexCounts = [3]\n'
    "    int[] faceVertexIndices = [0, 1, 7]\n    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]\n}\n",
    "junk.abc": "Ogawa",
    "wave/a_1.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "wave/a_2.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n",
    "mixed/a_1.obj": "v 0 0 0\n",
    "mixed/a_2.ply": "ply\n",
    "text.exr": "no picture",
    "exr-junk/a.exr": "no picture",
    "files/letter.txt": "mine",
    "a-file": "",
    "pickled.pt": "",
    "model.ckpt": "",
    "cut.safetensors": "x",
    "picture.png": "no picture",
}
CAMERAS: dict[str, Any] = {
    "number": 3,
    "unknown": {"eye": [0, 0, 3], "target": [0, 0, 0], "lens": 35},
    "no_eye": {"target": [0, 0, 0]},
    "same": {"eye": [0, 0, 3], "target": [0, 0, 3]},
    "no_up": {"eye": [0, 0, 3], "target": [0, 0, 0], "up": [0, 0, 0]},
    "two_lenses": {"eye": [0, 0, 3], "target": [0, 0, 0], "yfov_deg": 40, "focal_mm": 35},
    "wide": {"eye": [0, 0, 3], "target": [0, 0, 0], "yfov_deg": 400},
    "when": {"eye": [0, 0, 3], "target": [0, 0, 0], "time": "soon"},
    "no_time": [{"eye": [0, 0, 3], "target": [0, 0, 0]}] * 2,
    "late": [{"eye": [0, 0, 3], "target": [0, 0, 0], "time": 1}] * 2,
    "lenses": [
        {"eye": [0, 0, 3], "target": [0, 0, 0], "time": 0, "ymag": 1},
        {"eye": [0, 0, 3], "target": [0, 0, 0], "time": 1},
    ],
    "through": [
        {"eye": [0, 0, 1], "target": [0, 0, 0], "time": 0},
        {"eye": [0, 0, -1], "target": [0, 0, 0], "time": 1},
    ],
    "away": {"eye": [0, 0, 3], "target": [0, 0, 9]},
}
EXR_MAPS = {
    "unknown": {"depths": "Z"},
    "number": {"yfov_deg": 300},
    "kind": {"depth": 3},
    "distance": {"depth_is": "distance"},
    "nowhere": {"depth": "Nowhere.Z"},
}


def make_all(folder: Path, model: Path, card: Path, bare: Path) -> None:
    """Fills the folder.

    Args:
        folder: an empty one; commands are called in it.
        model: a tiny model.
        card: a scene with texture coordinates, two animations and a camera.
        bare: one without all that.
    """
    shutil.copytree(model, folder / "tiny")
    shutil.copy(card, folder / "card.glb")
    shutil.copy(bare, folder / "bare.glb")
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for name, change in CHANGES.items():
        builder = one_triangle()
        change(builder.doc)
        path = builder.save(folder / f"{name}.gltf")
        if name == "no_blob":  # `save` gives every buffer a place
            builder.doc["buffers"][0].pop("uri")
            path.write_text(json.dumps(builder.doc))
    for name, entries in CAMERAS.items():
        (folder / f"camera_{name}.json").write_text(json.dumps(entries))
    for name, entries in EXR_MAPS.items():
        (folder / f"map_{name}.json").write_text(json.dumps(entries))
    for name in ("a-folder.mp4", "a-folder.html", "empty", "void"):
        (folder / name).mkdir()
    _more_scenes(folder)
    _models(folder)
    _exr_files(folder)
    _runs(folder)


def _more_scenes(folder: Path) -> None:
    data = (folder / "card.glb").read_bytes()
    (folder / "short.glb").write_bytes(data[:-100])
    (folder / "stub.glb").write_bytes(data[:8])
    (folder / "v1.glb").write_bytes(struct.pack("<4sII", b"glTF", 1, 20) + b"\0" * 8)
    (folder / "chunk.glb").write_bytes(struct.pack("<4sIII4s", b"glTF", 2, 20, 0, b"BIN\0"))
    (folder / "utf16.gltf").write_text('{"asset": {"version": "2.0"}}', encoding="utf-16")
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(np.array(TRIANGLE, np.float32) * [1, np.nan, 1]))
    builder.save(folder / "nan.glb")
    builder = one_triangle()
    builder.doc["scenes"][0]["nodes"] = []
    builder.save(folder / "empty.glb")
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 4]))
    builder.save(folder / "index.glb")
    skinned_strip(np.tile([0, 7, 0, 0], (6, 1)), np.tile([0.5, 0.5, 0, 0], (6, 1))).save(folder / "joint.glb")
    skinned_strip(np.tile([0, 1, 0, 0], (6, 1)), np.tile([3e38, 3e38, 0, 0], (6, 1))).save(
        folder / "heavy.glb"
    )
    builder = skinned_strip()
    builder.doc["skins"][0]["joints"] = []
    builder.save(folder / "no_joints.glb")
    builder = skinned_strip()
    builder.doc["skins"][0]["joints"] = [1]
    builder.save(folder / "matrices.glb")
    builder = morphing(is_sparse=True)
    builder.doc["accessors"][0]["count"] = 4
    view = builder.doc["accessors"][0]["sparse"]["indices"]["bufferView"]
    at = builder.doc["bufferViews"][view]["byteOffset"]
    builder.blob = builder.blob[:at] + b"\xff" + builder.blob[at + 1 :]
    builder.save(folder / "sparse.glb")
    still = [[0, 0, 0]] * 2
    for name, times, values, interpolation in (
        ("keys", [1, 0], still, "LINEAR"),
        ("values", [0, 1], [[0, 0, 0], [np.inf, 0, 0]], "LINEAR"),
        ("n_values", [0, 1], [[0, 0, 0]] * 3, "LINEAR"),
        ("curve", [0, 1], still, "BEZIER"),
    ):
        builder = one_triangle()
        builder.animate("move", [(0, "translation", times, values, interpolation)])
        builder.save(folder / f"{name}.glb")
    builder.doc["animations"][0]["channels"][0]["sampler"] = 9
    builder.save(folder / "sampler.glb")
    builder = one_triangle(scale=[1e17, 1, 1])
    builder.node(is_root=True, children=[0])
    builder.doc["scenes"][0]["nodes"] = [1]
    builder.animate("boom", [(1, "scale", [0, 1], [[1, 1, 1], [1e30, 1, 1]], "LINEAR")])
    builder.save(folder / "boom.glb")
    morphing([0.5]).save(folder / "morph_weights.gltf")
    builder = morphing()
    view = builder.doc["bufferViews"][builder.doc["accessors"][1]["bufferView"]]["byteOffset"]
    builder.blob = builder.blob[:view] + b"\0\0\xc0\x7f" + builder.blob[view + 4 :]
    builder.save(folder / "morphs.glb")


def _models(folder: Path) -> None:
    for name, content in {
        "damaged": "{",
        "other": json.dumps({"sample_size": "wide"}),
        "list": "[]",
        "sizeless": json.dumps({"sample_size": None}),
    }.items():
        for part in ("unet", "vae"):
            (folder / name / part).mkdir(parents=True)
            (folder / name / part / "config.json").write_text(content)
    shutil.copytree(folder / "tiny", folder / "no-tokenizer")
    for file in (folder / "no-tokenizer" / "tokenizer").iterdir():
        file.unlink()
    save_file({"weight": torch.zeros(2)}, folder / "plain.safetensors")
    save_file(
        {"lora_unet_nowhere.lora_down.weight": torch.zeros(2, 4)}
        | {"lora_unet_nowhere.lora_up.weight": torch.zeros(4, 2)},
        folder / "misfit.safetensors",
    )
    save_file({"emb_params": torch.zeros(1, 7)}, folder / "word.safetensors")
    save_file({"image_proj.proj.weight": torch.zeros(2)}, folder / "half.safetensors")
    Image.new("RGB", (8, 8)).save(folder / "good.png")


def _exr_files(folder: Path) -> None:
    def write(path: Path, names: str, side: int = 16, **changed: np.ndarray) -> None:
        path.parent.mkdir(exist_ok=True)
        seen = np.zeros((side, side), np.float32)
        seen[4:12, 4:12] = 1
        all_of_it = {"Depth.Z": 5 * seen, "UV.U": seen / 2, "UV.V": seen / 2, "IndexOB.X": seen} | changed
        channels = {name: all_of_it[name] for name in names.split(",")}
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, channels).write(str(path))

    every = "Depth.Z,UV.U,UV.V,IndexOB.X"
    part = np.full((16, 16), 0.5, np.float32)
    write(folder / "exr-good" / "a_1.exr", every)
    write(folder / "exr-good" / "a_2.exr", every)
    write(folder / "exr-no-uv" / "a_1.exr", "Depth.Z,IndexOB.X")
    write(folder / "exr-two" / "a_1.exr", every + ",Far.Z", **{"Far.Z": part})
    write(folder / "exr-soft" / "a_1.exr", every, **{"IndexOB.X": part})
    write(folder / "exr-flat" / "a_1.exr", every, **{"Depth.Z": 0 * part})
    write(folder / "exr-nan" / "a_1.exr", every, **{"UV.U": np.nan * part})
    write(folder / "exr-sizes" / "a_1.exr", every)
    write(folder / "exr-sizes" / "a_2.exr", every, side=32)
    write(folder / "exr-gap" / "a_1.exr", every)
    write(folder / "exr-gap" / "a_2.exr", "Depth.Z,UV.U,UV.V")
    write(folder / "exr-same" / "a_1.exr", every)
    write(folder / "exr-same" / "a_01.exr", every)
    data = (folder / "exr-good" / "a_1.exr").read_bytes()
    (folder / "exr-cut").mkdir()
    (folder / "exr-cut" / "a_1.exr").write_bytes(data[: len(data) // 2])


def _quiet(*words: str) -> int:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        code = main(words)
    assert code in (0, 130), said.getvalue()
    return code


def _runs(folder: Path) -> None:
    """Finished, stopped and damaged runs; called in the folder."""
    begin = ("render", "card.glb", "--prompt", "a fox", "--model", "tiny", "--steps", "2", "--size", "64")
    assert _quiet(*begin, "--frames", "3", "--animation", "Rise", "--run-dir", "run") == 0
    assert _quiet(*begin, "--frames", "1", "--run-dir", "picture") == 0
    assert _quiet(*begin, "--frames", "2", "--size", "32", "--run-dir", "small") == 0
    keys = (*begin, "--frames", "6", "--keyframes", "2", "--animation", "Rise")
    assert _quiet(*keys, "--only", "keyframes", "--run-dir", "keys") == 0
    for first, last in ((0, 1), (1, 2), (4, 5)):
        words = (*keys, "--only", f"{first}-{last}", "--keyframes-from", "keys")
        assert _quiet(*words, "--run-dir", f"part-{first}") == 0
    commit = RunStore.commit

    def stops(self: RunStore, generator: Any) -> None:
        commit(self, generator)
        raise KeyboardInterrupt

    RunStore.commit = stops
    try:
        assert _quiet(*begin, "--frames", "3", "--animation", "Rise", "--run-dir", "stopped") == 130
    finally:
        RunStore.commit = commit
    for name in ("lost-frame", "lost-look", "cut-look", "bad-record", "old-record"):
        shutil.copytree(folder / "run", folder / name)
    next(iter(RunFolder(folder / "lost-frame").frame_files())).unlink()
    (folder / "lost-look" / "appearance.npz").unlink()
    look = folder / "cut-look" / "appearance.npz"
    look.write_bytes(look.read_bytes()[:-200])
    (folder / "bad-record" / "config.json").write_text("{")
    record = json.loads((folder / "old-record" / "config.json").read_text())
    record["config"].pop("width")
    (folder / "old-record" / "config.json").write_text(json.dumps(record))
    for name in ("bad-request", "changed-request"):
        shutil.copytree(folder / "stopped", folder / name)
    (folder / "bad-request" / "unfinished" / "request.json").write_text("{")
    request = folder / "changed-request" / "unfinished" / "request.json"
    request.write_text(request.read_text().replace("a fox", "a cat"))
    # Begun in a folder that is no more.
    RunStore.commit = stops
    try:
        (folder / "gone").mkdir()
        os.chdir(folder / "gone")
        far = ("../card.glb", "--prompt", "a fox", "--model", "../tiny", "--steps", "2", "--size", "64")
        assert _quiet("render", *far, "--frames", "2", "--run-dir", "../moved") == 130
    finally:
        RunStore.commit = commit
        os.chdir(folder)
        (folder / "gone").rmdir()
