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
from genrender.runs.part import ClipPart
from genrender.sampling.loop import decode_frames
from genrender.sampling.store import FinalTensors
from genrender.shots.clip import Clip
from genrender.surface.lock import MAX_VIEWS, SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings, UvSightings


def write_frames(
    backbone: Backbone,
    latents: FinalTensors,
    clip: Clip,
    painted: list[int] | None,
    part: ClipPart | None,
    config: RunConfig,
    folder: RunFolder,
    hooks: RunHooks,
) -> list[int]:
    """Writes a run's frames; returns the numbers of those that the safety checker blackened.

    Args:
        backbone: the image model.
        latents: as `sample` returns them.
        clip: all frames.
        painted: the frames that a baked method paints, whose latents these are; None: all.
        part: the frames that are written; None: all.
        config: resolved.
        folder: where they go.
        hooks: told about every frame.
    """
    numbers = range(clip.shot.n_frames) if part is None else part.frames
    hooks.report("frames", 0, len(numbers))
    decoded = _Decoded(backbone, latents)
    flagged = decoded.flagged
    if painted is None:
        # Keyframes are what frames are locked to: apart in time, they have nothing to be locked to.
        is_locked = config.lock > 0 and (part is None or part.keyframes is not None)
        frames = _locked(decoded, clip, part, config) if is_locked else decoded.some(numbers)
    else:
        # What is baked is one with its surface already: there is nothing to lock.
        pictures = np.stack(list(decoded.some(range(len(painted)))))
        # What the safety checker has blackened is no appearance to bake, unless there is nothing else.
        kept = [index for index in range(len(painted)) if index not in flagged] or range(len(painted))
        frames = static_texture(pictures[list(kept)], [painted[index] for index in kept], clip.tracker)
        flagged = {painted[index] for index in flagged}
    for done, (number, frame) in enumerate(zip(numbers, frames, strict=True), start=1):
        finished = frame
        if config.background_color is not None:
            finished = composite_backdrop(frame, clip.gbuffers[number], config.background_color)
        folder.write_frame(number, to_picture(finished))
        hooks.report("frames", done, len(numbers))
    return sorted(flagged.intersection(numbers))


class _Decoded:
    """Frames decoded one by one, and which of them the safety checker blackened."""

    def __init__(self, backbone: Backbone, latents: FinalTensors):
        self._backbone, self._latents = backbone, latents
        self.flagged: set[int] = set()

    def some(self, frames: Sequence[int]) -> Iterator[Float32[np.ndarray, "H W 3"]]:
        return decode_frames(self._backbone, self._latents, frames, self.flagged.add)


def _locked(
    decoded: _Decoded, clip: Clip, part: ClipPart | None, config: RunConfig
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """The frames of a clip or of its part, locked to a few frames that are the same for all parts."""
    chosen = _views(clip, part, config)
    views = dict(zip(chosen, decoded.some(chosen), strict=True))
    wanted = around = range(clip.shot.n_frames)
    if part is not None:
        wanted = range(part.frames[0], part.frames[-1] + 1)
        around = part.around(config, clip.shot.n_frames)
    # What the safety checker has blackened shows no surface.
    seen = {frame: picture for frame, picture in views.items() if frame not in decoded.flagged}
    if not seen:
        yield from decoded.some(wanted)
        return
    # Through UVs where there is no geometry.
    found = GeometrySightings(clip.tracker) if clip.has_geometry else UvSightings(clip.gbuffers)
    lock = SurfaceLock(found, seen)
    yield from locked_frames(decoded.some(around), lock, config.lock, decoded.flagged, wanted)


def _views(clip: Clip, part: ClipPart | None, config: RunConfig) -> list[int]:
    if part is None:
        return covering_frames(clip.gbuffers, MAX_VIEWS, config.seed)
    assert part.keyframes is not None
    of_keyframes = covering_frames(part.keyframes.gbuffers, MAX_VIEWS, config.seed)
    return [part.keyframes.frames[row] for row in of_keyframes]
