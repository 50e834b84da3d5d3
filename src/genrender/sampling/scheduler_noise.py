"""Noise that a stochastic scheduler draws at every step, drawn on the surface instead.

Ancestral samplers, LCM and DDIM with eta > 0 add fresh noise at each step. Drawn on the screen it would undo
mechanism 1 a little at every step.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from genrender.config import NoiseConfig
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.hashing import hash_key
from genrender.noise.initial import surface_noise

# All of diffusers' schedulers draw through this function, which they import by name.
DRAW = "randn_tensor"


class StepNoise:
    """Gives a scheduler surface noise, a new texture for every draw.

    Args:
        scheduler: of diffusers.
        gbuffers: the clip.
        vae_factor: image pixels along one side of a latent pixel.
        seed: the run's seed.
        config: the mode; every frame's noise follows it as at the beginning.
    """

    def __init__(
        self, scheduler: Any, gbuffers: Sequence[GBuffer], vae_factor: int, seed: int, config: NoiseConfig
    ):
        self._module: Any = sys.modules[type(scheduler).__module__]
        self._gbuffers = gbuffers
        self._vae_factor = vae_factor
        self._seed = seed
        self._config = config
        self._screen_noise: dict[int, Tensor] = {}

    @contextmanager
    def of_step(self, step: int, frames: Sequence[int]) -> Iterator[None]:
        """While this lasts, what the scheduler draws for these frames is surface noise; undone in any case.

        Where noise is not to live on the surface at every step, it is the scheduler's own.

        Args:
            step: which evaluation of the model.
            frames: consecutive frames, those whose latents the scheduler changes.

        Schedulers that draw nothing cost nothing. Where a scheduler does not draw through `randn_tensor`, its
        noise stays on the screen.
        """
        original = getattr(self._module, DRAW, None)
        if original is None:
            yield
            return
        if frames[0] == 0:
            self._screen_noise.clear()
        n_draws = 0

        def draw(shape: Any, *arguments: Any, **options: Any) -> Tensor:
            nonlocal n_draws
            n_draws += 1
            if shape[0] != len(frames):
                return original(shape, *arguments, **options)  # no map per frame: not ours to say what it is
            if not self._config.every_step:
                # For the whole clip at once, so that chunks of any size get the same numbers.
                if n_draws not in self._screen_noise:
                    whole = (len(self._gbuffers), *shape[1:])
                    self._screen_noise[n_draws] = original(whole, *arguments, **options)
                return self._screen_noise[n_draws][list(frames)]
            plain = original(shape, *arguments, **options)
            # Mode `independent` draws anew at every step as well: the seed changes with the step.
            seed = hash_key(self._seed, "step noise", step, n_draws)
            shown = [self._gbuffers[frame] for frame in frames]
            noise = surface_noise(shown, shape[1], self._vae_factor, seed, self._config, frames[0])
            return noise.to(plain.device, plain.dtype)

        setattr(self._module, DRAW, draw)
        try:
            yield
        finally:
            setattr(self._module, DRAW, original)
