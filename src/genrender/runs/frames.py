"""From final latents to a run's frames: decoded, made steady on the surface, put before a colour, written."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from genrender.backbones.protocol import Backbone
from genrender.config import RunConfig
from genrender.gbuffer.composite import composite_backdrop
from genrender.gbuffer.preview import to_picture
from genrender.injection.keyframes import covering_frames
from genrender.methods.static_texture import static_texture
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.sampling.loop import decode_frames
from genrender.sampling.store import FrameTensors
from genrender.shots.clip import Clip
from genrender.surface.lock import SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings, UvSightings

# Views lie in memory, and every frame looks at all of them.
MAX_VIEWS = 8


def write_frames(
    backbone: Backbone,
    latents: FrameTensors,
    clip: Clip,
    painted: list[int] | None,
    config: RunConfig,
    folder: RunFolder,
    hooks: RunHooks,
) -> list[int]:
    """Writes all frames; returns the indices of those that the safety checker blackened.

    Args:
        backbone: the image model.
        latents: as `sample` returns them.
        clip: all frames.
        painted: the frames that a baked method paints, whose latents these are; None: all.
        config: resolved.
        folder: where they go.
        hooks: told about every frame.
    """
    n_frames = clip.shot.n_frames
    hooks.report("frames", 0, n_frames)
    decoded = _Decoded(backbone, latents)
    flagged = decoded.flagged
    if painted is None:
        frames = _locked(decoded, clip, config) if config.lock > 0 else decoded.all()
    else:
        # What is baked is one with its surface already: there is nothing to lock.
        pictures = np.stack(list(decoded.all()))
        # What the safety checker has blackened is no appearance to bake, unless there is nothing else.
        kept = [index for index in range(len(painted)) if index not in flagged] or range(len(painted))
        frames = static_texture(pictures[list(kept)], [painted[index] for index in kept], clip.tracker)
        flagged = {painted[index] for index in flagged}
    for index, frame in enumerate(frames):
        finished = frame
        if config.background_color is not None:
            finished = composite_backdrop(frame, clip.gbuffers[index], config.background_color)
        folder.write_frame(index, to_picture(finished))
        hooks.report("frames", index + 1, n_frames)
    return sorted(flagged)


class _Decoded:
    """Frames decoded one by one, and which of them the safety checker blackened."""

    def __init__(self, backbone: Backbone, latents: FrameTensors):
        self._backbone, self._latents = backbone, latents
        self.flagged: set[int] = set()

    def all(self) -> Iterator[Float32[np.ndarray, "H W 3"]]:
        return decode_frames(self._backbone, self._latents, on_flagged=self.flagged.add)

    def some(self, frames: Sequence[int]) -> dict[int, Float32[np.ndarray, "H W 3"]]:
        pictures = decode_frames(self._backbone, self._latents, frames, self.flagged.add)
        return dict(zip(frames, pictures, strict=True))


def _locked(decoded: _Decoded, clip: Clip, config: RunConfig) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """The frames of a clip, locked to a few of them."""
    views = decoded.some(covering_frames(clip.gbuffers, MAX_VIEWS, config.seed))
    # What the safety checker has blackened shows no surface.
    seen = {frame: picture for frame, picture in views.items() if frame not in decoded.flagged}
    if not seen:
        yield from decoded.all()
        return
    # Through UVs where there is no geometry.
    found = GeometrySightings(clip.tracker) if clip.has_geometry else UvSightings(clip.gbuffers)
    lock = SurfaceLock(found, seen)
    yield from locked_frames(decoded.all(), lock, config.lock, left_alone=decoded.flagged)
