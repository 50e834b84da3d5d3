"""Control pictures of a clip, of every kind, each frame's found when it is asked for.

`gbuffer.control` has the depth's, and a file beside it each other kind's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from genrender.config import ControlKind
from genrender.gbuffer.control import inverse_depth_range, scale_inverse_depth
from genrender.gbuffer.control_lineart import lineart_control
from genrender.gbuffer.control_normal import normal_control
from genrender.gbuffer.control_segmentation import segmentation_control
from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.frame_file import FrameCache
from genrender.storage.run_files import control_file


class ControlPictures:
    """The control pictures of a clip.

    Args:
        gbuffers: one per frame.
        folder: for files of what was found, so that memory does not grow with the clip; None: in memory.
        inverse_range: the clip's `inverse_depth_range`, where not all frames are looked at; None: found.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        folder: Path | None = None,
        inverse_range: tuple[float, float] | None = None,
    ) -> None:
        self._gbuffers = gbuffers
        self._inverse_range = inverse_range
        self._folder = folder
        self._found: dict[ControlKind, FrameCache] = {}

    def of(self, kind: ControlKind, frame: int) -> Shaped[np.ndarray, "H W _"]:
        """One frame's picture, of one channel or three; bytes, but depth, which is float32 in [0, 1].

        Raises:
            ConfigError: the G-buffers do not tell what is needed for it.
        """
        if kind not in self._found:
            path = None if self._folder is None else self._folder / control_file(kind)
            gbuffers, make = self._gbuffers, self._maker(kind)
            # What is kept must not refer to this object: a run's clip would wait for the garbage collector.
            self._found[kind] = FrameCache(lambda frame: make(gbuffers[frame]), len(gbuffers), path)
        return self._found[kind][frame]

    def _maker(self, kind: ControlKind) -> Callable[[GBuffer], Shaped[np.ndarray, "H W _"]]:
        if kind == "depth":
            # One range for the whole clip: depth that is scaled frame by frame makes a video pump.
            inverse_range = self._inverse_range or inverse_depth_range(self._gbuffers)
            return lambda gbuffer: scale_inverse_depth(gbuffer, inverse_range)[..., None]
        return _MAKERS[kind]


_MAKERS: dict[ControlKind, Callable[[GBuffer], Shaped[np.ndarray, "H W _"]]] = {
    "normal": normal_control,
    "lineart": lambda gbuffer: lineart_control(gbuffer)[..., None],
    "segmentation": segmentation_control,
}


def as_channels(pictures: Sequence[Shaped[np.ndarray, "H W C"]]) -> Float32[np.ndarray, "n C H W"]:
    """Pictures of one kind as networks take them, in [0, 1]."""
    stacked = np.stack(pictures)
    if stacked.dtype == np.uint8:
        stacked = stacked.astype(np.float32) / 255
    return np.ascontiguousarray(np.moveaxis(stacked, -1, 1))
