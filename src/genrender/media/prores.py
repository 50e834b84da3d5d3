"""ProRes 4444 in MOV files, through PyAV: what editors and compositors take with transparency."""

import os
from collections.abc import Iterable
from fractions import Fraction

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8

from genrender.errors import MediaError
from genrender.media.video import tag_colours
from genrender.storage.atomic import atomic_write


def write_prores(
    path: str | os.PathLike[str], frames: Iterable[UInt8[np.ndarray, "H W 4"]], fps: int | float
) -> None:
    """Writes frames with straight alpha, in 10 bits of colour at full resolution and 16 bits of alpha.

    Args:
        path: the file; whatever it is called, it becomes a MOV.
        frames: RGBA pictures of one size, at least one.
        fps: frames per second, > 0.

    Raises:
        MediaError: there are no frames, or the file cannot be written. Nothing half-written stays behind.
    """
    rate, n_frames = Fraction(fps).limit_denominator(1001), 0
    with atomic_write(path) as part:
        try:
            with av.open(str(part), "w", format="mov") as container:
                stream = container.add_stream(
                    "prores_ks", rate=rate, options={"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}
                )
                stream.pix_fmt = "yuva444p10le"
                stream.codec_context.thread_count = 1
                tag_colours(stream.codec_context)
                for frame in frames:
                    if not n_frames:
                        stream.height, stream.width = frame.shape[:2]
                    n_frames += 1
                    container.mux(stream.encode(_to_yuva(frame)))
                if not n_frames:
                    raise MediaError(f"cannot write {path}: there are no frames, expected at least 1")
                container.mux(stream.encode())
        except av.error.FFmpegError as error:
            raise MediaError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _to_yuva(frame: UInt8[np.ndarray, "H W 4"]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgba").reformat(
        format="yuva444p10le",
        src_colorspace=Colorspace.ITU709,
        dst_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
    )
