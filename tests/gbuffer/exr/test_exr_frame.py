"""EXR files: round trip, the conventions in the file, and files that cannot be used."""

import numpy as np
import OpenEXR
import pytest

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import AUTOMATIC, find_channels
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.gbuffer import GBuffer


def make_gbuffer(height=5, width=7, seed=0) -> GBuffer:
    rng = np.random.default_rng(seed)
    object_id = rng.integers(0, 3, (height, width)).astype(np.int32)
    visible = object_id > 0
    return GBuffer(
        depth=np.where(visible, rng.uniform(0.5, 300, visible.shape), np.inf).astype(np.float32),
        uv=np.where(visible[..., None], rng.uniform(0, 1, (height, width, 2)), 0).astype(np.float32),
        object_id=object_id,
        tri_id=np.where(visible, 11, -1).astype(np.int32),
        bary=np.where(visible[..., None], np.float32([0.25, 0.5]), 0).astype(np.float32),
    )


def channels_of(path):
    return {
        name: channel.pixels
        for name, channel in OpenEXR.File(str(path), separate_channels=True).channels().items()
    }


def write_channels(path, **changes):
    """A valid file of 2x3 pixels, with some channels replaced; None leaves one out."""
    shape = (2, 3)
    channels = {
        "Depth.Z": np.full(shape, 2, np.float32),
        "UV.U": np.full(shape, 0.25, np.float32),
        "UV.V": np.full(shape, 0.25, np.float32),
        "IndexOB.X": np.ones(shape, np.float32),
    }
    channels.update({name.replace("_", "."): value for name, value in changes.items()})
    channels = {name: value for name, value in channels.items() if value is not None}
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(
        str(path)
    )
    return path


def test_round_trip(tmp_path):
    gbuffer = make_gbuffer()
    write_exr(tmp_path / "a.exr", gbuffer)
    back = read_exr(tmp_path / "a.exr")
    np.testing.assert_array_equal(back.depth, gbuffer.depth)
    np.testing.assert_array_equal(back.object_id, gbuffer.object_id)
    np.testing.assert_array_equal(back.uv[..., 0], gbuffer.uv[..., 0])
    np.testing.assert_allclose(
        back.uv[..., 1], gbuffer.uv[..., 1], atol=1e-7
    )  # one rounding of 1 - V each way
    assert [item.name for item in tmp_path.iterdir()] == ["a.exr"]


def test_a_file_knows_no_triangles(tmp_path):
    gbuffer = make_gbuffer()
    write_exr(tmp_path / "a.exr", gbuffer)
    back = read_exr(tmp_path / "a.exr")
    assert gbuffer.has_triangles
    assert not back.has_triangles
    assert np.all(back.tri_id == -1)
    assert not back.bary.any()


def test_conventions_in_the_file(tmp_path):
    gbuffer = make_gbuffer()
    write_exr(tmp_path / "a.exr", gbuffer)
    channels = channels_of(tmp_path / "a.exr")
    assert set(channels) == {"Depth.Z", "UV.U", "UV.V", "IndexOB.X"}
    assert {pixels.dtype for pixels in channels.values()} == {np.dtype(np.float32)}
    visible = gbuffer.visible
    assert np.all(channels["Depth.Z"][~visible] == np.float32(1e10))
    np.testing.assert_allclose(channels["UV.V"][visible], 1 - gbuffer.uv[visible, 1], atol=1e-7)
    assert not channels["UV.V"][~visible].any()
    np.testing.assert_array_equal(channels["IndexOB.X"], gbuffer.object_id)


def test_layer_names_before_the_channels_are_allowed(tmp_path):
    channels = {
        "ViewLayer." + name: pixels
        for name, pixels in channels_of(write_channels(tmp_path / "a.exr")).items()
    }
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, channels).write(str(tmp_path / "b.exr"))
    gbuffer = read_exr(tmp_path / "b.exr")
    np.testing.assert_array_equal(gbuffer.depth, np.full((2, 3), 2, np.float32))
    np.testing.assert_array_equal(gbuffer.uv[0, 0], np.float32([0.25, 0.75]))


def test_texture_coordinates_outside_repeat(tmp_path):
    path = write_channels(tmp_path / "a.exr", UV_U=np.full((2, 3), 1.5, np.float32))
    assert np.all(read_exr(path).uv[..., 0] == 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"IndexOB_X": None},
            r"no channel for the object index \(such as IndexOB.X\).*the channels are Depth.Z, UV.U, UV.V",
        ),
        ({"IndexOB_X": np.zeros((2, 3), np.float32)}, "6 pixels show a surface of object index 0"),
        ({"IndexOB_X": np.full((2, 3), 1.5, np.float32)}, "holds 1.5, expected whole numbers"),
        ({"IndexOB_X": np.full((2, 3), np.nan, np.float32)}, "holds nan, expected whole numbers"),
        ({"Depth_Z": np.full((2, 3), 1e10, np.float32)}, "6 pixels belong to an object but have no depth"),
        ({"Depth_Z": np.full((2, 3), np.nan, np.float32)}, "6 pixels belong to an object but have no depth"),
        ({"Depth_Z": np.full((2, 3), -1, np.float32)}, "6 pixels belong to an object but have no depth"),
        ({"UV_U": np.full((2, 3), np.inf, np.float32)}, "texture coordinates that are no numbers"),
    ],
)
def test_channels_that_cannot_be_used(tmp_path, changes, message):
    with pytest.raises(MediaError, match=message):
        read_exr(write_channels(tmp_path / "a.exr", **changes))


@pytest.mark.parametrize("content", [b"", b"no picture at all"], ids=["empty", "text"])
def test_files_that_are_no_exr(tmp_path, content):
    (tmp_path / "a.exr").write_bytes(content)
    with pytest.raises(MediaError, match="no OpenEXR file"):
        read_exr(tmp_path / "a.exr")


def test_a_file_that_is_cut_off(tmp_path):
    write_exr(tmp_path / "a.exr", make_gbuffer(64, 64))
    whole = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "b.exr").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"b\.exr"):
        read_exr(tmp_path / "b.exr")


def test_a_missing_file(tmp_path):
    with pytest.raises(MediaError, match="there is no such file"):
        read_exr(tmp_path / "a.exr")


def test_a_missing_folder(tmp_path):
    with pytest.raises(MediaError, match="there is no such folder"):
        write_exr(tmp_path / "nowhere" / "a.exr", make_gbuffer())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_exr(tmp_path / "a.exr", make_gbuffer())
    before = (tmp_path / "a.exr").read_bytes()

    def full_disk(self, name):  # noqa: ARG001
        with open(name, "wb") as part:
            part.write(b"half")
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(OpenEXR.File, "write", full_disk)
    with pytest.raises(MediaError, match="No space left"):
        write_exr(tmp_path / "a.exr", make_gbuffer(seed=1))
    assert (tmp_path / "a.exr").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.exr"]


def test_messages_show_channels_of_any_name_in_one_line():
    with pytest.raises(MediaError, match=r"the channels are A\\nB\\x1b\.Z, UV\.U, UV\.V") as raised:
        find_channels("a.exr", ["A\nB\x1b.Z", "UV.U", "UV.V"], [], AUTOMATIC)
    assert "\n" not in str(raised.value)
