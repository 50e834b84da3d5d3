"""One sampling of a clip inside ComfyUI: which step it is at, its keyframes, its passes through the model.

A run is made when a sampler starts, and travels in `transformer_options`, which belong to that sampler: the
patches of a model hold no state, and two samplings do not see each other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from genrender.backbones.attention_sites import feature_size
from genrender.config import MethodConfig
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.injection.attention import Attend, merge_heads, split_heads
from genrender.injection.keyframes import default_n_keyframes
from genrender.injection.state import AttentionState
from genrender.sampling.chunks import Chunks, frame_chunks
from genrender.sampling.latents import LatentRules
from genrender.sampling.passes import predict_frames
from genrender.sampling.surface import ClipSurface

from .conditions import Conditions

# Samplers that end a step with evaluations at the next noise level, and how many make one step in all.
EVALUATIONS = {
    "sample_heun": 2,
    "sample_heunpp2": 3,
    "sample_exp_heun_2_x0": 2,
    "sample_exp_heun_2_x0_sde": 2,
}


@dataclass(frozen=True, eq=False)
class SurfacePlan:
    """What a model with injections knows before it samples.

    Attributes:
        surface: of the clip, made ready for the method.
        method: how frames are made to agree.
        seed: of keyframes and of noise at steps.
        chunk: frames that go through the model at once.
        kept: what must live as long as this, such as folders of files.
    """

    surface: ClipSurface
    method: MethodConfig
    seed: int
    chunk: int
    kept: Any = None

    @property
    def n_keyframes(self) -> int:
        wanted, n_frames = self.method.injection.n_keyframes, self.surface.n_frames
        return default_n_keyframes(n_frames) if wanted is None else min(wanted, n_frames)

    @property
    def is_active(self) -> bool:
        """Whether anything is done to the model; the noise is not its matter."""
        injection = self.method.injection
        return injection.pre_attn or injection.uses_surface or self.method.latents.changes_x0

    @property
    def most_at_once(self) -> int:
        """Frames that go through the model together at most."""
        return min(self.surface.n_frames, max(self.chunk, self.n_keyframes))


class Steps:
    """Which step of a sampler an evaluation of the model belongs to, told by its noise level.

    Args:
        sigmas: the sampler's, from the highest to the end.
        n_evaluations: that make one step, see `EVALUATIONS`.
    """

    def __init__(self, sigmas: Sequence[float], n_evaluations: int = 1) -> None:
        self._levels = list(sigmas)[:-1]
        self._n_evaluations, self._made = n_evaluations, 0
        self.n_steps = max(len(self._levels), 1)
        self.step = 0

    def begin(self, sigma: float) -> int:
        """The step of an evaluation at this noise level: between two levels it is that of the higher one."""
        if 0 < self._made < self._n_evaluations:
            self._made += 1
            return self.step
        above = sum(level >= sigma * (1 - 1e-4) for level in self._levels)
        self.step, self._made = min(max(above - 1, 0), self.n_steps - 1), 1
        return self.step


class SurfaceRun:
    """A sampling under way.

    Args:
        plan: what is done.
        sigmas: the sampler's noise levels.
        sampler: name of its function.

    Attributes:
        n_evaluations: of the model, begun so far.
    """

    def __init__(self, plan: SurfacePlan, sigmas: Sequence[float], sampler: str) -> None:
        self.plan = plan
        self.n_evaluations = 0
        self._steps = Steps(sigmas, EVALUATIONS.get(sampler, 1))
        self._attention = AttentionState(plan.method.injection, 1, plan.surface.engine)
        self._rules = LatentRules(plan.method.latents, None, plan.surface)
        self._chunks = Chunks(plan.chunk)
        self._keyframes: list[int] = []

    @property
    def _progress(self) -> float:
        return self._steps.step / max(self._steps.n_steps - 1, 1)

    def begin(self, sigma: float) -> None:
        """An evaluation of the model begins, at this noise level."""
        plan, step = self.plan, self._steps.begin(sigma)
        self.n_evaluations += 1
        seen = plan.surface.seen if plan.method.injection.keyframes == "coverage" else None
        n_frames = plan.surface.n_frames
        self._keyframes = self._attention.choose(n_frames, plan.n_keyframes, plan.seed, step, seen)

    def predict(
        self, calculate: Callable[..., list[Tensor]], conditions: Conditions, x: Tensor
    ) -> list[Tensor]:
        """What the model says of all frames under each condition: keyframes first, then chunk by chunk.

        Args:
            calculate: asks it about some frames, given their conditions, latents and numbers.
            conditions: of all frames.
            x: noisy latents of all frames.

        Raises:
            ConfigError: these are not all frames.
        """
        n_frames = self.plan.surface.n_frames
        if len(x) != n_frames:
            raise ConfigError(
                f"the model is asked about {len(x)} frames at once, and the clip has {n_frames}: what cuts "
                "clips into windows does not go together with Surface Injection, which has chunks of its own"
            )

        def ask(frames: list[int]) -> Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            # Side by side in the channels: one tensor for all conditions.
            return torch.cat(calculate(conditions.of(frames), x[frames], frames), dim=1)

        outputs: Tensor | None = None
        for frames, output in predict_frames(
            ask, self._attention, range(n_frames), self._keyframes, self._chunks, self._progress
        ):
            if outputs is None:
                outputs = output.new_empty((n_frames, *output.shape[1:]))
            outputs[frames] = output
        assert outputs is not None
        return list(outputs.split(x.shape[1], dim=1))

    def change_x0(self, x0: Tensor) -> Tensor:
        """Predicted clean latents of all frames after what is done to them."""
        sources = self._rules.sources(self._keyframes, self.plan.seed, self._steps.step)
        if not sources:
            return x0
        self._rules.start_x0(sources, x0[sources])
        changed = x0.clone()
        for frames in frame_chunks(len(x0), self.plan.chunk):
            changed[frames] = self._rules.change_x0(x0[frames], frames, self._progress)
        return changed

    def attention(
        self, layer: str, tokens: Sequence[Tensor], options: dict[str, Any], attend: Attend
    ) -> Tensor:
        """Self-attention of a layer's projected queries, keys and values, "N L C" each."""
        query, key, value = (split_heads(each, options["n_heads"]) for each in tokens)
        scale = 1 / math.sqrt(query.shape[-1])
        if not self._sees_all(options):
            return merge_heads(attend(query, key, value, scale))
        features, outputs = self._features(layer, tokens[0], options), []
        names = options["uuids"]
        for name, *rows in zip(names, *(each.chunk(len(names)) for each in (query, key, value)), strict=True):
            state = self._attention.of_branch(name)
            outputs.append(merge_heads(state.attention(features, *rows, scale, attend)))
        return torch.cat(outputs)

    def injection(self, layer: str, output: Tensor, options: dict[str, Any]) -> Tensor:
        """A layer's output "N L C" with what the surface gives it."""
        if not self._sees_all(options):
            return output
        features, names = self._features(layer, output, options), options["uuids"]
        parts = zip(names, output.chunk(len(names)), strict=True)
        return torch.cat([self._attention.of_branch(name).injection(features, part) for name, part in parts])

    def _sees_all(self, options: dict[str, Any]) -> bool:
        """False for a condition with an area: what the model sees then is no whole picture."""
        return tuple(options["original_shape"][-2:]) == self.plan.surface.latent_size

    def _features(self, layer: str, tokens: Tensor, options: dict[str, Any]) -> FeatureMap:
        return FeatureMap(*feature_size(tokens.shape[1], *options["original_shape"][-2:]), layer)
