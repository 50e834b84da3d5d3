"""The data that the 3D stage hands to the diffusion stage: one `GBuffer` per frame."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer, UInt64

from genrender.scene.camera import Lens

# What a G-buffer holds for every pixel.
PIXEL_FIELDS = ("depth", "uv", "object_id", "tri_id", "bary", "atlas_id")
# What it knows beside these.
OTHER_FIELDS = ("texture_keys", "lens", "object_names")


@dataclass(frozen=True)
class GBuffer:
    """What every pixel of one frame shows. Row 0 is the top; one sample per pixel centre, never anti-aliased.

    Attributes:
        depth: planar distance along the view axis in scene units, > 0; background is +inf.
        uv: texture coordinates in [0, 1], origin top-left as in glTF (V grows downwards); background is 0.
        object_id: 0 is background, objects count from 1; a backdrop has ids of its own (16382 is ground,
            16383 is dome, see `genrender.scene.backdrop_ids`).
        tri_id: index into the scene's triangles; -1 is background. Never compare it between frames of a scene
            whose topology changes. A G-buffer that was read from an image file knows no triangles: -1
            everywhere.
        bary: weights of the triangle's second and third corner; 0 where `tri_id` is -1.
        atlas_id: the texture that `uv` points into; 0 is background. The object's id, unless charts of an
            object lie over each other (see `genrender.scene.uv.charts`) or objects are joined from parts.
            None stands for `object_id`.
        texture_keys: what the noise of each texture is drawn by, one number for every id up to the largest,
            see `genrender.scene.names.texture_keys`; the same in all frames. None: ids serve as keys.
        lens: what turns depths into places; None: it is not known.
        object_names: what the objects are called, by id; None: they have no names.
    """

    depth: Float32[np.ndarray, "H W"]
    uv: Float32[np.ndarray, "H W 2"]
    object_id: Int32[np.ndarray, "H W"]
    tri_id: Int32[np.ndarray, "H W"]
    bary: Float32[np.ndarray, "H W 2"]
    atlas_id: Int32[np.ndarray, "H W"] = None  # pyright: ignore[reportAssignmentType] (filled in below)
    texture_keys: UInt64[np.ndarray, "n_ids"] | None = None
    lens: Lens | None = None
    object_names: Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        if self.atlas_id is None:
            object.__setattr__(self, "atlas_id", self.object_id)

    def at(self, rows: Integer[np.ndarray, "h 1"], cols: Integer[np.ndarray, "w"]) -> "GBuffer":
        """The same picture with fewer samples or more, those where these rows and columns cross."""
        pixels = {name: getattr(self, name)[rows, cols] for name in PIXEL_FIELDS}
        return replace(self, **pixels)

    @property
    def height(self) -> int:
        return self.depth.shape[0]

    @property
    def width(self) -> int:
        return self.depth.shape[1]

    @property
    def visible(self) -> Bool[np.ndarray, "H W"]:
        """True where the pixel shows a surface."""
        return self.object_id > 0

    @property
    def has_triangles(self) -> bool:
        """False if the exact surface points are unknown because the G-buffer was read from an image file."""
        return not np.any(self.visible & (self.tri_id < 0))
