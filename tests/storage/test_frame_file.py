"""Arrays in files: what was written is read, whatever the order, and a full disk is said in one line."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from scenes import ball_behind_slab

from genrender.errors import MediaError
from genrender.gbuffer.store import StoredGBuffers
from genrender.storage.frame_file import FrameCache, FrameFile


def test_frames_are_read_as_they_were_written(tmp_path):
    rng = np.random.default_rng(0)
    arrays = rng.random((7, 3, 5)).astype(np.float32)
    file = FrameFile(tmp_path / "a.bin", 7, (3, 5))
    for frames in ([4, 2], [0, 1, 3], [6, 5]):
        file.write(frames, arrays[frames])
    np.testing.assert_array_equal(file.read([6, 0, 3]), arrays[[6, 0, 3]])
    again = FrameFile(tmp_path / "a.bin", 7, (3, 5))
    np.testing.assert_array_equal(again.read(range(7)), arrays)
    with pytest.raises(IndexError):
        again.read([7])


def test_a_file_is_open_only_while_it_is_used(tmp_path):
    """Elsewhere an open file can neither be removed nor given another name."""
    file = FrameFile(tmp_path / "a.bin", 1, (2,))
    file.write([0], np.zeros((1, 2), np.float32))
    file.read([0])
    file.sync()
    assert tmp_path / "a.bin" not in [Path(one.path) for one in psutil.Process().open_files()]
    (tmp_path / "a.bin").unlink()
    with pytest.raises(MediaError, match=r"cannot use .*a\.bin: No such file"):
        file.read([0])


@pytest.mark.parametrize("name", [None, "a.bin"])
def test_what_is_found_for_a_frame_is_found_once(tmp_path, name):
    asked = []

    def find(frame):
        asked.append(frame)
        return np.full((2, 3), frame, np.int64)

    path = None if name is None else tmp_path / name
    if path is not None:
        path.write_bytes(b"left by another run")
    cache = FrameCache(find, 5, path)
    for frame in (4, 0, 4, 2, 0, 4):
        np.testing.assert_array_equal(cache[frame], np.full((2, 3), frame))
        assert cache[frame].dtype == np.int64
    assert asked == [4, 0, 2]
    assert [file.stat().st_size for file in tmp_path.iterdir()] == ([] if path is None else [5 * (6 * 8 + 4)])


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"cannot use .*nowhere"):
        FrameFile(tmp_path / "nowhere" / "a.bin", 1, (2,))


def test_stored_gbuffers_are_the_rendered_ones(tmp_path):
    gbuffers = ball_behind_slab(3, 0.1, 32, 2)[0]
    stored = StoredGBuffers(tmp_path / "g.bin", 3, 32, 32)
    for frame, gbuffer in enumerate(gbuffers):
        stored.write(frame, gbuffer)
    assert len(stored) == 3
    for gbuffer, back in zip(gbuffers, stored, strict=True):
        for name in ("depth", "uv", "object_id", "tri_id", "bary", "atlas_id"):
            np.testing.assert_array_equal(getattr(back, name), getattr(gbuffer, name))
    assert [g.depth[0, 0] for g in stored[1:]] == [g.depth[0, 0] for g in gbuffers[1:]]
    assert (tmp_path / "g.bin").stat().st_size == 3 * (32 * 32 * 32 + 4)
