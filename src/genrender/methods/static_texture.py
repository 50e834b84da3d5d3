"""A few painted frames baked into textures, shown in every frame: the upper bound of consistency.

Nothing lives in it: light, shade and reflections of the frames that it was baked from stick to the surface.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32

from genrender.config import CorrespondenceConfig
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.tracking import SurfaceTracker


def static_texture(
    pictures: Float32[np.ndarray, "K H W 3"], sources: Sequence[int], tracker: SurfaceTracker
) -> Iterator[Float32[np.ndarray, "H W 3"]]:
    """Show the surfaces of a clip as a few of its frames paint them.

    Every point takes the colour of the source that sees it largest. A point that none of them sees takes its
    object's mean colour, a pixel without surface the first source's pixel there.

    Args:
        pictures: painted frames, RGB in [0, 1].
        sources: which frames of the clip they are.
        tracker: the clip's geometry.

    Yields:
        Every frame of the clip.
    """
    height, width = pictures.shape[1:3]
    config = CorrespondenceConfig("reproject", restore_spread=False)
    maps = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    sources_gbuffers = [tracker.gbuffers[source] for source in sources]
    means = _mean_colors(pictures, sources_gbuffers)
    for frame, gbuffer in enumerate(tracker.gbuffers):
        # A new engine for every frame: what it remembers of pictures of full size would fill the memory.
        engine = ReprojectCorrespondence(tracker, config)
        rendered, seen = engine.blend(sources, [frame], FeatureMap(height, width), "fill")(maps)
        colors = rendered[0].permute(1, 2, 0).numpy()
        is_seen = seen[0].numpy()
        picture = pictures[0].copy()
        for object_id in np.unique(gbuffer.object_id[gbuffer.visible & ~is_seen]).tolist():
            picture[(gbuffer.object_id == object_id) & ~is_seen] = means.get(object_id, means[0])
        picture[is_seen] = colors[is_seen]
        yield picture


def _mean_colors(
    pictures: Float32[np.ndarray, "K H W 3"], gbuffers: Sequence[GBuffer]
) -> dict[int, Float32[np.ndarray, "3"]]:
    """The mean colour of every object; under 0 that of all surface, or of all pixels where there is none."""
    object_id = np.stack([gbuffer.object_id for gbuffer in gbuffers])
    is_surface = object_id > 0
    everything = pictures[is_surface] if is_surface.any() else pictures.reshape(-1, 3)
    means = {0: everything.mean(0)}
    for object_ in np.unique(object_id[is_surface]).tolist():
        means[object_] = pictures[object_id == object_].mean(0)
    return means
