"""Mechanism 2 through UV atlases: keyframe features are splatted to texels, unified, and sampled back.

No texture is ever stored whole. Only visible texels exist, and since a unify rule is a set of weights over
the keyframes, a frame's pixel needs no more than the keyframe pixels that own the texel under its centre.
Those indices are found once; a diffusion step only gathers features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from genrender.config import UnifyRule
from genrender.correspondence.unify import unify_weights
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.texels import (
    TexelOwners,
    flat_pixel_of_sample,
    sample_under_pixel,
    texel_ids,
    texel_owners,
)

# The owners of one frame at one size take 24 bytes a texel, about 1.5 MB for 64x64 features. The bound keeps
# memory independent of the clip's length; what was dropped is found again in 30 ms.
_N_CACHED_OWNERS = 200
_N_CACHED_TEXELS = 4096


@dataclass(frozen=True)
class SurfaceTexture:
    """Features on the texels that one frame shows.

    Attributes:
        owners: the texels and the feature pixels they come from.
        values: one column per texel.
    """

    owners: TexelOwners
    values: Float[Tensor, "C N"]


def splat_to_texture(features: Float[Tensor, "C h w"], texel: Int64[Tensor, "H W"]) -> SurfaceTexture:
    """Put one frame's features on the surface.

    Args:
        features: a feature map; its pixels cover the same picture as the samples.
        texel: the texel of every image-resolution sample, -1 for background. All samples are splatted, so
            that a texture finer than the feature map is covered without holes. A texel that several feature
            pixels touch takes the one that holds most of its samples.
    """
    (n_rows, n_cols), (_, height, width) = texel.shape, features.shape
    pixel = torch.from_numpy(flat_pixel_of_sample((n_rows, n_cols), (height, width)))
    owners = texel_owners(texel, pixel.to(texel.device))
    return SurfaceTexture(owners, features.flatten(1)[:, owners.pixel])


def sample_texture(
    texture: SurfaceTexture, texel: Int64[Tensor, "h w"]
) -> tuple[Float[Tensor, "C h w"], Bool[Tensor, "h w"]]:
    """Render features from the surface: each pixel takes the texel given for it.

    Returns:
        The features, and where they are valid; a pixel of the background or of an empty texel is not, and 0.
    """
    index, is_filled = _find(texture.owners.texel, texel.flatten())
    values = texture.values.new_zeros(texture.values.shape[0], index.numel())
    values[:, is_filled] = texture.values[:, index[is_filled]]
    return values.unflatten(1, tuple(texel.shape)), is_filled.unflatten(0, tuple(texel.shape))


def _find(
    sorted_texels: Int64[Tensor, "N"], texel: Int64[Tensor, "M"]
) -> tuple[Int64[Tensor, "M"], Bool[Tensor, "M"]]:
    """Where each texel stands in the sorted list (anywhere if it does not), and whether it does."""
    if sorted_texels.numel() == 0:
        return torch.zeros_like(texel), torch.zeros_like(texel, dtype=torch.bool)
    index = torch.searchsorted(sorted_texels, texel).clamp(max=sorted_texels.numel() - 1)
    return index, sorted_texels[index] == texel


class _WeightedGather:
    """out[n] = sum over keyframes k of weights[k, n] * features[k, pixel[k, n]], skipping zero weights."""

    def __init__(self, pixel: Int64[Tensor, "K N"], weights: Float32[Tensor, "K N"]):
        self.n_rows = pixel.shape[1]
        self.rows = [torch.nonzero(w).squeeze(1) for w in weights]
        self.pixels = [p[rows] for p, rows in zip(pixel, self.rows, strict=True)]
        self.weights = [w[rows, None] for w, rows in zip(weights, self.rows, strict=True)]

    def __call__(self, features: Float[Tensor, "K P C"]) -> Float32[Tensor, "N C"]:
        out = torch.zeros(self.n_rows, features.shape[2], device=features.device)
        for k, (rows, pixels, weights) in enumerate(zip(self.rows, self.pixels, self.weights, strict=True)):
            out.index_add_(0, rows, features[k, pixels].float() * weights)
        return out


class SurfaceBlend:
    """Renders the keyframes' unified features into frames; made by `TextureCorrespondence.blend`.

    One object serves every layer of its size, both guidance branches and all calls of a diffusion step.
    """

    def __init__(
        self,
        frames: _WeightedGather,
        valid: Bool[Tensor, "F h w"],
        reference: _WeightedGather | None,
    ):
        self.valid = valid
        self._frames = frames
        self._reference = reference

    def __call__(
        self, features: Float[Tensor, "K C h w"]
    ) -> tuple[Float[Tensor, "F C h w"], Bool[Tensor, "F h w"]]:
        """Blend the keyframes' features and see them through the frames' G-buffers.

        Args:
            features: one map per keyframe, in the order of the keyframes given to `blend`.

        Returns:
            R, the rendered surface features, 0 where invalid; and where they are valid.
        """
        # Rows of C contiguous numbers: attention features are stored that way, so this copies nothing.
        flat = features.flatten(2).transpose(1, 2)
        rendered = self._frames(flat)
        if self._reference is not None:
            rendered = self._restore_spread(rendered, flat, self._reference)
        n_frames, height, width = self.valid.shape
        rendered = rendered.to(features.dtype).view(n_frames, height, width, -1).permute(0, 3, 1, 2)
        return rendered, self.valid

    def _restore_spread(
        self, rendered: Float32[Tensor, "N C"], flat: Float[Tensor, "K P C"], reference: _WeightedGather
    ) -> Float32[Tensor, "N C"]:
        """Scale about the mean, channel by channel, so that averaging loses no variance.

        The law of total variance: what the average u of sources x lost is the spread of x about u,
        Var(x) = Var(u) + E[Var(x | texel)]. Both sides are taken over the keyframes' texels and never over
        the frames rendered now, so that the gain does not depend on how frames are grouped.
        """
        if reference.n_rows == 0:
            return rendered
        unified = reference(flat)
        mean = unified.mean(0)
        source_var = reference((flat.float() - mean).square()).mean(0)
        unified_var = (unified - mean).square().mean(0)
        gain = torch.where(unified_var > 0, (source_var / unified_var.clamp(min=1e-30)).sqrt(), 1.0)
        # K independent sources lose a factor sqrt(K); more is no average's doing but chance or rounding.
        gain = gain.clamp(1.0, flat.shape[0] ** 0.5)
        # mean + gain * (rendered - mean) in place; where nothing is valid, 0 stays 0.
        return rendered.mul_(gain).addcmul_(self.valid.flatten()[:, None].float(), mean - gain * mean)


class TextureCorrespondence:
    """Which keyframe pixels show the surface point under a frame's pixel, found through the UV atlases.

    Args:
        gbuffers: the clip, all of one size. They are read when needed, so a lazy sequence will do.
        ratio: texture side over the longer side of a feature map. Low blurs, high leaves texels unfilled.
        device: where features live.
        fill_order: which keyframe comes first in a texel: the one that sees it largest (`quality`), or the
            first in the list (`sequence`, as published).
        restore_spread: undo the loss of variance that averaging brings (rules `mean` and `paper`).

    Raises:
        ConfigError: no G-buffers, or a ratio that is not positive.

    Source: section 4 of the paper. Differs: sparse texels, explicit masks, fill order, restored spread.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        ratio: float = 4.0,
        device: str | torch.device = "cpu",
        fill_order: Literal["quality", "sequence"] = "quality",
        restore_spread: bool = True,
    ):
        if len(gbuffers) == 0 or not ratio > 0:
            raise ConfigError(
                f"correspondence: got {len(gbuffers)} G-buffers and ratio {ratio}, expected at least one "
                "G-buffer and a ratio above 0"
            )
        if fill_order not in ("quality", "sequence"):
            raise ConfigError(
                f"correspondence: unknown fill order {fill_order!r}, expected quality or sequence"
            )
        self._gbuffers = gbuffers
        self._ratio = ratio
        self._device = torch.device(device)
        self._fill_order = fill_order
        self._restore_spread = restore_spread
        self._owners = lru_cache(_N_CACHED_OWNERS)(self._find_owners)
        self._texels = lru_cache(_N_CACHED_TEXELS)(self._find_texels)

    def blend(
        self, keyframes: Sequence[int], frames: Sequence[int], height: int, width: int, rule: UnifyRule
    ) -> SurfaceBlend:
        """Prepare to carry features of this size from `keyframes` to `frames`.

        Args:
            keyframes: frame indices, in the order in which `fill` visits them.
            frames: frame indices to render into.
            height: of the feature map in feature pixels; need not divide the picture's height.
            width: likewise.
            rule: how keyframes that show the same texel are combined.
        """
        texel = torch.stack([self._texels(f, height, width) for f in frames])
        gather, is_seen = self._gather(keyframes, texel.flatten(), height, width, rule)
        reference = None
        if self._restore_spread and rule != "fill":
            shown = torch.cat([self._texels(k, height, width) for k in keyframes]).unique()
            shown = shown[shown >= 0]
            # As many texels as one map has pixels are enough for a standard deviation.
            stride = -(-shown.numel() // (height * width)) or 1
            reference, _ = self._gather(keyframes, shown[::stride].contiguous(), height, width, rule)
        return SurfaceBlend(gather, is_seen.view(len(frames), height, width), reference)

    def _gather(
        self, keyframes: Sequence[int], texel: Int64[Tensor, "N"], height: int, width: int, rule: UnifyRule
    ) -> tuple[_WeightedGather, Bool[Tensor, "N"]]:
        pixel, quality, seen = [], [], []
        for keyframe in keyframes:
            owners = self._owners(keyframe, height, width)
            index, is_seen = _find(owners.texel, texel)
            index = index * is_seen
            empty = owners.texel.numel() == 0
            pixel.append(index if empty else owners.pixel[index])
            quality.append(index if empty else owners.n_samples[index])
            seen.append(is_seen)
        seen = torch.stack(seen)
        by_quality = torch.stack(quality) if self._fill_order == "quality" else None
        return _WeightedGather(torch.stack(pixel), unify_weights(rule, seen, by_quality)), seen.any(0)

    def _side(self, height: int, width: int) -> int:
        return max(1, round(self._ratio * max(height, width)))

    def _find_texels(self, frame: int, height: int, width: int) -> Int64[Tensor, "N"]:
        """The texel under the centre of every feature pixel."""
        gbuffer = self._gbuffers[frame]
        rows = sample_under_pixel(gbuffer.height, height)
        cols = sample_under_pixel(gbuffer.width, width)
        texel = texel_ids(gbuffer, self._side(height, width))[rows[:, None], cols]
        return torch.from_numpy(texel.ravel()).to(self._device)

    def _find_owners(self, frame: int, height: int, width: int) -> TexelOwners:
        gbuffer = self._gbuffers[frame]
        texel = torch.from_numpy(texel_ids(gbuffer, self._side(height, width))).to(self._device)
        pixel = flat_pixel_of_sample((gbuffer.height, gbuffer.width), (height, width))
        return texel_owners(texel, torch.from_numpy(pixel).to(self._device))
