"""A scheduler whose noise is given to it.

Ancestral samplers, LCM and DDIM with eta > 0 add fresh noise at each step. Drawn on the screen it would undo
mechanism 1 a little at every step, so it is drawn on the surface instead.
"""

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float32
from torch import Tensor

# All of diffusers' schedulers draw through this function, which their modules import by name.
DRAW = "randn_tensor"

# Surface noise of some frames, by the step and the number of the draw within it.
StepNoise = Callable[[Sequence[int], int, int], Float32[Tensor, "n C h w"]]


def given_noise(step: Any, draw: Callable[..., Tensor]) -> Any:
    """A scheduler's `step` that draws through `draw`. The scheduler's module and class stay as they are.

    Schedulers take no noise, but all draw it through one function that their module imports. This is the same
    step with other globals, so that another run in the same process does not see it.
    """
    function = getattr(step, "__func__", None)
    if not isinstance(function, FunctionType) or DRAW not in function.__globals__:
        return step
    scope = {**function.__globals__, DRAW: draw}
    own = FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    own.__kwdefaults__ = function.__kwdefaults__
    return MethodType(own, step.__self__)


class NoiseGivenScheduler:
    """Makes a scheduler's steps with noise that lives on the surface, a new texture for every draw.

    Where a scheduler does not draw through `randn_tensor`, its noise stays on the screen.

    Args:
        scheduler: of diffusers, with its timesteps set.
        n_frames: of the clip.
        generator: for noise that does not live on the surface.
        eta: noise of DDIM; other schedulers ignore it.
        noise: of some frames at a step; None: the scheduler's own, drawn for the whole clip at once, so that
            chunks of any size get the same numbers.
    """

    def __init__(
        self,
        scheduler: Any,
        n_frames: int,
        generator: torch.Generator,
        eta: float = 0.0,
        noise: StepNoise | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._n_frames = n_frames
        self._noise = noise
        self._frames: Sequence[int] = ()
        self._step = self._n_draws = 0
        self._screen_noise: dict[int, Tensor] = {}
        known = inspect.signature(scheduler.step).parameters
        options = {"eta": eta, "generator": generator, "return_dict": False}
        self._options = {name: value for name, value in options.items() if name in known}

    def step(
        self,
        output: Float32[Tensor, "n C h w"],
        timestep: Tensor,
        latents: Float32[Tensor, "n C h w"],
        step: int,
        frames: Sequence[int],
    ) -> Float32[Tensor, "n C h w"]:
        """The latents after a step.

        Args:
            output: the model's.
            timestep: as the scheduler lists it.
            latents: before the step.
            step: which evaluation of the model.
            frames: consecutive frames, whose latents these are.
        """
        self._frames, self._step, self._n_draws = frames, step, 0
        if frames[0] == 0:
            self._screen_noise.clear()
        # Made for each step: kept, it would hold this object, which holds it, and the clip with them.
        make_step = given_noise(self._scheduler.step, self._draw)
        return make_step(output, timestep, latents, **self._options)[0]

    def _draw(self, shape: Any, *arguments: Any, **options: Any) -> Tensor:
        self._n_draws += 1
        if shape[0] != len(self._frames):
            return randn_tensor(shape, *arguments, **options)  # no map per frame: not ours to say what it is
        if self._noise is not None:
            noise = self._noise(self._frames, self._step, self._n_draws)
            return noise.to(device=options.get("device"), dtype=options.get("dtype"))
        if self._n_draws not in self._screen_noise:
            whole = (self._n_frames, *shape[1:])
            self._screen_noise[self._n_draws] = randn_tensor(whole, *arguments, **options)
        return self._screen_noise[self._n_draws][list(self._frames)]
