"""EXR sequences in the conventions of Blender, Houdini and Unreal, and what of them cannot be used."""

import json
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import ExrMap, read_exr_map
from genrender.gbuffer.exr.cryptomatte import id_bits
from genrender.gbuffer.exr.inspect import inspect_exr
from genrender.gbuffer.exr.survey import open_sequence
from genrender.gbuffer.gbuffer import GBuffer

REFERENCE = Path(__file__).parents[2] / "reference"
YFOV_DEG = 45.0
# Ids as the Cryptomatte specification's hash makes them (the first is that of "hello").
HELLO, OTHER = np.float32(6.0705627102400005616e-17), np.array([0xC0FFEE42], np.uint32).view(np.float32)[0]


def write(path: Path, channels: dict[str, np.ndarray], header: dict[str, object] | None = None) -> None:
    own = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | (header or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(value) for name, value in channels.items()}
    OpenEXR.File(own, arrays).write(str(path))


def passes(gbuffer: GBuffer, background: float = 1e10) -> dict[str, np.ndarray]:
    seen = gbuffer.visible
    return {
        "z": np.where(seen, gbuffer.depth, np.float32(background)),
        "u": gbuffer.uv[..., 0],
        "v": np.where(seen, 1 - gbuffer.uv[..., 1], np.float32(0)),
        "v_down": gbuffer.uv[..., 1],
        "id": gbuffer.object_id.astype(np.float32),
        "grey": np.full(seen.shape, 0.5, np.float32),
    }


def murmur_like(object_id: int) -> int:
    """Stands for the hash of an object's name: any number that is no odd float."""
    return 0x3F000000 + 7919 * object_id


def crypto(gbuffer: GBuffer) -> np.ndarray:
    bits = np.where(gbuffer.visible, 0x3F000000 + 7919 * gbuffer.object_id.astype(np.int64), 0)
    return bits.astype(np.uint32).view(np.float32)


def crypto_header(name: str) -> dict[str, object]:
    # Alphabetical order is the order of ids, so that numbers come back as they were.
    told = {f"obj{i}": f"{murmur_like(i):08x}" for i in range(1, 7)}
    key = "cryptomatte/1a2b3c4"
    return {
        f"{key}/name": name,
        f"{key}/manifest": json.dumps(told),
        f"{key}/hash": "MurmurHash3_32",
        f"{key}/conversion": "uint32_to_float32",
    }


def blender(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """Multi-layer, as Blender 4.5 writes it: see the files in the shared reference."""
    p = passes(gbuffer)
    names = {"Depth.Z": "z", "UV.U": "u", "UV.V": "v", "UV.A": "grey", "IndexOB.X": "id", "Mist.Z": "grey"}
    names |= {"Denoising Depth.Z": "grey", "Normal.X": "grey", "Normal.Y": "grey", "Normal.Z": "grey"}
    write(folder / f"{frame:04d}.exr", {f"ViewLayer.{name}": p[one] for name, one in names.items()})


def blender_crypto(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """The same with cryptomattes, whose components are in lower case; `Depth.V` is Blender 5."""
    p, rank = passes(gbuffer), crypto(gbuffer)
    channels = {"ViewLayer.Depth.V": p["z"], "ViewLayer.UV.U": p["u"], "ViewLayer.UV.V": p["v"]}
    for kind, ids in (("Object", rank), ("Material", np.full_like(rank, HELLO))):
        channels |= {f"ViewLayer.Crypto{kind}00.{c}": ids if c == "r" else p["grey"] for c in "rgba"}
    write(folder / f"{frame:04d}.exr", channels, crypto_header("ViewLayer.CryptoObject"))


def blender_5(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """A part for every pass, the cryptomatte's names in the first of them, as Blender 5.0 writes it."""
    p, layer = passes(gbuffer), "ViewLayer"
    layers = {
        "Combined": dict.fromkeys("RGBA", p["grey"]),
        "Depth": {"Z": np.ascontiguousarray(p["z"])},
        "UV": {"U": p["u"].copy(), "V": p["v"], "A": p["grey"]},
        "CryptoObject00": {c: crypto(gbuffer) if c == "r" else p["grey"] for c in "rgba"},
    }
    parts = []
    for name, channels in layers.items():
        header = crypto_header(f"{layer}.CryptoObject") if not parts else {}
        named = {f"{layer}.{name}.{c}": values for c, values in channels.items()}
        parts.append(OpenEXR.Part({"name": f"{layer}.{name}", **header}, named))
    folder.mkdir(parents=True, exist_ok=True)
    OpenEXR.File(parts).write(str(folder / f"frame_{frame:04d}.exr"))


def blender_file_per_pass(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """The File Output node: a file per socket, a colour picture each."""
    p = passes(gbuffer)
    for name, (r, g) in {"Depth": ("z", "z"), "UV": ("u", "v"), "IndexOB": ("id", "id")}.items():
        write(folder / f"{name}{frame:04d}.exr", {"R": p[r], "G": p[g], "B": p["grey"]})
    write(folder / f"Image{frame:04d}.exr", {"R": p["grey"], "G": p["grey"], "B": p["grey"]})


def houdini(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """Karma: depth along the view axis, the primvar st, a cryptomatte in parts of their own; background 0."""
    p = passes(gbuffer, background=0)
    parts = [
        OpenEXR.Part({"name": "C"}, dict.fromkeys("RGBA", p["grey"])),
        OpenEXR.Part({"name": "depth"}, {"Z": np.ascontiguousarray(p["z"])}),
        OpenEXR.Part({"name": "st"}, {"x": p["u"].copy(), "y": p["v"], "z": p["grey"]}),
        OpenEXR.Part(
            {"name": "crypto_object00", **crypto_header("crypto_object")},
            {f"crypto_object00.{c}": crypto(gbuffer) if c == "R" else p["grey"] for c in "RGBA"},
        ),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    OpenEXR.File(parts).write(str(folder / f"shot.{frame:04d}.exr"))


def unreal(folder: Path, frame: int, gbuffer: GBuffer) -> None:
    """Movie Render Queue: depth in R, G and B, V downwards, actors as cryptomatte."""
    p, rank = passes(gbuffer, background=65504), crypto(gbuffer)
    channels = dict.fromkeys("RGBA", p["grey"])
    channels |= {f"FinalImageMovieRenderQueue_WorldDepth.{c}": p["z"] for c in "RGB"}
    channels |= {f"FinalImageMRQ_UV.{c}": p[one] for c, one in (("R", "u"), ("G", "v_down"), ("B", "grey"))}
    channels |= {f"ActorHitProxyMask00.{c}": rank if c == "R" else p["grey"] for c in "RGBA"}
    write(folder / f"Seq.{frame:04d}.exr", channels, crypto_header("ActorHitProxyMask"))


def assert_alike(found: GBuffer, expected: GBuffer) -> None:
    np.testing.assert_array_equal(found.depth, expected.depth)
    np.testing.assert_array_equal(found.object_id, expected.object_id)
    np.testing.assert_allclose(found.uv, expected.uv, atol=1e-7)


WRITERS = (blender, blender_crypto, blender_5, blender_file_per_pass, houdini, unreal)


@pytest.mark.parametrize("writer", WRITERS)
def test_the_channels_of_other_software_are_found(tmp_path, truth, writer):
    for frame, gbuffer in enumerate(truth, start=1001):
        writer(tmp_path / "clip", frame, gbuffer)
    sequence = open_sequence(tmp_path / "clip")
    assert sequence.numbers == (1001, 1002)
    for frame, gbuffer in enumerate(truth):
        assert_alike(sequence.gbuffer(frame), gbuffer)
    if sequence.channels.cryptomatte is not None:
        assert sequence.object_names([1, 6]) == {1: "obj1", 6: "obj6"}
    report = inspect_exr(tmp_path / "clip")
    assert not report["problems"]
    assert [entry["id"] for entry in report["objects"]] == sorted(set(truth[0].object_id.flat) - {0})
    # The map that a run keeps opens the same.
    again = open_sequence(tmp_path / "clip", sequence.channels.as_map())
    assert again.channels == sequence.channels


def test_files_that_blender_wrote():
    report = inspect_exr(REFERENCE / "walk_#.exr")
    assert (report["frames"], report["size"], report["problems"]) == ([0, 1, 2], [256, 256], [])
    assert report["channels"]["depth"] == "ViewLayer.Depth.Z"
    # The camera's distance bounds the walker's depth; it covers a part of the picture.
    (walker,) = report["objects"]
    assert 2 < walker["depth from"] < walker["depth to"] < 3.2
    with pytest.raises(MediaError, match=r"4 channels could be the depth.*give a pattern"):
        open_sequence(REFERENCE)


def test_ids_without_a_manifest_are_called_by_their_bits(tmp_path, truth):
    p = passes(truth[0])
    ids = np.where(truth[0].visible, np.where(truth[0].object_id == 1, OTHER, HELLO), np.float32(0))
    channels = {"Z": p["z"], "uv.x": p["u"], "uv.y": p["v"], "CryptoObject00.R": ids, "CryptoObject00.G": ids}
    write(tmp_path / "a.exr", channels)
    sequence = open_sequence(tmp_path)
    hello = int(id_bits("", np.full((1, 1), HELLO))[0, 0])
    assert sequence.object_names([1, 2]) == {1: f"{hello:08x}", 2: "c0ffee42"}
    np.testing.assert_array_equal(sequence.gbuffer(0).object_id == 2, truth[0].object_id == 1)


@pytest.mark.parametrize("kind", ["distance", "inverse", "negative"])
def test_declared_depths_become_planar(tmp_path, truth, kind):
    gbuffer = truth[0]
    height, width = gbuffer.depth.shape
    tan = np.tan(np.radians(YFOV_DEG / 2))
    rows, columns = np.indices((height, width)) + 0.5
    ray = np.sqrt(1 + ((2 * rows / height - 1) * tan) ** 2 + ((2 * columns - width) / height * tan) ** 2)
    with np.errstate(invalid="ignore"):
        stored = {"distance": gbuffer.depth * ray, "inverse": 1 / gbuffer.depth, "negative": -gbuffer.depth}
    p = passes(gbuffer)
    channels = {"odd": stored[kind].astype(np.float32), "a.U": p["u"], "b.V": p["v_down"], "n": p["id"]}
    write(tmp_path / "x_1.exr", channels)
    yfov = YFOV_DEG if kind == "distance" else None
    wanted = ExrMap("odd", "a.U", "b.V", "n", depth_is=kind, yfov_deg=yfov, v_up=False)
    (tmp_path / "map.json").write_text(json.dumps({k: v for k, v in vars(wanted).items() if v is not None}))
    found = open_sequence(tmp_path, read_exr_map(tmp_path / "map.json")).gbuffer(0)
    np.testing.assert_allclose(found.depth, gbuffer.depth, rtol=1e-6)
    np.testing.assert_array_equal(found.uv, gbuffer.uv)


@pytest.mark.parametrize("background", [1e10, np.inf, 65504, 0])
def test_every_usual_background_is_one(tmp_path, truth, background):
    p = passes(truth[0], background=background)
    write(tmp_path / "a.exr", {"Depth.Z": p["z"], "UV.U": p["u"], "UV.V": p["v"], "IndexOB.X": p["id"]})
    assert_alike(open_sequence(tmp_path).gbuffer(0), truth[0])


def test_tiles_are_read(tmp_path, truth):
    p, tiles = passes(truth[0]), OpenEXR.TileDescription()
    tiles.xSize = tiles.ySize = 16
    channels = {"Depth.Z": p["z"], "UV.U": p["u"], "UV.V": p["v"], "IndexOB.X": p["id"]}
    write(tmp_path / "a.exr", channels, {"type": OpenEXR.tiledimage, "tiles": tiles})
    assert_alike(open_sequence(tmp_path).gbuffer(0), truth[0])
