"""Several samples of every pixel, for edges that are not jagged."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Int32

from genrender.scene.backdrop_ids import BACKDROP_NAMES
from genrender.shots.clip import Clip, Shot

# Along one side of a pixel.
N_SAMPLES = 4


def sampled_ids(clip: Clip, frame: int) -> Int32[np.ndarray, "HS WS"]:
    """Object ids of `N_SAMPLES` x `N_SAMPLES` samples of every pixel; of EXR files the one that they have."""
    if not isinstance(clip.shot, Shot):
        ids = clip.gbuffers[frame].object_id
        return ids.repeat(N_SAMPLES, axis=0).repeat(N_SAMPLES, axis=1)
    shot = clip.shot
    size = (shot.width * N_SAMPLES, shot.height * N_SAMPLES)
    return replace(shot, config=replace(shot.config, size=size)).gbuffer(frame).object_id


def object_alpha(clip: Clip, frame: int) -> Float32[np.ndarray, "H W"]:
    """How much of every pixel the scene's own objects cover, 0..1; backdrops do not count."""
    ids = sampled_ids(clip, frame)
    own = (ids > 0) & ~np.isin(ids, list(BACKDROP_NAMES))
    height, width = (side // N_SAMPLES for side in ids.shape)
    return own.reshape(height, N_SAMPLES, width, N_SAMPLES).mean(axis=(1, 3), dtype=np.float32)
