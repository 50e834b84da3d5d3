"""Self-attention as other published video methods compute it; the rest of the pipeline stays the same."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.injection.attention import Attend, attend, join_frames, map_to_tokens
from genrender.injection.state import AttentionState, KeyframeMemory
from genrender.noise.hashing import hash_key, hashed_uniform


@dataclass
class FirstFrameAttention(AttentionState):
    """Every frame attends to the first frame instead of to itself.

    Source: Khachatryan et al. 2023, "Text2Video-Zero" (2303.13439), cross-frame attention. Differs: without
        its warped latents and smoothed background, which stand in for the scene that is known here.
    """

    def choose(self, n_frames: int, n_keyframes: int, seed: int, draw: int, seen: Any = None) -> list[int]:  # noqa: ARG002
        """The first frame, at every step."""
        return [0]

    def attention(
        self,
        features: FeatureMap,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        attend: Attend = attend,
    ) -> Tensor:
        if self.phase == "idle":
            return attend(query, key, value, scale)
        if self.phase == "keyframes":
            remembered = (join_frames(tokens, self.n_branches) for tokens in (key, value))
            self._memory[features.layer] = KeyframeMemory(*remembered)
            return attend(query, key, value, scale)
        n_frames = query.shape[0] // self.n_branches
        first_key, first_value = (
            tokens.repeat_interleave(n_frames, dim=0) for tokens in self._recall_shared(features.layer)
        )
        return attend(query, first_key, first_value, scale)


@dataclass
class PreviousFrameAttention(FirstFrameAttention):
    """Every frame attends to the first frame and to the one before it, instead of to itself.

    Source: Ceylan et al. 2023, "Pix2Video" (2303.12688), self-attention feature injection. Differs: without
        its guided latent update.
    """

    _previous: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(default_factory=dict, init=False)

    def of_branch(self, name: Hashable) -> "AttentionState":
        state = super().of_branch(name)
        if isinstance(state, PreviousFrameAttention) and state._previous is self._previous:
            state._previous = {}
        return state

    def start_keyframes(self, keyframes: Sequence[int], progress: float = 0.0) -> None:
        super().start_keyframes(keyframes, progress)
        self._previous.clear()

    def start_frames(self, frames: Sequence[int]) -> None:
        super().start_frames(frames)
        # A chunk may run again in halves, so what it needs is kept until its next one starts.
        for layer, frame in list(self._previous):
            if frame < frames[0] - 1:
                del self._previous[layer, frame]

    def attention(
        self,
        features: FeatureMap,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        attend: Attend = attend,
    ) -> Tensor:
        if self.phase != "frames":
            return super().attention(features, query, key, value, scale, attend)
        layer = features.layer
        first = self._recall_shared(layer)
        # Chunks come in order: the frame before a chunk is the last of the chunk before, or the first of all.
        frame_before = self._frames[0] - 1
        if frame_before > 0 and (layer, frame_before) not in self._previous:
            raise ConfigError(
                "pix2video needs frames one after the other, and motion modules see a clip of this length in "
                "windows that overlap: choose another method, or fewer frames"
            )
        before = self._previous.get((layer, frame_before), first)
        own = [tokens.unflatten(0, (self.n_branches, -1)) for tokens in (key, value)]
        extended = []
        for tokens, of_first, of_last in zip(own, first, before, strict=True):
            previous = torch.cat([of_last[:, None], tokens[:, :-1]], dim=1)
            shared = of_first[:, None].expand_as(previous)
            extended.append(torch.cat([shared, previous], dim=3).flatten(0, 1))
        self._previous[layer, self._frames[-1]] = (own[0][:, -1].clone(), own[1][:, -1].clone())
        return attend(query, extended[0], extended[1], scale)


@dataclass
class PropagatedAttention(AttentionState):
    """Frames take over the attention outputs of the two keyframes around them, blended by their distance.

    Keyframes lie at equal distances, from a place that is drawn anew at every step, and attend to each other.

    Source: Geyer et al. 2023, "TokenFlow" (2307.10373). Differs: tokens follow the true surface instead of
        nearest neighbours between features; background, which has no surface, keeps its own attention; frames
        start from noise, because there is no video to invert.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.config.uses_surface:
            raise ConfigError("alpha is 0, expected above 0: tokenflow carries features along the surface")

    def choose(self, n_frames: int, n_keyframes: int, seed: int, draw: int, seen: Any = None) -> list[int]:  # noqa: ARG002
        """Equally spaced frames, all shifted by what is drawn for this step."""
        distance = n_frames / n_keyframes
        shift = hashed_uniform(hash_key(seed, "keyframes", draw), np.zeros(1, np.int64))[0] * distance
        return np.unique((np.arange(n_keyframes) * distance + shift).astype(np.int64)).tolist()

    def attention(
        self,
        features: FeatureMap,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        attend: Attend = attend,
    ) -> Tensor:
        if self.phase == "keyframes":
            return super().attention(features, query, key, value, scale, attend)
        return attend(query, key, value, scale)

    def injection(self, features: FeatureMap, output: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        if self.phase == "keyframes":
            self._remember_output(features, output)
        if self.phase != "frames":
            return output
        remembered = self._recall(features.layer).output
        assert remembered is not None
        views = self._view_of_each_keyframe(self._map_of(features))
        carried = [view(remembered[[k]]) for k, view in enumerate(views)]
        weights = torch.from_numpy(neighbour_weights(self._keyframes, self._frames)).to(output)
        total, share = torch.zeros_like(output), torch.zeros_like(output[..., :1])
        for of_keyframe, (shown, seen) in zip(weights, carried, strict=True):
            weight = (of_keyframe[:, None] * seen.flatten(1)).repeat(self.n_branches, 1)[..., None]
            total = total + weight * map_to_tokens(shown, self.n_branches)
            share = share + weight
        return torch.where(share > 0, total / share.clamp(min=1e-6), output)


def neighbour_weights(keyframes: Sequence[int], frames: Sequence[int]) -> Float[np.ndarray, "K F"]:
    """How much keyframes count for frames: the two around a frame by distance, the nearest at the ends."""
    units = np.eye(len(keyframes))
    return np.stack([np.interp(frames, keyframes, unit) for unit in units]).astype(np.float32)
