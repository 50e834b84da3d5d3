"""Mechanism 1: initial latent noise that lives on the surface and moves with it.

Every object carries a texture of independent N(0, 1) texels, one number per channel, drawn by the object's
name. A frame's noise is that texture seen through the frame's G-buffer. The texture is a pyramid whose every
level is white, so that each frame may use the level that fits its zoom and still agree with the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt64

from genrender.config import NoiseConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.hashing import hash_key, hashed_normal
from genrender.surface.texels import (
    MAX_SIDE,
    N_TEXELS,
    flat_pixel_of_sample,
    join_texel,
    split_texel,
    texel_ids,
    texel_owners,
    texels_under_pixels,
)

# `partition` aims at this many texels in a latent pixel. With fewer, a pixel's share of the surface is known
# too coarsely and some own none; with more, frames see too few of the texels they could share. Correlation at
# true correspondences is flat between 6 and 16 on fox, truck, duck, sphere and plane.
_TEXELS_PER_PIXEL = 12
# `bridge` splits texels, so few of them do; measured between 1 and 12.
_TEXELS_PER_PIXEL_OF_BRIDGE = 2
# An object too small on the screen to measure its texels gets a texture of this side.
_SIDE_IF_UNKNOWN = 16
# `nearest`: texture side over the longer latent side. Where a texel is larger than a latent pixel, pixels
# repeat it (blotches); where it is much smaller, the next frame's centres miss it and nothing follows.
_NEAREST_RATIO = 2


@dataclass(frozen=True)
class _Screen:
    """What the frames of a clip have in common.

    Attributes:
        background: noise where no surface is shown.
        latent_shape: height and width in latent pixels.
        seed: the run's seed.
        texture_side: texels along a side of every noise texture; None: chosen per mode.
    """

    background: Float32[np.ndarray, "P C"]
    latent_shape: tuple[int, int]
    seed: int
    texture_side: int | None


def surface_noise(
    gbuffers: Sequence[GBuffer],
    n_channels: int,
    vae_factor: int,
    seed: int,
    config: NoiseConfig | None = None,
    frames: Sequence[int] | None = None,
) -> Float32[torch.Tensor, "F C h w"]:
    """The initial latents of a clip, N(0, 1) in every pixel and channel.

    Args:
        gbuffers: frames of the clip, all of one size.
        n_channels: channels of the latents.
        vae_factor: image pixels along one side of a latent pixel.
        seed: the run's seed. A frame depends on it and on the frame's own G-buffer, and for `independent` on
            the frame's index, and on nothing else.
        config: the mode and its texture side; None means the defaults.
        frames: which frames of the clip these are, so that it can be drawn in pieces; None: the first ones.

    Raises:
        ConfigError: no G-buffers, a picture size that is not a multiple of `vae_factor`, or a bad setting.

    Source: section 4 of the paper (mode `nearest`).
    Differs: `partition` and `bridge` are ours; they stay white at every zoom.
    """
    config = config or NoiseConfig()
    config.check()
    if len(gbuffers) == 0:
        raise ConfigError("noise: got no G-buffers, expected at least one; render at least one frame")
    rows, cols = gbuffers[0].height, gbuffers[0].width
    if rows % vae_factor or cols % vae_factor:
        raise ConfigError(
            f"noise: got G-buffers of {cols}x{rows} pixels, expected multiples of the VAE factor "
            f"{vae_factor}; try {-(-cols // vae_factor) * vae_factor}x{-(-rows // vae_factor) * vae_factor}"
        )
    config.check()
    height, width = rows // vae_factor, cols // vae_factor
    pixels = np.arange(height * width)
    screen = _Screen(
        _normal(seed, "background", pixels, n_channels), (height, width), seed, config.texture_side
    )
    drawn = []
    numbers = range(len(gbuffers)) if frames is None else frames
    for index, gbuffer in zip(numbers, gbuffers, strict=True):
        if config.mode == "partition":
            frame = _partition(gbuffer, screen)
        elif config.mode == "bridge":
            frame = _bridge(gbuffer, screen)
        elif config.mode == "nearest":
            frame = _nearest(gbuffer, screen)
        elif config.mode == "fixed":
            frame = screen.background
        else:
            frame = _normal(seed, "independent", pixels, n_channels, index)
        if config.degradation > 0:
            kept, fresh = 1 - config.degradation, config.degradation
            mixed = kept * frame + fresh * _normal(seed, "degradation", pixels, n_channels, index)
            frame = (mixed / np.hypot(kept, fresh)).astype(np.float32)
        drawn.append(frame.T.reshape(n_channels, height, width))
    return torch.from_numpy(np.stack(drawn))


def texel_noise(
    texel: Int64[np.ndarray, "N"],
    side: int,
    n_channels: int,
    seed: int,
    keys: UInt64[np.ndarray, "n_keys"] | None = None,
) -> Float32[np.ndarray, "N C"]:
    """Values of an object's noise texture, independent N(0, 1), computed for the given texels alone.

    Levels of one pyramid agree: a texel is half the sum of its four children at twice the side. It is drawn
    from coarse to fine, child = parent / 2 + (e - mean of the four e) with e ~ N(0, 1): variance
    1/4 + 3/4 = 1, covariance of siblings 1/4 - 1/4 = 0. So no level ever limits how near a camera may come.

    Args:
        texel: ids at this side, see `genrender.surface.texels`.
        side: texels along a side; halved while even, and an odd side is the pyramid's top.
        n_channels: independent numbers per texel.
        seed: the run's seed.
        keys: of the textures, see `GBuffer.texture_keys`; None: ids serve as keys.
    """
    atlas_id, v, u = split_texel(texel)
    if side % 2:
        return _texture_normal(seed, "noise", texel, N_TEXELS, n_channels, side, keys=keys)
    parents, index = np.unique(join_texel(atlas_id, v // 2, u // 2), return_inverse=True)
    children = (parents[:, None] * 4 + np.arange(4)).ravel()
    e = _texture_normal(seed, "noise", children, 4 * N_TEXELS, n_channels, side, keys=keys)
    e = e.reshape(-1, 4, n_channels)
    e += (texel_noise(parents, side // 2, n_channels, seed, keys) / 2 - e.mean(1))[:, None]
    return e[index, v % 2 * 2 + u % 2]


def _normal(
    seed: int, purpose: str, what: Int64[np.ndarray, "N"], n_channels: int, *ids: int
) -> Float32[np.ndarray, "N C"]:
    counter = what[:, None] * n_channels + np.arange(n_channels)
    return hashed_normal(hash_key(seed, purpose, *ids), counter)


def _texture_normal(
    seed: int,
    purpose: str,
    what: Int64[np.ndarray, "N"],
    n_places: int,
    n_channels: int,
    *ids: int,
    keys: UInt64[np.ndarray, "n_keys"] | None,
) -> Float32[np.ndarray, "N C"]:
    """Numbers for places of textures: `what` is atlas id * n_places + place. With keys, ids do not count."""
    if keys is None:
        return _normal(seed, purpose, what, n_channels, *ids)
    atlas_id, place = np.divmod(what, n_places)
    counter = place[:, None] * n_channels + np.arange(n_channels)
    return hashed_normal(np.uint64(hash_key(seed, purpose, *ids)) ^ keys[atlas_id, None], counter)


def nearest_side(latent_shape: tuple[int, int]) -> int:
    """Texels along a side of the textures of mode `nearest`, where none is chosen."""
    return min(MAX_SIDE, _NEAREST_RATIO * max(latent_shape))


def _nearest(gbuffer: GBuffer, screen: _Screen) -> Float32[np.ndarray, "P C"]:
    """Every latent pixel takes the texel under its centre."""
    side = screen.texture_side or nearest_side(screen.latent_shape)
    texel = texels_under_pixels(gbuffer, screen.latent_shape, side)
    frame = screen.background.copy()
    frame[texel >= 0] = texel_noise(
        texel[texel >= 0], side, frame.shape[1], screen.seed, gbuffer.texture_keys
    )
    return frame


def _partition(gbuffer: GBuffer, screen: _Screen) -> Float32[np.ndarray, "P C"]:
    """Every visible texel goes to the one latent pixel that shows most of it; a pixel sums what it owns.

    A latent pixel is a stack of layers, one per atlas it shows. A layer that owns n texels is their sum
    over sqrt(n). Layers are combined by the square roots of their shares of the pixel, the rest is
    background: sums of disjoint sets of independent numbers, so the frame is white.
    """
    n_pixels, n_channels = screen.background.shape
    pixel = flat_pixel_of_sample((gbuffer.height, gbuffer.width), screen.latent_shape)
    shown = gbuffer.visible
    layers, n_samples = np.unique(
        gbuffer.atlas_id[shown].astype(np.int64) * n_pixels + pixel[shown], return_counts=True
    )
    sides = _sides(gbuffer, screen, _TEXELS_PER_PIXEL)
    owners = texel_owners(torch.from_numpy(texel_ids(gbuffer, sides)), torch.from_numpy(pixel))
    texel = owners.texel.numpy()
    atlas_id = split_texel(texel)[0]

    values = _values(texel, sides, n_channels, screen.seed, gbuffer.texture_keys)
    layer_of_texel = np.searchsorted(layers, atlas_id * n_pixels + owners.pixel.numpy())
    n_owned = np.bincount(layer_of_texel, minlength=layers.size)[:, None]
    summed = _sum_by(layer_of_texel, values, layers.size) / np.sqrt(np.maximum(n_owned, 1))
    # Repeated and mirrored UVs, or a texture too coarse for the frame, leave layers without a texel. Their
    # noise hangs on the screen: fresh noise per frame would flicker where nothing moves.
    unowned = _texture_normal(screen.seed, "unowned", layers, n_pixels, n_channels, keys=gbuffer.texture_keys)
    layer_noise = np.where(n_owned > 0, summed, unowned)

    return _stacked(layers, layer_noise, n_samples / (pixel.size // n_pixels), screen)


def _bridge(gbuffer: GBuffer, screen: _Screen) -> Float32[np.ndarray, "P C"]:
    """Every latent pixel gets the part of a texel that it shows: nothing jumps where a texel moves on.

    A texel's number z is the sum of independent parts x_i of variance a_i, the shares of the texel that
    pixels show: x_i = a_i z + sqrt(a_i) e_i - a_i sum_j sqrt(a_j) e_j, increments of a Brownian bridge. e_i
    is drawn for texel and pixel, so that a part changes as evenly as its share does. A pixel adds the parts
    that it has over the root of the sum of their shares, layer by layer as in `_partition`: that is white.

    Source: ours, after integral noise (Chang et al. 2024) and its Brownian bridges (Deng et al. 2024).
    """
    n_pixels, n_channels = screen.background.shape
    pixel = flat_pixel_of_sample((gbuffer.height, gbuffer.width), screen.latent_shape)
    shown = gbuffer.visible
    sides = _sides(gbuffer, screen, _TEXELS_PER_PIXEL_OF_BRIDGE)
    texel, texel_of_sample = np.unique(texel_ids(gbuffer, sides)[shown], return_inverse=True)
    parts, n_samples = np.unique(texel_of_sample * n_pixels + pixel[shown], return_counts=True)
    of_texel, of_pixel = np.divmod(parts, n_pixels)
    a = (n_samples / np.bincount(of_texel, n_samples)[of_texel])[:, None]

    z = _values(texel, sides, n_channels, screen.seed, gbuffer.texture_keys)
    e = _part_normal(screen, texel[of_texel], of_pixel, sides, gbuffer.texture_keys)
    x = a * z[of_texel] + np.sqrt(a) * e - a * _sum_by(of_texel, np.sqrt(a) * e, texel.size)[of_texel]

    layers, layer = np.unique(split_texel(texel)[0][of_texel] * n_pixels + of_pixel, return_inverse=True)
    layer_noise = _sum_by(layer, x, layers.size) / np.sqrt(np.bincount(layer, a[:, 0]))[:, None]
    return _stacked(layers, layer_noise, np.bincount(layer, n_samples) / (pixel.size // n_pixels), screen)


def _part_normal(
    screen: _Screen,
    texel: Int64[np.ndarray, "N"],
    pixel: Int64[np.ndarray, "N"],
    sides: Int64[np.ndarray, "n_ids"],
    keys: UInt64[np.ndarray, "n_keys"] | None,
) -> Float32[np.ndarray, "N C"]:
    """Numbers for what a pixel shows of a texel."""
    n_pixels, n_channels = screen.background.shape
    atlas_id, place = np.divmod(texel, N_TEXELS)
    names = range(len(sides)) if keys is None else keys.tolist()
    of_atlas = [
        hash_key(screen.seed, "bridge", name, side) for name, side in zip(names, sides.tolist(), strict=False)
    ]
    key = np.array(of_atlas, np.uint64)[atlas_id]
    counter = (place * n_pixels + pixel)[:, None] * n_channels + np.arange(n_channels)
    return hashed_normal(key[:, None], counter)


def _stacked(
    layers: Int64[np.ndarray, "L"],
    layer_noise: Float[np.ndarray, "L C"],
    share: Float[np.ndarray, "L"],
    screen: _Screen,
) -> Float32[np.ndarray, "P C"]:
    """Layers (atlas id * P + pixel) by the roots of their shares of a pixel; the rest is background."""
    n_pixels = len(screen.background)
    coverage = np.bincount(layers % n_pixels, share, n_pixels)[:, None]
    frame_noise = _sum_by(layers % n_pixels, np.sqrt(share)[:, None] * layer_noise, n_pixels)
    frame_noise += np.sqrt(np.maximum(1 - coverage, 0)) * screen.background
    return frame_noise.astype(np.float32)


def _values(
    texel: Int64[np.ndarray, "N"],
    sides: Int64[np.ndarray, "n_ids"],
    n_channels: int,
    seed: int,
    keys: UInt64[np.ndarray, "n_keys"] | None,
) -> Float32[np.ndarray, "N C"]:
    """`texel_noise` of textures of several sides."""
    atlas_id = split_texel(texel)[0]
    values = np.empty((texel.size, n_channels), np.float32)
    for side in np.unique(sides[atlas_id]):
        here = sides[atlas_id] == side
        values[here] = texel_noise(texel[here], int(side), n_channels, seed, keys)
    return values


def _sum_by(
    group: Int64[np.ndarray, "N"], values: Float[np.ndarray, "N C"], n_groups: int
) -> Float[np.ndarray, "G C"]:
    return np.array([np.bincount(group, column, n_groups) for column in values.T], np.float64).T


def _sides(gbuffer: GBuffer, screen: _Screen, texels_per_pixel: int) -> Int64[np.ndarray, "n_ids"]:
    """Texels along a side of each atlas: as chosen, or as fits the frame."""
    if screen.texture_side is not None:
        return np.full(gbuffer.atlas_id.max(initial=0) + 1, screen.texture_side)
    samples_per_pixel = gbuffer.depth.size // len(screen.background)
    return _fitting_sides(gbuffer, samples_per_pixel, texels_per_pixel)


def _fitting_sides(
    gbuffer: GBuffer, samples_per_pixel: int, texels_per_pixel: int = _TEXELS_PER_PIXEL
) -> Int64[np.ndarray, "n_ids"]:
    """Per atlas id, the power of two that puts about so many texels into a latent pixel of this frame.

    The UV area of a sample is measured between neighbours; the median does not mind seams. Rounding to a
    power of two makes 12 texels 6 to 24; fewer are asked for where a pixel has too few samples to show them.
    Every frame chooses for itself: the pyramid keeps two levels in agreement, so a change costs nothing.
    """
    target = min(texels_per_pixel, samples_per_pixel / 2)
    here = gbuffer.atlas_id[:-1, :-1]
    is_inside = (here > 0) & (here == gbuffer.atlas_id[1:, :-1]) & (here == gbuffer.atlas_id[:-1, 1:])
    row, column = np.nonzero(is_inside)
    uv = gbuffer.uv[row, column]
    right, down = gbuffer.uv[row, column + 1] - uv, gbuffer.uv[row + 1, column] - uv
    area = np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0])
    atlas_id = here[row, column]

    by_atlas = np.argsort(atlas_id, kind="stable")
    present, start = np.unique(atlas_id[by_atlas], return_index=True)
    sides = np.full(gbuffer.atlas_id.max(initial=0) + 1, _SIDE_IF_UNKNOWN)
    for atlas, begin, end in zip(present, start, [*start[1:], area.size], strict=False):
        uv_area_of_pixel = max(np.median(area[by_atlas[begin:end]]) * samples_per_pixel, 1e-12)
        sides[atlas] = 2 ** round(np.log2(np.sqrt(target / uv_area_of_pixel)))
    return np.clip(sides, 1, MAX_SIDE)
