"""What the attention layers of one run share, and what they do with it.

Each step has two passes through the UNet. In the first the keyframes run together, every keyframe attending
to all of them, and each selected layer remembers their keys, values and outputs. In the second the other
frames run, chunk by chunk: their keys and values are extended with the remembered ones (pre-attention). In
both passes outputs are blended with the remembered outputs, carried over on the surface (post-attention).

With deduplication a token is left out where a keyframe's token shows its point, for keyframes and for frames:
all read the same tokens, and a frame adds its own only where it shows something that no keyframe shows. So
attention costs what the surface and the background that are in view cost, however many keyframes there are.
"""

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from genrender.config import InjectionConfig
from genrender.correspondence.engines import Blend, SurfaceEngine
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.unify import UNIFY_RULES, Rule
from genrender.errors import ConfigError, ModelError
from genrender.injection.attention import (
    Attend,
    attend,
    attend_with_some_of_their_own,
    blend_low_band,
    blend_with_surface,
    extend_with_keyframes,
    join_frames,
    map_to_tokens,
    split_frames,
    tokens_to_map,
)
from genrender.injection.keyframes import choose_keyframes


@dataclass
class KeyframeMemory:
    """What one layer remembers of the keyframes until the next step.

    Attributes:
        key: keys of the keyframes' tokens that all frames read, one row per branch.
        value: their values, likewise.
        output: layer outputs of the keyframes as maps, the branches side by side in the channels.
    """

    key: Float[Tensor, "B heads M D"] | None = None
    value: Float[Tensor, "B heads M D"] | None = None
    output: Float[Tensor, "K BC h w"] | None = None


@dataclass(frozen=True)
class SharedTokens:
    """Which tokens of the keyframes all frames read, on maps of one size.

    Attributes:
        index: of these tokens among those of all keyframes.
        pixels: the same as masks.
        background: where any of this clip's keyframes shows no surface.
    """

    index: Int64[Tensor, "M"]
    pixels: Bool[Tensor, "K h w"]
    background: Bool[Tensor, "L"]


@dataclass
class AttentionState:
    """Everything that the processors of one run share. Nothing of it is ever written into a module.

    Attributes:
        config: the injection settings.
        n_branches: 2 under classifier-free guidance, else 1; it may change between steps.
        engine: carries features on the surface; needed for blending and for deduplication.
        n_lent: how many keyframes, the first, are another run's: their background is not this clip's.
    """

    config: InjectionConfig
    n_branches: int
    engine: SurfaceEngine | None = None
    n_lent: int = field(default=0, init=False)
    phase: Literal["idle", "keyframes", "frames"] = field(default="idle", init=False)
    _keyframes: tuple[int, ...] = field(default=(), init=False)
    _frames: tuple[int, ...] = field(default=(), init=False)
    _progress: float = field(default=0.0, init=False)
    _memory: dict[str, KeyframeMemory] = field(default_factory=dict, init=False)
    _branches: dict[Hashable, "AttentionState"] = field(default_factory=dict, init=False)
    _maps: dict[Hashable, FeatureMap] = field(default_factory=dict, init=False)
    _blends: dict[FeatureMap, Blend] = field(default_factory=dict, init=False)
    _views: dict[FeatureMap, list[Blend]] = field(default_factory=dict, init=False)
    _shared_tokens: dict[FeatureMap, SharedTokens] = field(default_factory=dict, init=False)
    _own_tokens: dict[FeatureMap, list[Int64[Tensor, "M"]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.config.check()
        if self.config.needs_correspondence and self.engine is None:
            raise ConfigError(
                "alpha > 0 and deduplication look at the surface: pass a correspondence engine, or alpha = 0"
            )

    def of_branch(self, name: Hashable) -> "AttentionState":
        """The state of a branch whose rows do not always go through the networks with those of others.

        It is made when it is first asked for, with a memory of its own; it shares frames and surface with
        this one, whose `start_keyframes` and `start_frames` start it, too.

        Args:
            name: whatever tells branches apart.
        """
        if name not in self._branches:
            state = copy.copy(self)
            state.n_branches, state._memory, state._branches = 1, {}, {}
            self._branches[name] = state
        return self._branches[name]

    @property
    def is_active(self) -> bool:
        """Whether any injection is on; if not, the keyframe pass is not needed either."""
        return self.config.pre_attn or self.config.uses_surface

    @property
    def _rule(self) -> Rule:
        return UNIFY_RULES[self.config.unify]

    def choose(
        self,
        n_frames: int,
        n_keyframes: int,
        seed: int,
        draw: int,
        seen: Bool[np.ndarray, "F S"] | None = None,
    ) -> list[int]:
        """The keyframes of a step, see `choose_keyframes`."""
        return choose_keyframes(n_frames, n_keyframes, self.config.keyframes, seed, draw, seen)

    def start_keyframes(self, keyframes: Sequence[int], progress: float = 0.0) -> None:
        """From here on the UNet's rows are `keyframes`; what the last step remembered is forgotten.

        Args:
            keyframes: frame indices.
            progress: share of the steps that are done, for schedules of alpha.
        """
        self._start("keyframes", keyframes)
        self._keyframes = tuple(keyframes)
        self._progress = progress
        for remembered in (self._memory, self._shared_tokens):
            remembered.clear()
        for branch in self._branches.values():
            branch.start_keyframes(keyframes, progress)

    def start_frames(self, frames: Sequence[int]) -> None:
        """From here on the UNet's rows are the chunk `frames`."""
        self._start("frames", frames)
        for branch in self._branches.values():
            branch.start_frames(frames)

    def _start(self, phase: Literal["keyframes", "frames"], frames: Sequence[int]) -> None:
        self.phase = phase
        self._frames = tuple(frames)
        for remembered in (self._blends, self._views, self._own_tokens):
            remembered.clear()

    def attention(
        self,
        features: FeatureMap,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        attend: Attend = attend,
    ) -> Tensor:
        """Self-attention with the pre-attention injection, as far as it is on.

        Args:
            features: name of the layer, and the size of its maps.
            query: "N heads L D", branch-major; `key` and `value` likewise.
            key: see `query`.
            value: see `query`.
            scale: factor of Q K^T.
            attend: how rows attend to keys and values, for hosts that have kernels of their own.
        """
        if self.phase == "idle":
            return attend(query, key, value, scale)
        layer = features.layer
        if not self.config.pre_attn:
            return attend(query, key, value, scale)
        if self.phase == "keyframes":
            memory = self._memory.setdefault(layer, KeyframeMemory())
            joined_key, joined_value = (join_frames(tokens, self.n_branches) for tokens in (key, value))
            if self.config.deduplicate:
                kept = self._find_shared_tokens(self._map_of(features)).index
                joined_key, joined_value = joined_key[:, :, kept], joined_value[:, :, kept]
            memory.key, memory.value = joined_key, joined_value
            together = attend(join_frames(query, self.n_branches), joined_key, joined_value, scale)
            return split_frames(together, query.shape[2])
        shared_key, shared_value = self._recall_shared(layer)
        if self.config.deduplicate:
            own = self._find_own_tokens(self._map_of(features))
            return attend_with_some_of_their_own(
                query, key, value, (shared_key, shared_value), own, scale, attend
            )
        return attend(
            query, extend_with_keyframes(key, shared_key), extend_with_keyframes(value, shared_value), scale
        )

    def injection(self, features: FeatureMap, output: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        """The layer's output after the post-attention injection; alpha = 0 hands back `output` itself."""
        alpha = self.config.alpha_at(features.layer, self._progress)
        if alpha == 0 or self.phase == "idle":
            return output
        if self.phase == "keyframes":
            self._remember_output(features, output)
        remembered = self._recall(features.layer).output
        assert remembered is not None
        rendered, valid = self._blend(self._map_of(features))(remembered)
        surface = map_to_tokens(rendered, self.n_branches)
        of_branches = valid.flatten(1).repeat(self.n_branches, 1)
        if self.config.low_band == 0:
            return blend_with_surface(output, surface, of_branches, alpha)
        size = (features.height, features.width)
        own, shared, seen = (tokens.unflatten(1, size) for tokens in (output, surface, of_branches))
        return blend_low_band(own, shared, seen, alpha, self.config.low_band * max(size)).flatten(1, 2)

    def _remember_output(self, features: FeatureMap, output: Float[Tensor, "N L C"]) -> None:
        memory = self._memory.setdefault(features.layer, KeyframeMemory())
        memory.output = tokens_to_map(output, self.n_branches, (features.height, features.width))

    def _recall_shared(self, layer: str) -> tuple[Float[Tensor, "B heads M D"], Float[Tensor, "B heads M D"]]:
        """Keys and values that a layer remembers of the keyframes."""
        memory = self._recall(layer)
        assert memory.key is not None
        assert memory.value is not None
        return memory.key, memory.value

    def _recall(self, layer: str) -> KeyframeMemory:
        if layer not in self._memory:
            raise ModelError(
                f"layer {layer} saw no keyframe in this step: run the keyframe pass before the chunks"
            )
        return self._memory[layer]

    def _map_of(self, features: FeatureMap) -> FeatureMap:
        """A layer's map, or that of the first layer whose maps lie on the surface alike."""
        assert self.engine is not None
        # Such layers share the geometry, which costs more than the features.
        return self._maps.setdefault(self.engine.grid(features), features)

    def _blend(self, features: FeatureMap) -> Blend:
        if features not in self._blends:
            assert self.engine is not None
            self._blends[features] = self.engine.blend(
                self._keyframes, self._frames, features, self.config.unify, self._progress
            )
        return self._blends[features]

    def _view_of_each_keyframe(self, features: FeatureMap) -> list[Blend]:
        if features not in self._views:
            assert self.engine is not None
            engine = self.engine
            self._views[features] = [
                engine.blend([k], self._frames, features, "fill") for k in self._keyframes
            ]
        return self._views[features]

    def _find_shared_tokens(self, features: FeatureMap) -> SharedTokens:
        """The keyframes' tokens that show what no token kept of an earlier keyframe shows.

        Background has no surface, so a pixel of it is new where no keyframe before had background there.
        """
        if features not in self._shared_tokens:
            surface = self._carriers(features)[0].surface
            kept = torch.zeros_like(surface)
            for k in range(len(self._keyframes)):
                # Another run's background is not this clip's.
                first_alike = 0 if k < self.n_lent else self.n_lent
                background = ~surface[first_alike:k].all(0)
                kept[k] = ~torch.where(surface[k], self._show(kept, features)[k], background)
            index = torch.nonzero(kept.flatten()).squeeze(1)
            background = ~surface[self.n_lent :].all(0).flatten()
            self._shared_tokens[features] = SharedTokens(index, kept, background)
        return self._shared_tokens[features]

    def _find_own_tokens(self, features: FeatureMap) -> list[Int64[Tensor, "M"]]:
        """Of each frame the tokens that show something which no shared token shows."""
        if features not in self._own_tokens:
            shared = self._shared_tokens[features]
            surface = self._carriers(features)[0].surface.flatten(1)
            is_own = ~torch.where(surface, self._show(shared.pixels, features).flatten(1), shared.background)
            tokens = torch.nonzero(is_own)[:, 1]
            self._own_tokens[features] = list(tokens.split(is_own.sum(1).tolist()))
        return self._own_tokens[features]

    def _show(self, pixels: Bool[Tensor, "K h w"], features: FeatureMap) -> Bool[Tensor, "F h w"]:
        """Which pixels of the frames under way show a point that any of these of the keyframes shows."""
        carriers = self._carriers(features)
        parts = zip(carriers, pixels.chunk(len(carriers)), strict=True)
        return torch.stack([carrier.shows(part) for carrier, part in parts]).any(0)

    def _carriers(self, features: FeatureMap) -> list[Blend]:
        """One blend of all keyframes, or one of each where a blend does not give all of them a share."""
        if self._rule.averages:
            return [self._blend(features)]
        return self._view_of_each_keyframe(features)
