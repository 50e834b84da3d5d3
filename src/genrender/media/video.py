"""H.264 video in MP4 files, through PyAV."""

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8

from genrender.errors import MediaError
from genrender.storage.atomic import atomic_write

# x264's constant rate factor: 16 is hardly distinguishable from the frames, and a clip is small anyway.
QUALITY = "16"

# Equal frames make equal files on all machines. x264 divides its work by threads, as many as there are cores;
# and its macroblock tree (core 165, vectorised) gives other bits once in some ten to a hundred files.
REPRODUCIBLE = {"threads": "1", "x264-params": "mbtree=0"}

# Frames that are stored out of order begin late in the file, and an edit list says by how much: programs that
# do not read it are two frames off.
IN_ORDER = {"bf": "0"}

# The number of ITU-R BT.709 in the tables of colour spaces, primaries and transfer curves in H.264.
BT709 = 1


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    fps: int | float,
    comment: str | None = None,
) -> None:
    """Writes frames to an MP4 file as they come, so that a long clip never lies in memory.

    Equal frames make equal files, byte for byte.

    The codec stores colour at half resolution and needs even sizes: an odd height or width grows by repeating
    the last row or column.

    Args:
        path: the file; whatever it is called, it becomes an MP4.
        frames: RGB pictures of one size, at least one.
        fps: frames per second, > 0.
        comment: is kept in the file for `read_comment`.

    Raises:
        MediaError: there are no frames, they differ in size, the rate is not positive, or the file cannot be
            written. Nothing half-written stays behind, and an older file of that name is kept.
    """
    if not 0 < fps < float("inf"):
        raise MediaError(f"cannot write {path}: {fps} frames per second, expected more than 0")
    with atomic_write(path) as part:
        try:
            _encode(path, part, frames, Fraction(fps).limit_denominator(1001), comment)
        except av.error.FFmpegError as error:
            raise MediaError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _encode(
    path: str | os.PathLike[str],
    part: Path,
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    rate: Fraction,
    comment: str | None,
) -> None:
    # `faststart` moves the index to the front, so that a browser can play while it loads.
    with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = container.add_stream(
            "libx264", rate=rate, options={"crf": QUALITY, **REPRODUCIBLE, **IN_ORDER}
        )
        stream.pix_fmt = "yuv420p"
        tag_colours(stream.codec_context)
        size = None
        for frame in frames:
            if size is None:
                size = frame.shape
                stream.height, stream.width = (n + n % 2 for n in size[:2])
            elif frame.shape != size:
                raise MediaError(
                    f"cannot write {path}: a frame is {frame.shape[1]}x{frame.shape[0]}, "
                    f"expected {size[1]}x{size[0]} as the first; give frames of one size"
                )
            for packet in stream.encode(_to_yuv(frame)):
                container.mux(packet)
        if size is None:
            raise MediaError(f"cannot write {path}: there are no frames, expected at least 1")
        for packet in stream.encode():
            container.mux(packet)


def tag_colours(codec: VideoCodecContext) -> None:
    """Says in the file which RGB its numbers mean; a player that has to guess shows other colours."""
    codec.colorspace = BT709
    codec.color_range = ColorRange.MPEG
    codec.color_primaries = BT709
    codec.color_trc = BT709


def _to_yuv(frame: UInt8[np.ndarray, "H W 3"]) -> av.VideoFrame:
    height, width = frame.shape[:2]
    even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
    )


def read_comment(path: str | os.PathLike[str]) -> str | None:
    """What a video was given as its comment; None: nothing.

    Raises:
        MediaError: it is no video.
    """
    try:
        with _open(path) as container:
            comment = container.metadata.get("comment")
    except av.error.FFmpegError as error:
        raise MediaError(
            f"cannot read {path}: it is no video, or it is damaged ({error.strerror}); export or render it "
            "again"
        ) from error
    return None if comment is None else comment.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_video(path: str | os.PathLike[str]) -> tuple[UInt8[np.ndarray, "F H W 3"], float]:
    """All frames of a video that `write_video` wrote, and its frames per second.

    Raises:
        MediaError: the file is missing, or it is no video.
    """
    if not Path(path).is_file():
        raise MediaError(f"cannot read {path}: there is no such file, expected a video")
    try:
        with _open(path) as container:
            if not container.streams.video:
                raise MediaError(f"cannot read {path}: it holds no pictures, expected a video")
            stream = container.streams.video[0]
            frames = [_to_rgb(frame) for frame in container.decode(stream)]
            rate = stream.average_rate
    except av.error.FFmpegError as error:
        raise MediaError(
            f"cannot read {path}: it is no video, or it is damaged ({error.strerror}); export or render it "
            "again"
        ) from error
    if not frames or rate is None:
        raise MediaError(f"cannot read {path}: the video has no frames, expected at least 1")
    return np.stack(frames), float(rate)


def _open(path: str | os.PathLike[str]) -> InputContainer:
    """A video, whatever its words are: PyAV before 19 refused those that are no text, unless asked not to."""
    if int(av.__version__.split(".")[0]) < 19:
        return av.open(str(path), metadata_errors="replace")
    return av.open(str(path))


def _to_rgb(frame: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
    return frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
    ).to_ndarray()
