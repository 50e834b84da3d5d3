"""Mechanism 2 through UV atlases: keyframe features are splatted to texels, unified, and sampled back.

No texture is ever stored whole. Only visible texels exist, and since a unify rule is a set of weights over
the keyframes, a frame's pixel needs no more than the keyframe pixels that own the texel under its centre.
Those indices are found once; a diffusion step only gathers features.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from genrender.config import CorrespondenceConfig, UnifyRule
from genrender.correspondence.gather import (
    FeatureMap,
    Moment,
    References,
    SurfaceBlend,
    WeightedGather,
    gather_pixels,
)
from genrender.correspondence.unify import UNIFY_RULES, Samples, unify_weights
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.bounded_cache import Recent
from genrender.storage.frame_file import FrameCache
from genrender.storage.run_files import texels_file
from genrender.surface.texels import (
    N_LEVELS,
    TexelOwners,
    flat_pixel_of_sample,
    texel_cell,
    texel_ids,
    texel_owners,
    texels_under_pixels,
)

# The texture of one frame at one size takes 24 bytes a texel, about 1.5 MB for 64x64 features. The bound
# keeps memory independent of the clip's length; what was dropped is found again in 30 ms.
_N_CACHED_TEXTURES = 200

# Height and width of a feature map, and texels along a side of the texture that it is splatted to.
_Shape = tuple[int, int, int]


def splat_to_texture(texel: Int64[Tensor, "H W"], size: tuple[int, int]) -> TexelOwners:
    """Put one frame's feature pixels on the surface.

    The texture holds indices of pixels and no features, so that every layer of this size, every channel and
    both guidance branches share it.

    Args:
        texel: the texel of every image-resolution sample, -1 for background. All samples are splatted, so
            that a texture finer than the feature map is covered without holes. A texel that several feature
            pixels touch takes the one that holds most of its samples.
        size: height and width of the feature map; its pixels cover the same picture as the samples.
    """
    n_rows, n_cols = texel.shape
    pixel = torch.from_numpy(flat_pixel_of_sample((n_rows, n_cols), size))
    return texel_owners(texel, pixel.to(texel.device))


def sample_texture(
    texture: TexelOwners, texel: Int64[Tensor, "N"]
) -> tuple[Int64[Tensor, "N"], Int64[Tensor, "N"], Bool[Tensor, "N"]]:
    """See the surface: what the texture holds in each of the texels given.

    Returns:
        The flat index of the feature pixel, how many of its samples lie in the texel, and whether the texel
        is filled; the numbers are 0 where it is not. -1, the background, never is.
    """
    if texture.texel.numel() == 0:
        return torch.zeros_like(texel), torch.zeros_like(texel), torch.zeros_like(texel, dtype=torch.bool)
    index = torch.searchsorted(texture.texel, texel).clamp(max=texture.texel.numel() - 1)
    is_filled = texture.texel[index] == texel
    return texture.pixel[index] * is_filled, texture.n_samples[index] * is_filled, is_filled


def nearest_seen(texel: Int64[Tensor, "N"], seen: Int64[Tensor, "M"]) -> Int64[Tensor, "N"]:
    """Replace texels that are not seen by a seen one nearby in the same object's atlas.

    Ever coarser cells of the atlas are searched for a seen texel, so that "nearby" is within a factor of two.
    What no cell holds stays as it is; -1, the background, always does.

    Source: section 4 of the paper (inpainting of the texture). Differs: a search by cells instead of a
        distance, and it may cross from one chart to its neighbour in the atlas.
    """
    if seen.numel() == 0:
        return texel
    found = texel.clone()
    open_ = torch.nonzero((texel >= 0) & ~torch.isin(texel, seen)).squeeze(1)
    for level in range(1, N_LEVELS + 1):
        if open_.numel() == 0:
            break
        cells, first = _first_of_each(texel_cell(seen, level))
        wanted = texel_cell(texel[open_], level)
        index = torch.searchsorted(cells, wanted).clamp(max=cells.numel() - 1)
        is_found = cells[index] == wanted
        found[open_[is_found]] = seen[first[index[is_found]]]
        open_ = open_[~is_found]
    return found


def _first_of_each(values: Int64[Tensor, "N"]) -> tuple[Int64[Tensor, "M"], Int64[Tensor, "M"]]:
    """Distinct values in ascending order, and where each stands first."""
    ordered, order = torch.sort(values, stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first], order[is_first]


class TextureCorrespondence:
    """Which keyframe pixels show the surface point under a frame's pixel, found through the UV atlases.

    Args:
        gbuffers: the clip, all of one size. They are read when needed, so a lazy sequence will do.
        config: texture size, fill order and whether spread is restored.
        device: where features live.
        folder: for files of what is found in each frame; None: in memory.

    Raises:
        ConfigError: no G-buffers, or a setting out of range.

    Source: section 4 of the paper.
    Differs: sparse texels, explicit masks; by default also fill order, restored spread, and no inpainting:
        texels that no keyframe sees are invalid, and there A' = A.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        config: CorrespondenceConfig | None = None,
        device: str | torch.device = "cpu",
        folder: Path | None = None,
    ):
        if len(gbuffers) == 0:
            raise ConfigError("correspondence: got no G-buffers, expected at least one")
        self._config = config or CorrespondenceConfig()
        self._config.check()
        self._gbuffers = gbuffers
        self._device = torch.device(device)
        # Texel ids need 64 bits in sort, unique and search, which nobody has tested on Apple's Metal.
        self._index_device = torch.device("cpu") if self._device.type == "mps" else self._device
        self._textures = Recent[TexelOwners](_N_CACHED_TEXTURES)
        self._references = References()
        self._folder = folder
        self._texels: dict[_Shape, FrameCache] = {}

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: UnifyRule,
        progress: float = 0.0,
    ) -> SurfaceBlend:
        """Prepare to carry features, see `SurfaceEngine`."""
        shape = self.grid(features)
        texel = torch.cat([self._texel_under_pixels(f, shape) for f in frames])
        moment = Moment(tuple(keyframes), progress if UNIFY_RULES[rule].rises else 0.0)
        gather, valid, inpainted = self._gather(moment, texel, shape, rule)
        reference = None
        if self._config.restore_spread and UNIFY_RULES[rule].averages and len(keyframes) > 1:
            reference = self._references.look_up(self._find_reference, moment, shape, rule)

        def as_maps(mask: Bool[Tensor, "N"]) -> Bool[Tensor, "F h w"]:
            return mask.to(self._device).view(len(frames), features.height, features.width)

        return SurfaceBlend(
            gather,
            surface=as_maps(texel >= 0),
            valid=as_maps(valid),
            inpainted=None if inpainted is None else as_maps(inpainted),
            reference=reference,
        )

    def grid(self, features: FeatureMap) -> _Shape:
        """The size, and texels along a side of the textures."""
        height, width = features.height, features.width
        return height, width, self._config.texture_side(features.layer, height, width)

    def _gather(
        self, moment: Moment, texel: Int64[Tensor, "N"], shape: _Shape, rule: UnifyRule
    ) -> tuple[WeightedGather, Bool[Tensor, "N"], Bool[Tensor, "N"] | None]:
        """Weights of the keyframes' pixels, which texels get features, and which of these are inpainted."""
        height, width, _ = shape
        textures = [self._textures.look_up(self._find_texture, k, shape) for k in moment.keyframes]
        inpainted = None
        if self._config.inpaint:
            found = nearest_seen(texel, torch.cat([texture.texel for texture in textures]))
            texel, inpainted = found, found != texel
        samples = [sample_texture(texture, texel) for texture in textures]
        pixel, quality, filled = (torch.stack(column) for column in zip(*samples, strict=True))
        by_quality = quality if self._config.fill_order == "quality" else None
        weights = unify_weights(rule, Samples(filled, by_quality, moment.progress)).to(self._device)
        gather = gather_pixels(pixel.to(self._device), weights, height * width)
        return gather, filled.any(0), inpainted

    def _find_reference(self, moment: Moment, shape: _Shape, rule: UnifyRule) -> WeightedGather:
        """Texels that the keyframes show, for the spread of what is rendered."""
        height, width, _ = shape
        shown = torch.cat([self._texel_under_pixels(k, shape) for k in moment.keyframes]).unique()
        shown = shown[shown >= 0]
        # As many texels as one map has pixels are enough for a standard deviation.
        stride = -(-shown.numel() // (height * width)) or 1
        return self._gather(moment, shown[::stride].contiguous(), shape, rule)[0]

    def _texel_under_pixels(self, frame: int, shape: _Shape) -> Int64[Tensor, "N"]:
        """The texel under the centre of every feature pixel."""
        if shape not in self._texels:
            gbuffers, (height, width, side) = self._gbuffers, shape
            self._texels[shape] = FrameCache(
                lambda f: texels_under_pixels(gbuffers[f], (height, width), side),
                len(gbuffers),
                None if self._folder is None else self._folder / texels_file(height, width, side),
            )
        return torch.from_numpy(self._texels[shape][frame]).to(self._index_device)

    def _find_texture(self, frame: int, shape: _Shape) -> TexelOwners:
        """The feature pixels of one frame, on the surface."""
        height, width, side = shape
        texel = texel_ids(self._gbuffers[frame], side)
        return splat_to_texture(torch.from_numpy(texel).to(self._index_device), (height, width))
