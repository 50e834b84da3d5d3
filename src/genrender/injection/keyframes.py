"""Which frames lend their features to all others at a diffusion step."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Bool

from genrender.config import KeyframeStrategy
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.hashing import hash_key, hashed_uniform
from genrender.surface.texels import texel_ids

# Keyframes go through the UNet at once and attend to each other, so their number bounds memory.
MAX_DEFAULT_KEYFRAMES = 8
# Patches along the side of an atlas, by which coverage is counted.
PATCHES_SIDE = 32


def default_n_keyframes(n_frames: int) -> int:
    """One keyframe for eight frames, at least three and at most eight, never more than there are frames.

    The cap is for memory: all keyframes run in one batch, each attending to all of them, as other frames do,
    and without deduplication these read all of their own tokens besides. A longer clip is covered because
    keyframes are drawn anew at every step.
    """
    return min(n_frames, max(3, n_frames // 8), MAX_DEFAULT_KEYFRAMES)


def keyframe_draws(timesteps: Sequence[float], order: int = 1) -> list[int]:
    """Which draw of keyframes each evaluation of the model uses: a new one whenever the timestep changes.

    Some schedulers evaluate the model more than once to make one step: those of order 2 at two timesteps in
    turn, PNDM twice at the same one although its order is 1. They combine what they get, and would take other
    keyframes for a curve of the trajectory.

    Args:
        timesteps: the scheduler's, one per evaluation.
        order: the scheduler's; evaluations come in groups of so many, each group one step.

    Example:
        >>> keyframe_draws([951, 901, 901, 851])  # PNDM
        [0, 1, 1, 2]
        >>> keyframe_draws([999, 749, 749, 500, 500], order=2)  # Heun
        [0, 0, 1, 1, 2]
    """
    starts = [timesteps[i - i % order] for i in range(len(timesteps))]
    return list(accumulate((a != b for a, b in pairwise(starts)), initial=0))


def choose_keyframes(
    n_frames: int,
    n_keyframes: int,
    strategy: KeyframeStrategy,
    seed: int,
    step: int,
    seen: Bool[np.ndarray, "F S"] | None = None,
) -> list[int]:
    """Choose the keyframes of one diffusion step.

    All strategies but `uniform` draw anew at every step: keyframes that stay cut a long video into visible
    blocks.

    Args:
        n_frames: frames in the clip.
        n_keyframes: how many distinct frames to choose, in 1 .. n_frames.
        strategy: `random` draws from all frames alike; `stratified` cuts the clip into `n_keyframes` bins of
            (nearly) equal length and draws one frame from each; `uniform` takes the middle of each bin;
            `coverage` draws one frame and then always adds the one that shows most surface that no other
            keyframe shows.
        seed: the run's seed.
        step: index of the draw, see `keyframe_draws`; it depends on nothing else than these arguments.
        seen: which patches of surface each frame shows, for `coverage`; see `seen_surface`.

    Returns:
        Frame indices in ascending order.

    Raises:
        ConfigError: a count out of range, an unknown strategy, or `coverage` without `seen`.

    Source: section 4 of the paper (random keyframes). Differs: the other strategies are ours.
    """
    if not 1 <= n_keyframes <= n_frames:
        raise ConfigError(
            f"keyframes: got {n_keyframes} keyframes for {n_frames} frames, expected 1 to {n_frames}; "
            "lower the number of keyframes or render more frames"
        )
    key = hash_key(seed, "keyframes", step)
    edges = np.arange(n_keyframes + 1) * n_frames // n_keyframes
    if strategy == "random":
        order = np.argsort(hashed_uniform(key, np.arange(n_frames)), kind="stable")
        return sorted(order[:n_keyframes].tolist())
    if strategy == "stratified":
        u = hashed_uniform(key, np.arange(n_keyframes))
        return (edges[:-1] + np.floor(u * np.diff(edges)).astype(np.int64)).tolist()
    if strategy == "uniform":
        return ((edges[:-1] + edges[1:] - 1) // 2).tolist()
    if strategy == "coverage":
        if seen is None:
            raise ConfigError(
                "keyframes: strategy coverage needs to know which surface each frame shows; give it, "
                "or choose another strategy"
            )
        first = int(hashed_uniform(key, np.zeros(1, np.int64))[0] * n_frames)
        return _by_coverage(seen, n_keyframes, first)
    raise ConfigError(
        f"keyframes: unknown strategy {strategy!r}, expected random, stratified, uniform or coverage"
    )


def _by_coverage(seen: Bool[np.ndarray, "F S"], n_keyframes: int, first: int) -> list[int]:
    """Greedy maximum coverage; where no frame adds anything, the one farthest in time from all others."""
    chosen = [first]
    covered = seen[first].copy()
    frames = np.arange(len(seen))
    while len(chosen) < n_keyframes:
        gain = (seen & ~covered).sum(axis=1)
        gain[chosen] = -1
        distance = np.abs(frames[:, None] - chosen).min(axis=1)
        best = int(np.lexsort((distance, gain))[-1])
        chosen.append(best)
        covered |= seen[best]
    return sorted(chosen)


def seen_surface(gbuffers: Sequence[GBuffer]) -> Bool[np.ndarray, "F S"]:
    """Which of the clip's patches of surface each frame shows, `PATCHES_SIDE` along the side of an atlas."""
    texels = [np.unique(texel_ids(gbuffer, PATCHES_SIDE)) for gbuffer in gbuffers]
    patches = np.unique(np.concatenate(texels))
    patches = patches[patches >= 0]
    return np.stack([np.isin(patches, texel) for texel in texels])


def covering_frames(gbuffers: Sequence[GBuffer], n_wanted: int, seed: int) -> list[int]:
    """Frames that together show most of a clip's surface, in ascending order: what stands for the whole clip.

    Args:
        gbuffers: the clip.
        n_wanted: how many frames; all of a clip that has fewer.
        seed: of the first one, which is drawn.
    """
    n_frames = len(gbuffers)
    n_chosen = min(n_wanted, n_frames)
    return choose_keyframes(n_frames, n_chosen, "coverage", seed, 0, seen_surface(gbuffers))
