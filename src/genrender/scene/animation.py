"""Keyframe animation: tracks of keys, sampled at any time, for node transforms and morph weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int

Property = Literal["translation", "rotation", "scale", "weights", "visible", "yfov", "ymag", "znear", "zfar"]
Interpolation = Literal["STEP", "LINEAR", "CUBICSPLINE"]


@dataclass(frozen=True)
class Track:
    """Keys of one property, for all nodes that share the same key times.

    Attributes:
        target: what is animated. Rotations are quaternions (x, y, z, w), `visible` is 0 or 1, the last
            four are a camera's, with `yfov` in radians.
        nodes: the nodes, one per channel of `values`.
        times_s: key times, rising.
        values: a value per key, channel and component.
        tangents: incoming and outgoing tangent per key (CUBICSPLINE), else None.
    """

    target: Property
    interpolation: Interpolation
    nodes: Int[np.ndarray, "C"]
    times_s: Float64[np.ndarray, "K"]
    values: Float64[np.ndarray, "K C N"]
    tangents: tuple[Float64[np.ndarray, "K C N"], Float64[np.ndarray, "K C N"]] | None = None

    def sample(self, time_s: float) -> Float64[np.ndarray, "C N"]:
        """The values at a time; before the first and after the last key the nearest key holds."""
        # Key times come from float32 data: compared as such, frame 1 of 24 fps meets the key that was meant
        # for it.
        key = int(np.searchsorted(self.times_s.astype(np.float32), np.float32(time_s), side="right")) - 1
        if key < 0:
            value = self.values[0]
        elif key >= len(self.times_s) - 1 or self.interpolation == "STEP":
            value = self.values[min(key, len(self.times_s) - 1)]
        else:
            value = self._between(key, time_s)
        return normalized(value) if self.target == "rotation" else value

    def _between(self, key: int, time_s: float) -> Float64[np.ndarray, "C N"]:
        step = self.times_s[key + 1] - self.times_s[key]
        u = float(np.clip((time_s - self.times_s[key]) / step, 0, 1)) if step > 0 else 0.0
        before, after = self.values[key], self.values[key + 1]
        if self.tangents is not None:
            incoming, outgoing = self.tangents
            return (
                (2 * u**3 - 3 * u**2 + 1) * before
                + step * (u**3 - 2 * u**2 + u) * outgoing[key]
                + (-2 * u**3 + 3 * u**2) * after
                + step * (u**3 - u**2) * incoming[key + 1]
            )
        if self.target == "rotation":
            return slerp(before, after, u)
        return before + u * (after - before)


def that_agree(animations: Sequence[Sequence[Track]]) -> list[int]:
    """The animations that can play at the same time: each moves nothing that one before it moves.

    Exporters write one animation for every action, so that a walk, a turning wheel and a camera's move are
    three, while a walk and a run of one character move the same joints.
    """
    taken: set[tuple[str, int]] = set()
    agreeing = []
    for index, tracks in enumerate(animations):
        moved = {(track.target, node) for track in tracks for node in track.nodes.tolist()}
        if moved and not moved & taken:
            taken |= moved
            agreeing.append(index)
    return agreeing


def normalized(quaternions: Float[np.ndarray, "*N 4"]) -> Float[np.ndarray, "*N 4"]:
    """Unit quaternions; a zero quaternion becomes the identity."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    return np.where(length > 0, quaternions / np.where(length > 0, length, 1), identity)


def slerp(
    before: Float[np.ndarray, "C 4"], after: Float[np.ndarray, "C 4"], u: float
) -> Float[np.ndarray, "C 4"]:
    """Spherical interpolation between quaternions along the shorter arc."""
    before, after = normalized(before), normalized(after)
    cosine = np.sum(before * after, axis=-1, keepdims=True)
    after = np.where(cosine < 0, -after, after)
    angle = np.arccos(np.clip(np.abs(cosine), 0, 1))
    sine = np.sin(angle)
    # Nearly equal quaternions: the straight line is the same and divides by nothing small.
    is_close = sine < 1e-6
    safe = np.where(is_close, 1, sine)
    weight_before = np.where(is_close, 1 - u, np.sin((1 - u) * angle) / safe)
    weight_after = np.where(is_close, u, np.sin(u * angle) / safe)
    return weight_before * before + weight_after * after
