"""Which frames of a clip a run folder holds, where these are not all."""

from dataclasses import dataclass

from genrender.config import RunConfig
from genrender.sampling.appearance import Appearance
from genrender.sampling.part import whole_chunks
from genrender.surface.lock import needed_frames


@dataclass(frozen=True)
class ClipPart:
    """The keyframes of a clip, or consecutive frames that are made against them.

    Attributes:
        frames: their numbers in the clip, ascending.
        keyframes: what the consecutive frames are made against; None: these frames are the keyframes.
    """

    frames: tuple[int, ...]
    keyframes: Appearance | None = None

    def around(self, config: RunConfig, n_frames: int) -> range:
        """The frames that are decoded: what steadies the light of those at the ends as well.

        Args:
            config: of the run.
            n_frames: of the clip.
        """
        assert self.keyframes is not None
        return needed_frames(range(self.frames[0], self.frames[-1] + 1), n_frames, config.lock)

    def sampled(self, config: RunConfig, n_frames: int) -> tuple[int, ...]:
        """The frames that go through the diffusion: those that are decoded, and the rest of their chunks."""
        if self.keyframes is None:
            return self.frames
        return whole_chunks(self.around(config, n_frames), n_frames, config.chunk_size)
