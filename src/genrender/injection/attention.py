"""The mathematics of mechanism 3: self-attention that looks at keyframes, outputs blended on the surface.

Pure functions on projected queries, keys and values. Rows of a batch are branch-major, as diffusers lays out
classifier-free guidance: all frames of the unconditional branch, then all frames of the conditional one.
Nothing here ever mixes rows of different branches.

Axes: N rows of a batch, B branches, K keyframes, L tokens of one frame, M tokens that all frames read, those
of the keyframes or some of them, D channels of a head.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

# softmax(Q K^T scale) V of queries "N heads L D", keys and values "N heads M D" and the scale.
Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def split_heads(tokens: Float[Tensor, "N L C"], n_heads: int) -> Float[Tensor, "N heads L D"]:
    """Projected tokens as one row per attention head."""
    return tokens.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def merge_heads(tokens: Float[Tensor, "N heads L D"]) -> Float[Tensor, "N L C"]:
    """The inverse of `split_heads`."""
    return tokens.transpose(1, 2).flatten(2)


def join_frames(tokens: Float[Tensor, "N heads L D"], n_branches: int) -> Float[Tensor, "B heads M D"]:
    """The tokens of all frames of a branch as one long row."""
    return tokens.unflatten(0, (n_branches, -1)).transpose(1, 2).flatten(2, 3)


def split_frames(tokens: Float[Tensor, "B heads M D"], n_tokens: int) -> Float[Tensor, "N heads L D"]:
    """The inverse of `join_frames`, where each frame has `n_tokens` tokens."""
    return tokens.unflatten(2, (-1, n_tokens)).transpose(1, 2).flatten(0, 1)


def extend_with_keyframes(
    own: Float[Tensor, "N heads L D"], keyframes: Float[Tensor, "B heads M D"]
) -> Float[Tensor, "N heads L+M D"]:
    """Keys (or values) of every frame, followed by those of all keyframes of the same branch.

    Args:
        own: keys of the frames, branch-major.
        keyframes: keys of the keyframes, one row per branch.
    """
    by_branch = own.unflatten(0, (keyframes.shape[0], -1))
    shared = keyframes[:, None].expand(-1, by_branch.shape[1], -1, -1, -1)
    return torch.cat([by_branch, shared], dim=3).flatten(0, 1)


def attend(
    query: Float[Tensor, "N heads L D"],
    key: Float[Tensor, "N heads M D"],
    value: Float[Tensor, "N heads M D"],
    scale: float,
) -> Float[Tensor, "N heads L D"]:
    """softmax(Q K^T scale) V."""
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


def attend_with_some_of_their_own(
    query: Float[Tensor, "N heads L D"],
    key: Float[Tensor, "N heads L D"],
    value: Float[Tensor, "N heads L D"],
    shared: tuple[Float[Tensor, "B heads M D"], Float[Tensor, "B heads M D"]],
    own: Sequence[Int64[Tensor, "_"]],
    scale: float,
    attend: Attend = attend,
) -> Float[Tensor, "N heads L D"]:
    """Attention of every frame to the shared tokens of its branch and to some of its own.

    Args:
        query: of the frames, branch-major.
        key: likewise.
        value: likewise.
        shared: keys and values of the tokens that all read, one row per branch.
        own: which of its own tokens each frame attends to.
        scale: factor of Q K^T.
        attend: how rows attend to keys and values.
    """
    shared_key, shared_value = shared
    n_branches = shared_key.shape[0]
    queries, keys, values = (tokens.unflatten(0, (n_branches, -1)) for tokens in (query, key, value))
    outputs = []
    # Frame by frame: each has another number of tokens, and a mask would rule out the fastest kernels.
    for frame, tokens in enumerate(own):
        frame_key = torch.cat([keys[:, frame][:, :, tokens], shared_key], dim=2)
        frame_value = torch.cat([values[:, frame][:, :, tokens], shared_value], dim=2)
        # Heads side by side in memory, as `merge_heads` wants them.
        outputs.append(attend(queries[:, frame], frame_key, frame_value, scale).transpose(1, 2))
    return torch.stack(outputs, dim=1).flatten(0, 1).transpose(1, 2)


def tokens_to_map(
    tokens: Float[Tensor, "N L C"], n_branches: int, size: tuple[int, int]
) -> Float[Tensor, "F BC h w"]:
    """Layer outputs as feature maps, the branches side by side in the channels.

    The surface point that a pixel shows is the same in both branches, so one blend of twice the channels does
    the work of two; channels never mix in it, which keeps the branches apart.
    """
    # Channels stay contiguous in memory: the blend gathers whole pixels.
    rows = tokens.unflatten(0, (n_branches, -1)).permute(1, 2, 0, 3).flatten(2)
    return rows.transpose(1, 2).unflatten(-1, size)


def map_to_tokens(features: Float[Tensor, "F BC h w"], n_branches: int) -> Float[Tensor, "N L C"]:
    """The inverse of `tokens_to_map`."""
    rows = features.flatten(2).transpose(1, 2).unflatten(-1, (n_branches, -1))
    return rows.permute(2, 0, 1, 3).flatten(0, 1)


def blend_with_surface(
    output: Float[Tensor, "N L C"],
    surface: Float[Tensor, "N L C"],
    valid: Bool[Tensor, "N L"],
    alpha: float,
) -> Float[Tensor, "N L C"]:
    """A' = alpha R + (1 - alpha) A where the surface features R are valid, A' = A elsewhere.

    Source: Generative Rendering, post-attention injection.
    """
    return torch.where(valid[..., None], output.lerp(surface, alpha), output)


def blend_low_band(
    output: Float[Tensor, "N h w C"],
    surface: Float[Tensor, "N h w C"],
    valid: Bool[Tensor, "N h w"],
    alpha: float,
    sigma_px: float,
) -> Float[Tensor, "N h w C"]:
    """A' = A + alpha LP(R - A) where the surface features R are valid, A' = A elsewhere.

    Detail stays the frame's own: what is carried from keyframes has been averaged and moved by parts of a
    feature pixel, so it has no true detail to give.

    Source: ours, after low-band mixing of attention features in FreeLong (Lu et al. 2024).
    """
    change = (surface - output) * valid[..., None]
    return output + alpha * low_pass(change, valid, sigma_px)


def low_pass(
    values: Float[Tensor, "N h w C"], valid: Bool[Tensor, "N h w"], sigma_px: float
) -> Float[Tensor, "N h w C"]:
    """Gaussian means over the valid pixels around each valid pixel; 0 elsewhere.

    Args:
        values: 0 where not valid.
        valid: pixels that count.
        sigma_px: the Gaussian's standard deviation, cut off at twice that.
    """
    radius = max(1, math.ceil(2 * sigma_px))
    taps = [math.exp(-0.5 * (offset / sigma_px) ** 2) for offset in range(-radius, radius + 1)]
    weight = valid[..., None].to(values.dtype)
    total, share = values, weight
    for axis in (1, 2):
        total, share = (_filtered(each, taps, axis) for each in (total, share))
    # A valid pixel counts itself with weight 1.
    return torch.where(valid[..., None], total / share.clamp(min=1), 0)


def _filtered(values: Float[Tensor, "N h w C"], taps: Sequence[float], axis: int) -> Float[Tensor, "N h w C"]:
    """A sum of shifted copies, weighed by the taps; beyond the map there is 0."""
    radius, size = len(taps) // 2, values.shape[axis]
    out = torch.zeros_like(values)
    for offset, tap in enumerate(taps, start=-radius):
        n_pixels = size - abs(offset)
        if n_pixels > 0:
            source = values.narrow(axis, max(offset, 0), n_pixels)
            out.narrow(axis, max(-offset, 0), n_pixels).add_(source, alpha=tap)
    return out
