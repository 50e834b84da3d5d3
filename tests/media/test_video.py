"""MP4 files: what is written comes back, and failures leave nothing behind."""

import os
import sys

import av
import numpy as np
import pytest

from genrender.errors import MediaError
from genrender.media.video import read_comment, read_video, write_video


def gradient(height=48, width=64, shift=0):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 0 * x + 20 * shift], axis=-1).astype(
        np.uint8
    )


def test_frames_come_back(tmp_path):
    clip = [gradient(shift=k) for k in range(8)]
    write_video(tmp_path / "a.mp4", iter(clip), 24)
    frames, fps = read_video(tmp_path / "a.mp4")
    assert frames.shape == (8, 48, 64, 3)
    assert fps == 24
    difference = np.abs(frames.astype(int) - np.stack(clip))
    assert difference.mean() < 2.5
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]


def test_colours_are_tagged_and_true(tmp_path):
    orange = np.full((32, 32, 3), (230, 120, 30), np.uint8)
    write_video(tmp_path / "a.mp4", [orange] * 3, 12)
    frames, _ = read_video(tmp_path / "a.mp4")
    assert np.abs(frames.astype(int) - orange).max() <= 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert codec.name == "h264"
        assert codec.pix_fmt == "yuv420p"
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)


@pytest.mark.parametrize(("fps", "expected"), [(24000 / 1001, 24000 / 1001), (12.5, 12.5), (1, 1)])
def test_frame_rates(tmp_path, fps, expected):
    write_video(tmp_path / "a.mp4", [gradient()] * 3, fps)
    assert read_video(tmp_path / "a.mp4")[1] == pytest.approx(expected)


def test_odd_sizes_repeat_the_last_row_and_column(tmp_path):
    write_video(tmp_path / "a.mp4", [gradient(33, 45)] * 2, 24)
    frames, _ = read_video(tmp_path / "a.mp4")
    assert frames.shape == (2, 34, 46, 3)
    assert np.abs(frames[0, :33, :45].astype(int) - gradient(33, 45)).mean() < 4


def test_frames_are_taken_one_by_one(tmp_path):
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= self.base is not None

    def frames():
        nonlocal alive, most
        for k in range(16):
            alive += 1
            most = max(most, alive)
            yield gradient(shift=k % 8).view(Counted)

    write_video(tmp_path / "a.mp4", frames(), 24)
    assert most <= 3, "the clip must not be collected in memory"


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        ([], 24, "there are no frames, expected at least 1"),
        ([gradient(), gradient(32, 32)], 24, "a frame is 32x32, expected 64x48"),
        ([gradient()], 0, "0 frames per second"),
        ([gradient()], float("nan"), "nan frames per second"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path, frames, fps, message):
    with pytest.raises(MediaError, match=message):
        write_video(tmp_path / "a.mp4", frames, fps)
    assert not list(tmp_path.iterdir())


def test_an_error_while_rendering_passes_and_keeps_the_old_video(tmp_path):
    def frames():
        yield gradient()
        raise ValueError("the renderer failed")

    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(ValueError, match="the renderer failed"):
        write_video(tmp_path / "a.mp4", frames(), 24)
    assert (tmp_path / "a.mp4").read_bytes() == b"older"
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="no such folder"):
        write_video(tmp_path / "nowhere" / "a.mp4", [gradient()], 24)
    with pytest.raises(MediaError, match="it is a folder"):
        write_video(tmp_path, [gradient()], 24)
    with pytest.raises(MediaError, match="it is a file, expected a folder"):
        write_video(tmp_path / "file" / "a.mp4", [gradient()], 24)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MediaError, match="Permission denied"):
            write_video(tmp_path / "a.mp4", [gradient()], 24)
    finally:
        tmp_path.chmod(0o700)


def test_files_that_are_no_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    with pytest.raises(MediaError, match="it is no video"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="no such file"):
        read_video(tmp_path / "b.mp4")


def test_a_video_whose_words_are_damaged_is_read(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, [gradient()] * 2, 24, comment="a red fox")
    path.write_bytes(path.read_bytes().replace(b"a red fox", b"a \xff\xfe\xfd fox"))
    assert read_comment(path) == f"a {3 * chr(0xFFFD)} fox"
    assert len(read_video(path)[0]) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that can bind to a core")
def test_equal_frames_make_equal_files_on_any_number_of_cores(tmp_path):
    """And with other memory around the codec each time."""
    clip = [gradient(50, 34, shift) for shift in range(6)]
    cores, written = os.sched_getaffinity(0), set()
    try:
        for attempt in range(16):
            os.sched_setaffinity(0, cores if attempt % 2 else {min(cores)})
            kept = [os.urandom(size) for size in range(0, 40_000, 1000 + 97 * attempt)]
            write_video(tmp_path / "a.mp4", clip, 24)
            written.add((tmp_path / "a.mp4").read_bytes())
            assert kept
    finally:
        os.sched_setaffinity(0, cores)
    assert len(written) == 1
