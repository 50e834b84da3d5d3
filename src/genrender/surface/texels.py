"""From G-buffer samples to texels and feature pixels: the index arithmetic that noise and features share.

An object's surface is a square of `side` x `side` texels over its UV atlas (several, where its charts
overlap). A picture of H x W samples is also a grid of h x w feature (or latent) pixels, and H / h need not be
whole: a sample belongs to the feature pixel that holds its centre.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int32, Int64, Integer
from torch import Tensor

from genrender.config import MAX_TEXTURE_SIDE
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer

# One int64 holds (atlas, v, u, feature pixel): 14 bits for each of the first three, 20 for the pixel.
MAX_SIDE = MAX_TEXTURE_SIDE
_FIELD_BITS = MAX_SIDE.bit_length() - 1
_PIXEL_BITS = 20
N_TEXELS = MAX_SIDE * MAX_SIDE
N_LEVELS = _FIELD_BITS


@dataclass(frozen=True)
class TexelOwners:
    """The texels that one frame shows, in ascending order, each with the feature pixel that shows most of it.

    Attributes:
        texel: packed texel ids, see `texel_ids`; every id once.
        pixel: flat index y * w + x of the feature pixel that owns the texel.
        n_samples: how many samples of the owner lie in the texel, >= 1.
    """

    texel: Int64[Tensor, "N"]
    pixel: Int64[Tensor, "N"]
    n_samples: Int64[Tensor, "N"]


def texel_ids(gbuffer: GBuffer, side: int | Integer[np.ndarray, "n_ids"]) -> Int64[np.ndarray, "H W"]:
    """The texel that every sample shows.

    Args:
        gbuffer: one frame.
        side: texels along a texture's side, 1 .. 16384; an array holds one side per atlas id, and any
            number for the background.

    Returns:
        (atlas_id << 28) | (v << 14) | u, with v growing downwards; -1 for background.

    Raises:
        ConfigError: side or atlas id out of range.
    """
    n_atlases = gbuffer.atlas_id.max(initial=0)
    if np.min(side) < 1 or np.max(side) > MAX_SIDE or n_atlases >= MAX_SIDE:
        raise ConfigError(
            f"texels: got side {np.max(side)} and {n_atlases} objects, expected a side of 1 to {MAX_SIDE} "
            f"and fewer than {MAX_SIDE} objects; lower the texture side or ratio"
        )
    # Most samples may be background, and on a fast GPU the CPU's share of the work tells.
    shown = np.flatnonzero(gbuffer.visible)
    atlas_id = gbuffer.atlas_id.ravel()[shown]
    per_sample = side if isinstance(side, int) else side[atlas_id][:, None]
    # This rounds negative numbers up, but they become 0 anyway.
    cell = (gbuffer.uv.reshape(-1, 2)[shown].astype(np.float64) * per_sample).astype(np.int64)
    cell = np.clip(cell, 0, per_sample - 1)
    texel = np.full(gbuffer.depth.shape, -1, np.int64)
    texel.ravel()[shown] = join_texel(atlas_id, cell[:, 1], cell[:, 0])
    return texel


def join_texel(
    atlas_id: Integer[np.ndarray, "*N"], v: Int64[np.ndarray, "*N"], u: Int64[np.ndarray, "*N"]
) -> Int64[np.ndarray, "*N"]:
    """Pack atlas, row and column into one texel id."""
    return (atlas_id.astype(np.int64) << _FIELD_BITS | v) << _FIELD_BITS | u


def split_texel(
    texel: Int64[np.ndarray, "*N"],
) -> tuple[Int64[np.ndarray, "*N"], Int64[np.ndarray, "*N"], Int64[np.ndarray, "*N"]]:
    """Atlas, row and column of a texel id that is not -1."""
    return texel >> 2 * _FIELD_BITS, texel >> _FIELD_BITS & MAX_SIDE - 1, texel & MAX_SIDE - 1


def texel_cell(texel: Int64[Tensor, "N"], level: int) -> Int64[Tensor, "N"]:
    """The square of 2**level texels to a side that each texel lies in, named by its first texel."""
    low_bits = (1 << level) - 1
    return texel & ~(low_bits << _FIELD_BITS | low_bits)


def pixel_of_sample(n_samples: int, n_pixels: int) -> Int64[np.ndarray, "n_samples"]:
    """Along one axis: the feature pixel that holds each sample's centre."""
    if n_pixels > n_samples:
        raise ConfigError(
            f"texels: got {n_pixels} feature pixels over {n_samples} samples, expected at least one sample "
            "each; render larger G-buffers"
        )
    return (2 * np.arange(n_samples) + 1) * n_pixels // (2 * n_samples)


def sample_under_pixel(n_samples: int, n_pixels: int) -> Int64[np.ndarray, "n_pixels"]:
    """Along one axis: the sample under each feature pixel's centre (block // 2 for blocks of even length)."""
    return (2 * np.arange(n_pixels) + 1) * n_samples // (2 * n_pixels)


def samples_under_pixels(
    gbuffer: GBuffer, shape: tuple[int, int]
) -> tuple[Int64[np.ndarray, "h 1"], Int64[np.ndarray, "w"]]:
    """An index into a frame's arrays: the samples under the centres of `shape` (rows, columns) pixels."""
    return sample_under_pixel(gbuffer.height, shape[0])[:, None], sample_under_pixel(gbuffer.width, shape[1])


def texels_under_pixels(gbuffer: GBuffer, shape: tuple[int, int], side: int) -> Int64[np.ndarray, "P"]:
    """The texel under the centre of every feature pixel, row by row, see `texel_ids`; -1: background."""
    return texel_ids(gbuffer.at(*samples_under_pixels(gbuffer, shape)), side).ravel()


@dataclass(frozen=True)
class PixelCentres:
    """What the feature pixels of one frame show at their centres; row by row, P = h * w of them.

    Attributes:
        tri_id: triangle, -1 for background.
        bary: weights of its second and third corner.
        object_id: 0 is background.
        xy: the samples that stand for the pixels, in image pixels.
    """

    tri_id: Int32[np.ndarray, "P"]
    bary: Float32[np.ndarray, "P 2"]
    object_id: Int32[np.ndarray, "P"]
    xy: Float64[np.ndarray, "P 2"]


def pixel_centres(gbuffer: GBuffer, shape: tuple[int, int]) -> PixelCentres:
    """What a frame shows at the centres of `shape` (rows, columns) feature pixels."""
    rows, cols = samples_under_pixels(gbuffer, shape)
    x, y = np.broadcast_arrays(cols + 0.5, rows + 0.5)
    return PixelCentres(
        gbuffer.tri_id[rows, cols].ravel(),
        gbuffer.bary[rows, cols].reshape(-1, 2),
        gbuffer.object_id[rows, cols].ravel(),
        np.stack([x.ravel(), y.ravel()], axis=1),
    )


def flat_pixel_of_sample(
    sample_shape: tuple[int, int], pixel_shape: tuple[int, int]
) -> Int64[np.ndarray, "H W"]:
    """The flat index y * w + x of the feature pixel that each sample belongs to."""
    if pixel_shape[0] * pixel_shape[1] > 1 << _PIXEL_BITS:
        raise ConfigError(
            f"texels: got a feature map of {pixel_shape[1]}x{pixel_shape[0]}, expected at most "
            f"{1 << _PIXEL_BITS} pixels; render smaller pictures"
        )
    rows = pixel_of_sample(sample_shape[0], pixel_shape[0])
    cols = pixel_of_sample(sample_shape[1], pixel_shape[1])
    return rows[:, None] * pixel_shape[1] + cols


def texel_owners(texel: Int64[Tensor, "*M"], pixel: Int64[Tensor, "*M"]) -> TexelOwners:
    """Give every texel to the ONE feature pixel that holds most of its samples (ties: the lowest index).

    Args:
        texel: the texel of each sample, see `texel_ids`; -1 is left out.
        pixel: the feature pixel of each sample, below 2^20.
    """
    shown = texel >= 0
    pair, count = torch.unique(texel[shown] << _PIXEL_BITS | pixel[shown], return_counts=True)
    owned, run = torch.unique_consecutive(pair >> _PIXEL_BITS, return_inverse=True)
    most = torch.zeros_like(owned).scatter_reduce(0, run, count, "amax")
    # Pairs ascend by pixel within a texel, so the first of the winners is the lowest pixel.
    winner = torch.nonzero(count == most[run]).squeeze(1)
    is_first = torch.ones_like(winner, dtype=torch.bool)
    is_first[1:] = run[winner][1:] != run[winner][:-1]
    winner = winner[is_first]
    return TexelOwners(owned, pair[winner] & ((1 << _PIXEL_BITS) - 1), count[winner])
