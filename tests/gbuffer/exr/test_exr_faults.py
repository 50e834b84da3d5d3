"""EXR sequences with gaps, lossy passes, missing channels and damaged manifests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from test_exr_sequence import (
    assert_alike,
    blender,
    blender_crypto,
    blender_file_per_pass,
    crypto_header,
    murmur_like,
    passes,
    write,
)

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.channels import ExrMap, read_exr_map
from genrender.gbuffer.exr.cryptomatte import manifest
from genrender.gbuffer.exr.files import exr_files, find_series, missing_frames, say_frames
from genrender.gbuffer.exr.frame import write_exr
from genrender.gbuffer.exr.inspect import inspect_exr
from genrender.gbuffer.exr.survey import open_sequence, survey_files
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.initial import surface_noise
from genrender.scene.backdrop_ids import BACKDROP_NAMES, GROUND_ID
from genrender.scene.names import texture_keys
from genrender.shots.exr_shot import ExrShot


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
    small = truth[0].at(np.arange(40)[:, None], np.arange(64))
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
