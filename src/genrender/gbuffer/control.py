"""The control image of a depth ControlNet: inverse depth, scaled by one range for the whole clip.

A backdrop must not take contrast from the objects. The range is therefore that of the scene's own objects;
the ground goes on from there, white towards the viewer and black at the horizon, as depth maps that a network
estimates from photographs of floors do; the dome is background.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID

# Brightness of the farthest surface: well above the background's 0, so that it never looks like background.
FARTHEST_SURFACE = 0.2
# Percentiles of a long clip are taken from every n-th pixel, so that they need no more memory than this.
_MAX_SAMPLES = 4_000_000


def depth_control(gbuffers: Sequence[GBuffer]) -> Float32[np.ndarray, "F H W"]:
    """The clip's depth control images: nearest surface 1, farthest surface 0.2, background and dome 0.

    One range serves all frames: a range per frame would make the brightness of a still object change with
    whatever else moves.

    Raises:
        ConfigError: there are no frames.
    """
    if not gbuffers:
        raise ConfigError("no G-buffers for a depth control image, expected at least 1")
    inverse_range = inverse_depth_range(gbuffers)
    return np.stack([scale_inverse_depth(gbuffer, inverse_range) for gbuffer in gbuffers])


def inverse_depth_range(gbuffers: Sequence[GBuffer]) -> tuple[float, float]:
    """The 2nd and 98th percentile of the inverse depth of all pixels that show an object.

    Backdrops do not count, except that a ground does where no frame shows anything else.

    Returns:
        (far, near) in 1 / scene units; both are 0 if no frame shows a surface.
    """
    for is_meant in (shows_own_object, lambda gbuffer: gbuffer.object_id == GROUND_ID):
        n_pixels = sum(int(is_meant(gbuffer).sum()) for gbuffer in gbuffers)
        if n_pixels:
            stride = -(-n_pixels // _MAX_SAMPLES)
            inverse = np.concatenate([1 / gbuffer.depth[is_meant(gbuffer)][::stride] for gbuffer in gbuffers])
            far, near = np.percentile(inverse, [2, 98])
            return float(far), float(near)
    return 0.0, 0.0


def scale_inverse_depth(gbuffer: GBuffer, inverse_range: tuple[float, float]) -> Float32[np.ndarray, "H W"]:
    """One frame's control image for a given `inverse_depth_range`; what lies beyond it is clipped.

    Only the ground fades on below the farthest object's 0.2, to 0 at infinity. A range of no extent
    (everything equally far) makes every object 1.
    """
    far, near = inverse_range
    control = np.zeros_like(gbuffer.depth)
    own, ground = shows_own_object(gbuffer), gbuffer.object_id == GROUND_ID
    control[own] = _nearness(1 / gbuffer.depth[own], far, near)
    inverse = 1 / gbuffer.depth[ground]
    if near > far:
        fade = np.minimum(FARTHEST_SURFACE * inverse / far, FARTHEST_SURFACE) if far > 0 else FARTHEST_SURFACE
        control[ground] = np.where(inverse < far, fade, _nearness(inverse, far, near))
    else:
        control[ground] = np.minimum(inverse / near, 1) if near > 0 else 1
    return control


def _nearness(inverse: Float32[np.ndarray, "N"], far: float, near: float) -> Float32[np.ndarray, "N"]:
    if near <= far:
        return np.ones_like(inverse)
    share = np.clip((inverse - far) / (near - far), 0, 1)
    return FARTHEST_SURFACE + (1 - FARTHEST_SURFACE) * share


def shows_own_object(gbuffer: GBuffer) -> Bool[np.ndarray, "H W"]:
    """True where the pixel shows an object of the scene itself and neither background nor a backdrop."""
    return gbuffer.visible & (gbuffer.object_id != GROUND_ID) & (gbuffer.object_id != DOME_ID)
