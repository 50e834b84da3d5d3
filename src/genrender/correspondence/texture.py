"""Mechanism 2 through UV atlases: keyframe features are splatted to texels, unified, and sampled back.

No texture is ever stored whole. Only visible texels exist, and since a unify rule is a set of weights over
the keyframes, a frame's pixel needs no more than the keyframe pixels that own the texel under its centre.
Those indices are found once; a diffusion step only gathers features.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from genrender.config import CorrespondenceConfig, UnifyRule
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

# The texture of one frame at one size takes 24 bytes a texel, about 1.5 MB for 64x64 features. The bound
# keeps memory independent of the clip's length; what was dropped is found again in 30 ms.
_N_CACHED_TEXTURES = 200
_N_CACHED_TEXELS = 4096


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


Value = TypeVar("Value")


class _Recent(OrderedDict[tuple[int, int, int], Value], Generic[Value]):
    """The results of (frame, height, width) that were asked for last, at most `n_kept` of them.

    A plain dictionary: an `lru_cache` around a method holds the object that holds it, and the clip's
    G-buffers would stay in memory until the garbage collector comes by.
    """

    def __init__(self, n_kept: int):
        super().__init__()
        self.n_kept = n_kept

    def look_up(self, find: Callable[[int, int, int], Value], frame: int, height: int, width: int) -> Value:
        key = (frame, height, width)
        if key in self:
            self.move_to_end(key)
        else:
            self[key] = find(*key)
        if len(self) > self.n_kept:
            self.popitem(last=False)
        return self[key]


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
        config: texture size, fill order and whether spread is restored.
        device: where features live.

    Raises:
        ConfigError: no G-buffers, or a setting out of range.

    Source: section 4 of the paper.
    Differs: sparse texels, explicit masks; by default also fill order and restored spread. Texels that no
        keyframe sees are not inpainted yet: they are invalid, and there A' = A.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        config: CorrespondenceConfig | None = None,
        device: str | torch.device = "cpu",
    ):
        if len(gbuffers) == 0:
            raise ConfigError("correspondence: got no G-buffers, expected at least one")
        self._config = config or CorrespondenceConfig()
        self._config.check()
        self._gbuffers = gbuffers
        self._device = torch.device(device)
        # Texel ids need 64 bits in sort, unique and search, which nobody has tested on Apple's Metal.
        self._index_device = torch.device("cpu") if self._device.type == "mps" else self._device
        self._textures = _Recent[TexelOwners](_N_CACHED_TEXTURES)
        self._texels = _Recent[Tensor](_N_CACHED_TEXELS)

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
        texel = torch.cat([self._texel_under_pixels(f, height, width) for f in frames])
        gather, is_seen = self._gather(keyframes, texel, height, width, rule)
        reference = None
        if self._config.restore_spread and rule != "fill":
            shown = torch.cat([self._texel_under_pixels(k, height, width) for k in keyframes]).unique()
            shown = shown[shown >= 0]
            # As many texels as one map has pixels are enough for a standard deviation.
            stride = -(-shown.numel() // (height * width)) or 1
            reference, _ = self._gather(keyframes, shown[::stride].contiguous(), height, width, rule)
        return SurfaceBlend(gather, is_seen.view(len(frames), height, width), reference)

    def _gather(
        self, keyframes: Sequence[int], texel: Int64[Tensor, "N"], height: int, width: int, rule: UnifyRule
    ) -> tuple[_WeightedGather, Bool[Tensor, "N"]]:
        samples = [sample_texture(self._texture(k, height, width), texel) for k in keyframes]
        pixel, quality, seen = (torch.stack(column) for column in zip(*samples, strict=True))
        by_quality = quality if self._config.fill_order == "quality" else None
        weights = unify_weights(rule, seen, by_quality).to(self._device)
        return _WeightedGather(pixel.to(self._device), weights), seen.any(0).to(self._device)

    def _texel_under_pixels(self, frame: int, height: int, width: int) -> Int64[Tensor, "N"]:
        """The texel under the centre of every feature pixel."""
        return self._texels.look_up(self._find_texels, frame, height, width)

    def _texture(self, frame: int, height: int, width: int) -> TexelOwners:
        """The feature pixels of one frame, on the surface."""
        return self._textures.look_up(self._find_texture, frame, height, width)

    def _find_texels(self, frame: int, height: int, width: int) -> Int64[Tensor, "N"]:
        gbuffer = self._gbuffers[frame]
        rows = sample_under_pixel(gbuffer.height, height)
        cols = sample_under_pixel(gbuffer.width, width)
        texel = texel_ids(gbuffer, self._side(height, width))[rows[:, None], cols]
        return torch.from_numpy(texel.ravel()).to(self._index_device)

    def _find_texture(self, frame: int, height: int, width: int) -> TexelOwners:
        texel = texel_ids(self._gbuffers[frame], self._side(height, width))
        return splat_to_texture(torch.from_numpy(texel).to(self._index_device), (height, width))

    def _side(self, height: int, width: int) -> int:
        return max(1, round(self._config.ratio * max(height, width)))
