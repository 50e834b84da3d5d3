"""What comes from outside never leads out of its folder, and is never more than it may be."""

import io
import stat
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrender.errors import MediaError
from genrender.server.uploads import UploadLimits, kept_name, unpack

LIMITS = UploadLimits(10_000, 5)
NASTY = st.text(st.sampled_from("../\\ab\0:~*C\u202e %$\n-"), max_size=12) | st.text(max_size=12)


@given(NASTY)
def test_a_kept_name_stays_in_its_folder_on_every_system(name):
    try:
        kept = kept_name(name)
    except MediaError:
        return
    assert not kept.is_absolute()
    assert ".." not in kept.parts
    assert Path("/a/b", kept).resolve().is_relative_to("/a/b")
    assert not set('\\:*?"<>|\0\n') & set(str(kept))
    assert kept_name(str(kept)) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../a.glb",
        "/",
        "a/../../b.glb",
        "con.glb",
        "a/NUL",
        "a\0.glb",
        "a:b.glb",
        ".hidden",
        "a./b",
        "a/" * 9 + "b",
    ],
)
def test_names_that_lead_elsewhere_or_are_something_else_are_refused(name):
    with pytest.raises(MediaError, match="is not taken"):
        kept_name(name)


def test_ordinary_names_stay_as_they_are():
    for name in ("Fox.glb", "passes/shot_0001.exr", "Ä ö (1).glb", "a-b_c,d+e=f@g[1].obj"):
        assert kept_name(name) == PurePosixPath(name)
    assert kept_name("C\\a\\b.glb") == PurePosixPath("C/a/b.glb")


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return path


def test_a_zip_gives_what_scenes_need_and_nothing_else(tmp_path):
    packed = archive(
        tmp_path / "a.zip",
        {
            "in/a.gltf": b"1",
            "in/a.bin": b"2",
            "run.sh": b"3",
            "__MACOSX/a.glb": b"4",
            ".x/a.glb": b"5",
            "d/": b"",
        },
    )
    unpack(packed, tmp_path / "out", LIMITS)
    found = {
        file.relative_to(tmp_path / "out").as_posix()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    }
    assert found == {"in/a.gltf", "in/a.bin"}


def test_links_in_a_zip_are_not_followed(tmp_path):
    link = zipfile.ZipInfo("a.glb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    unpack(tmp_path / "a.zip", tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


def test_a_zip_that_lies_about_its_sizes_is_stopped(tmp_path):
    data = bytearray(archive(tmp_path / "a.zip", {"a.glb": b"\0" * 50_000}).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # sizes in both headers
        at = data.index(mark) + offset
        data[at : at + 4] = (100).to_bytes(4, "little")
    (tmp_path / "b.zip").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(MediaError, match=r"b\.zip: its library cannot read it .*; make it again"):
        unpack(tmp_path / "b.zip", tmp_path / "out", LIMITS)
    assert sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) <= LIMITS.bytes


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_a_damaged_zip_is_told_whatever_is_wrong(tmp_path, at):
    data = bytearray(archive(tmp_path / "a.zip", {"a.glb": bytes(range(256))}).read_bytes())
    data[at % len(data)] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(data)
    (tmp_path / "out").mkdir()
    with suppress(MediaError):  # and nothing else
        unpack(tmp_path / "b.zip", tmp_path / "out", LIMITS)
    assert all(file.resolve().is_relative_to(tmp_path / "out") for file in (tmp_path / "out").rglob("*"))


def test_two_entries_of_one_name_are_told(tmp_path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        packed.writestr("a.glb", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("a.glb", b"2")
    (tmp_path / "a.zip").write_bytes(made.getvalue())
    with pytest.raises(MediaError, match=r"^the zip holds a\.glb twice: leave one of them out$"):
        unpack(tmp_path / "a.zip", tmp_path / "out", LIMITS)
