"""The noise that samplers draw at their steps, on the surface instead of on the screen."""

import math
from typing import Any

import torch
from torch import Tensor

from .run import SurfaceRun


class StepNoise:
    """A `noise_sampler`: how far a Brownian motion goes between two noise levels, at unit variance.

    Samplers of higher order ask for the way to a level in between and for the whole way, which must agree.

    Args:
        run: whose surface it lives on.
        latents: of the clip, for their shape and place.
    """

    def __init__(self, run: SurfaceRun, latents: Tensor) -> None:
        self._run, self._shape = run, latents.shape
        self._options: dict[str, Any] = {"device": latents.device, "dtype": latents.dtype}
        self._evaluation = self._n_draws = 0
        self._path: dict[float, Tensor] = {}

    def __call__(self, sigma: Any, sigma_next: Any) -> Tensor:
        start, end = float(sigma), float(sigma_next)
        if start not in self._path or start == min(self._path):
            # Where nothing lies ahead, a new path is as good, and is not rounded.
            self._path = {start: torch.zeros(self._shape, **self._options)}
        way = math.sqrt(abs(start - end)) or 1.0
        if len(self._path) == 1:
            fresh = self._draw()
            self._path[end] = self._path[start] + way * fresh
            return fresh
        if end not in self._path:
            self._path[end] = self._between(end)
        return (self._path[end] - self._path[start]) / way

    def _between(self, level: float) -> Tensor:
        """The path at a level that it has not been asked for: beyond its end, or on a bridge."""
        lower = max((one for one in self._path if one < level), default=None)
        higher = min(one for one in self._path if one > level)
        if lower is None:
            return self._path[higher] + math.sqrt(higher - level) * self._draw()
        share = (level - lower) / (higher - lower)
        middle = torch.lerp(self._path[lower], self._path[higher], share)
        return middle + math.sqrt((higher - level) * share) * self._draw()

    def _draw(self) -> Tensor:
        evaluation = max(self._run.n_evaluations - 1, 0)
        self._n_draws = self._n_draws + 1 if evaluation == self._evaluation else 1
        self._evaluation = evaluation
        surface, n_channels = self._run.plan.surface, self._shape[1]
        drawn = [
            surface.step_noise(n_channels, [frame], evaluation, self._n_draws)
            for frame in range(surface.n_frames)
        ]
        return torch.cat(drawn).to(**self._options)
