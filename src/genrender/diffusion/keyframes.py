"""Which frames lend their features to all others at a diffusion step."""

import numpy as np

from genrender.config import KeyframeStrategy
from genrender.errors import ConfigError
from genrender.noise_hash import hash_key, hashed_uniform


def default_n_keyframes(n_frames: int) -> int:
    """One keyframe for eight frames, at least three, never more than there are frames."""
    return min(n_frames, max(3, n_frames // 8))


def choose_keyframes(
    n_frames: int, n_keyframes: int, strategy: KeyframeStrategy, seed: int, step: int
) -> list[int]:
    """Draw the keyframes of one diffusion step.

    They are drawn anew at every step: keyframes that stay would cut a long video into visible blocks.

    Args:
        n_frames: frames in the clip.
        n_keyframes: how many distinct frames to choose, in 1 .. n_frames.
        strategy: `random` draws from all frames alike; `stratified` cuts the clip into `n_keyframes` bins of
            (nearly) equal length and draws one frame from each.
        seed: the run's seed.
        step: index of the diffusion step; the draw depends on nothing else than these arguments.

    Returns:
        Frame indices in ascending order.

    Raises:
        ConfigError: a count out of range, or an unknown strategy.

    Source: section 4 of the paper (random keyframes). Differs: `stratified` is ours.
    """
    if not 1 <= n_keyframes <= n_frames:
        raise ConfigError(
            f"keyframes: got {n_keyframes} keyframes for {n_frames} frames, expected 1 to {n_frames}; "
            "lower the number of keyframes or render more frames"
        )
    key = hash_key(seed, "keyframes", step)
    if strategy == "random":
        order = np.argsort(hashed_uniform(key, np.arange(n_frames)), kind="stable")
        return sorted(order[:n_keyframes].tolist())
    if strategy == "stratified":
        edges = np.arange(n_keyframes + 1) * n_frames // n_keyframes
        u = hashed_uniform(key, np.arange(n_keyframes))
        return (edges[:-1] + np.floor(u * np.diff(edges)).astype(np.int64)).tolist()
    raise ConfigError(f"keyframes: unknown strategy {strategy!r}, expected random or stratified")
