"""The control image of a depth ControlNet: inverse depth, scaled by one range for the whole clip."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer

# Brightness of the farthest surface: well above the background's 0, so that it never looks like background.
FARTHEST_SURFACE = 0.2


def depth_control(gbuffers: Sequence[GBuffer]) -> Float32[np.ndarray, "F H W"]:
    """The clip's depth control images: nearest surface 1, farthest surface 0.2, background 0.

    One range serves all frames: a range per frame would make the brightness of a still object change with
    whatever else moves.

    Raises:
        ConfigError: there are no frames.
    """
    if not gbuffers:
        raise ConfigError("no G-buffers: a depth control image needs at least 1 frame")
    inverse_range = inverse_depth_range(gbuffers)
    return np.stack([scale_inverse_depth(gbuffer, inverse_range) for gbuffer in gbuffers])


def inverse_depth_range(gbuffers: Sequence[GBuffer]) -> tuple[float, float]:
    """The 2nd and 98th percentile of the inverse depth of all visible pixels: (far, near), 1 / scene units.

    Both are 0 if no frame shows a surface.
    """
    visible = np.concatenate([1 / gbuffer.depth[gbuffer.visible] for gbuffer in gbuffers])
    if visible.size == 0:
        return 0.0, 0.0
    far, near = np.percentile(visible, [2, 98])
    return float(far), float(near)


def scale_inverse_depth(gbuffer: GBuffer, inverse_range: tuple[float, float]) -> Float32[np.ndarray, "H W"]:
    """One frame's control image for a given `inverse_depth_range`; what lies beyond it is clipped.

    A range of no extent (everything equally far) makes every surface 1.
    """
    far, near = inverse_range
    control = np.zeros_like(gbuffer.depth)
    inverse = 1 / gbuffer.depth[gbuffer.visible]
    nearness = np.clip((inverse - far) / (near - far), 0, 1) if near > far else np.ones_like(inverse)
    control[gbuffer.visible] = FARTHEST_SURFACE + (1 - FARTHEST_SURFACE) * nearness
    return control
