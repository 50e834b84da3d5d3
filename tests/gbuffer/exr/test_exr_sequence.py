"""EXR sequences in the conventions of Blender, Houdini and Unreal, and what of them cannot be used."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.channels import ExrMap, read_exr_map
from genrender.gbuffer.exr.cryptomatte import id_bits, manifest
from genrender.gbuffer.exr.files import exr_files, find_series, missing_frames, say_frames
from genrender.gbuffer.exr.frame import write_exr
from genrender.gbuffer.exr.inspect import inspect_exr
from genrender.gbuffer.exr.survey import open_sequence, survey_files
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.initial import surface_noise
from genrender.scene.backdrop_ids import BACKDROP_NAMES, GROUND_ID
from genrender.scene.load import load_scene
from genrender.scene.names import texture_keys
from genrender.shots.clip import ShotConfig, render_clip
from genrender.shots.exr_shot import ExrShot

STILL_LIFE = Path(__file__).resolve().parents[3] / "examples" / "scenes" / "still_life.glb"
REFERENCE = Path(__file__).parents[2] / "reference"
YFOV_DEG = 45.0
# Ids as the Cryptomatte specification's hash makes them (the first is that of "hello").
HELLO, OTHER = np.float32(6.0705627102400005616e-17), np.array([0xC0FFEE42], np.uint32).view(np.float32)[0]


@pytest.fixture(scope="module")
def truth() -> list[GBuffer]:
    """Ray-cast G-buffers of six objects, two frames."""
    return list(render_clip(load_scene(STILL_LIFE), ShotConfig(size=(64, 48), times_s=(0.0, 0.5))).gbuffers)


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


@pytest.mark.parametrize("writer", [blender, blender_crypto, blender_file_per_pass, houdini, unreal])
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


def shot_files(folder: Path, truth: list[GBuffer], numbers=(1, 2, 3)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        write_exr(folder / f"a_{number:04d}.exr", truth[0])
    return folder


def change(file: Path, header: dict[str, object] | None = None, **channels) -> None:
    """Rewrites a file with some channels replaced; None takes one out."""
    own = OpenEXR.File(str(file), separate_channels=True).channels()
    kept = {name: channel.pixels for name, channel in own.items()}
    kept |= {name.replace("_", "."): pixels for name, pixels in channels.items()}
    write(file, {name: pixels for name, pixels in kept.items() if pixels is not None}, header)


def test_gaps_are_told(tmp_path, truth):
    folder = shot_files(tmp_path / "a", truth, (1, 2, 5, 6, 8))
    with pytest.raises(MediaError, match=r"frames 3\.\.4, 7 are missing; render them"):
        open_sequence(folder)
    assert inspect_exr(folder)["missing"] == "3..4, 7"
    assert open_sequence(shot_files(tmp_path / "b", truth, (1, 3, 5))).numbers == (1, 3, 5)
    # Without a list of all that is missing.
    assert say_frames(missing_frames((1, 2, 2_000_000_000))) == "3..1999999999"


def test_a_pass_that_lacks_a_frame_is_told(tmp_path, truth):
    for frame in (1, 2):
        blender_file_per_pass(tmp_path, frame, truth[0])
    (tmp_path / "UV0002.exr").unlink()
    with pytest.raises(MediaError, match="pass UV lacks frames 2"):
        open_sequence(tmp_path)


def test_sizes_and_windows_are_told(tmp_path, truth):
    folder = shot_files(tmp_path, truth)
    small = GBuffer(**{field.name: getattr(truth[0], field.name)[:40] for field in fields(GBuffer)})
    write_exr(folder / "a_0002.exr", small)
    with pytest.raises(MediaError, match=r"a_0002.exr has 64x40 pixels and a_0001.exr 64x48"):
        open_sequence(folder)
    corner = np.array([0, 0], np.int32)
    change(folder / "a_0001.exr", {"displayWindow": (corner, np.array([99, 99], np.int32))})
    with pytest.raises(MediaError, match=r"cropped region or overscan, 0,0 to 63,47 of 0,0 to 99,99"):
        open_sequence(folder)


@pytest.mark.parametrize(
    ("dtype", "largest", "message"),
    [
        (np.float16, 2050, r"holds 2050 as half float, which rounds numbers above 2048"),
        (np.float32, 20000, "holds 20000, expected object indices up to 16383"),
        (np.float32, 1.5, "holds 1.5, expected whole numbers from 0; render the pass without anti-alias"),
    ],
)
def test_indices_that_were_changed_are_refused(tmp_path, truth, dtype, largest, message):
    folder = shot_files(tmp_path, truth)
    index = np.where(truth[0].object_id == 1, largest, truth[0].object_id).astype(dtype)
    change(folder / "a_0001.exr", IndexOB_X=index)
    with pytest.raises(MediaError, match=message):
        open_sequence(folder).gbuffer(0)
    small = truth[0].object_id.astype(np.float16)
    change(folder / "a_0001.exr", IndexOB_X=small)  # half floats are exact up to 2048
    assert_alike(open_sequence(folder).gbuffer(0), truth[0])


def test_a_depth_that_was_mixed_with_its_background_is_refused(tmp_path, truth):
    folder = shot_files(tmp_path, truth)
    depth = truth[0].depth.copy()
    depth[tuple(np.argwhere(truth[0].visible)[0])] = 3e9
    change(folder / "a_0001.exr", Depth_Z=np.where(truth[0].visible, depth, np.float32(1e10)))
    with pytest.raises(MediaError, match="anti-aliased with its background"):
        open_sequence(folder).gbuffer(0)


def test_a_cryptomatte_that_was_rounded_is_refused(tmp_path, truth):
    blender_crypto(tmp_path, 1, truth[0])
    change(tmp_path / "0001.exr", {"compression": OpenEXR.PXR24_COMPRESSION})
    with pytest.raises(MediaError, match="ids are stored as PXR24"):
        open_sequence(tmp_path)
    half = np.full(truth[0].depth.shape, 0.5, np.float16)
    change(tmp_path / "0001.exr", **{"ViewLayer.CryptoObject00.r": half})
    with pytest.raises(MediaError, match="ids are stored as half float"):
        open_sequence(tmp_path)


def test_a_deep_picture_is_refused(tmp_path):
    samples = np.empty((2, 2), object)
    for place in np.ndindex(2, 2):
        samples[place] = np.array([1, 2], np.float32)
    header = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.deepscanline}
    OpenEXR.File(header, {"Z": samples}).write(str(tmp_path / "a.exr"))
    with pytest.raises(MediaError, match="deep picture"):
        open_sequence(tmp_path)


def test_half_float_texture_coordinates_are_noted(tmp_path, truth):
    folder = shot_files(tmp_path, truth)
    change(folder / "a_0001.exr", UV_U=truth[0].uv[..., 0].astype(np.float16))
    assert any("UV.U is half float" in note for note in survey_files(folder).notes)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("[]", "no JSON object"),
        ('{"dept": "Z"}', "unknown key 'dept', expected some of depth, u, v"),
        ('{"depth_is": "far"}', "depth_is is 'far', expected one of planar"),
        ('{"depth_is": "distance"}', "needs yfov_deg"),
        ('{"v_up": "yes"}', "v_up is 'yes', expected true or false"),
        ("{", "its JSON cannot be read in line 1.*expected an EXR map"),
        ("[" * 100_000, "expected an EXR map"),
    ],
)
def test_maps_that_cannot_be_used(tmp_path, stored, message):
    (tmp_path / "map.json").write_text(stored)
    with pytest.raises(ConfigError, match=message):
        read_exr_map(tmp_path / "map.json")


def test_a_missing_channel_is_told_with_those_that_are_there(tmp_path, truth):
    folder = shot_files(tmp_path, truth)
    change(folder / "a_0001.exr", UV_V=None, UV_U=None)
    with pytest.raises(MediaError, match=r"no channel for the texture coordinate U .*Depth.Z, IndexOB.X"):
        open_sequence(folder)
    with pytest.raises(MediaError, match=r"no channel for the depth"):
        open_sequence(shot_files(tmp_path / "b", truth), ExrMap(depth="far.Z"))


@pytest.mark.parametrize("pattern", ["a_%04d.exr", "a_####.exr", "a_$F4.exr", "a_*.exr", ""])
def test_patterns(tmp_path, truth, pattern):
    folder = shot_files(tmp_path, truth)
    (folder / "notes.txt").write_text("no picture")
    assert open_sequence(folder / pattern).numbers == (1, 2, 3)
    with pytest.raises(MediaError, match="no EXR files match"):
        exr_files(folder / "b_%04d.exr")


def test_passes_may_lie_in_folders_of_their_own(tmp_path, truth):
    p = passes(truth[0])
    for name, channels in {"WorldDepth": "z", "uv": "uv", "id": ("id",)}.items():
        values = {"z": {"R": p["z"]}, "uv": {"R": p["u"], "G": p["v"]}}.get(str(channels), {"R": p["id"]})
        for frame in (7, 8):
            write(tmp_path / name / f"shot01.{frame:04d}.exr", values)
    assert_alike(open_sequence(tmp_path).gbuffer(1), truth[0])


def test_two_files_of_one_frame_are_told(tmp_path):
    with pytest.raises(MediaError, match="are both frame 1; remove one"):
        find_series([tmp_path / "a1.exr", tmp_path / "a01.exr", tmp_path / "a2.exr"])


def test_frames_are_brought_to_another_size_sample_by_sample(tmp_path, truth):
    sequence = open_sequence(shot_files(tmp_path, truth))
    half = ExrShot.of(sequence, size=(32, 24)).gbuffer(0)
    np.testing.assert_array_equal(half.object_id, truth[0].object_id[1::2, 1::2])
    np.testing.assert_array_equal(half.depth, truth[0].depth[1::2, 1::2])
    with pytest.raises(ConfigError, match="have another shape"):
        ExrShot.of(sequence, size=(48, 48))
    with pytest.raises(ConfigError, match="frames is 4, expected 1 to 3"):
        ExrShot.of(sequence, n_frames=4)


@pytest.mark.parametrize("text", [b'{"\x91": "00000001"}', b"[" * 100_000, b'{"a": "x"}'])
def test_a_manifest_that_is_none(tmp_path, text):
    (tmp_path / "names.json").write_bytes(text)
    header = {"cryptomatte/1a2b3c4/name": "Crypto", "cryptomatte/1a2b3c4/manif_file": "names.json"}
    with pytest.raises(MediaError, match="the manifest of cryptomatte Crypto is damaged"):
        manifest(header, "Crypto", tmp_path / "a.exr")


def test_a_manifest_that_would_fill_the_memory(tmp_path):
    with (tmp_path / "names.json").open("wb") as file:
        file.truncate(2**26 + 1)
    header = {"cryptomatte/1a2b3c4/name": "Crypto", "cryptomatte/1a2b3c4/manif_file": "names.json"}
    with pytest.raises(MediaError, match="expected at most 67 MB"):
        manifest(header, "Crypto", tmp_path / "a.exr")


def test_frames_may_have_negative_numbers(tmp_path, truth):
    for number, name in enumerate(["f.-002", "f.-001", "f.0000", "f.0001"]):
        write_exr(tmp_path / f"{name}.exr", truth[number % 2])
    for path in (tmp_path, tmp_path / "f.####.exr"):
        sequence = open_sequence(path)
        assert sequence.numbers == (-2, -1, 0, 1)
        assert_alike(sequence.gbuffer(1), truth[1])
    # A minus that joins is none.
    names = ["take-001.exr", "take-002.exr"]
    assert list(find_series([Path(name) for name in names])[0].files) == [1, 2]


def test_a_damaged_manifest_costs_only_the_names(tmp_path, truth):
    blender_crypto(tmp_path, 1, truth[0])
    file = next(tmp_path.glob("*.exr"))
    told = crypto_header("ViewLayer.CryptoObject")
    change(file, {name: str(value)[:25] for name, value in told.items()})
    survey = survey_files(tmp_path)
    assert survey.problems == ()
    assert len(survey.notes) == 1
    assert "manifest" in survey.notes[0]
    assert "objects are called by their ids" in survey.notes[0]
    ids = np.unique(truth[0].object_id[truth[0].visible]).tolist()
    names = survey.sequence.object_names(range(1, len(ids) + 1))
    assert sorted(names.values()) == sorted(f"{murmur_like(one):08x}" for one in ids)
    shown = survey.sequence.gbuffer(0)
    np.testing.assert_array_equal(shown.visible, truth[0].visible)


def test_a_pass_that_lacks_a_frame_is_called_by_its_file_where_it_has_no_name(tmp_path, truth):
    shot_files(tmp_path, truth, (1, 2, 3, 5))
    with pytest.raises(MediaError, match="frames 4 are missing"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_the_librarys_own_lines_stay_off_the_screen(tmp_path, truth, capfd, share):
    blender(tmp_path, 1, truth[0])
    file = next(tmp_path.glob("*.exr"))
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(MediaError, match="damaged"):
        open_sequence(tmp_path).gbuffer(0)
    assert capfd.readouterr() == ("", "")
    print("later lines are seen")
    assert capfd.readouterr().out == "later lines are seen\n"


def test_indices_without_a_name_go_by_their_numbers_and_a_backdrop_is_no_object(tmp_path, truth):
    names = {1: "Ground", GROUND_ID: "ground"}
    shown = replace(truth[0], object_id=np.where(truth[0].visible, np.int32(9), np.int32(0)))
    for number, gbuffer in enumerate((truth[0], shown)):
        write_exr(tmp_path / f"a_{number}.exr", gbuffer, names)
    sequence = open_sequence(tmp_path)
    keys = sequence.texture_keys
    expected = texture_keys({"Ground": [1], BACKDROP_NAMES[GROUND_ID]: [GROUND_ID]})
    assert (keys[1], keys[GROUND_ID]) == (expected[1], expected[GROUND_ID])
    assert keys[9] == 9
    noise = surface_noise([sequence.gbuffer(frame) for frame in (0, 1)], 4, 8, 0)
    assert np.isfinite(noise.numpy()).all()
