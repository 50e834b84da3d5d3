"""PNG files of 16 bits."""

import os
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from jaxtyping import UInt16

from genrender.storage.atomic import atomic_write

_FORM = "rgb48be"


def write_gray16(path: str | os.PathLike[str], picture: UInt16[np.ndarray, "H W"]) -> None:
    """Writes gray as three equal channels.

    Pillow, and whatever reads with it, makes 8 bits of a single channel of 16 by cutting off: all is white.

    Raises:
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, axis=2), format=_FORM)
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, _FORM
    encoder.time_base = Fraction(1)
    with atomic_write(path) as part:
        part.write_bytes(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
