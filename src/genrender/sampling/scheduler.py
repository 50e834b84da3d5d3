"""A scheduler with noise levels that a caller may choose, and whose noise is given to it.

Ancestral samplers, LCM and DDIM with eta > 0 add fresh noise at each step. Drawn on the screen it would undo
mechanism 1 a little at every step, so it is drawn on the surface instead.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from jaxtyping import Float32
from torch import Tensor

from genrender.backbones.samplers import sampler_of
from genrender.errors import ConfigError

# All of diffusers' schedulers draw through this function, which their modules import by name.
DRAW = "randn_tensor"

# Where DPMSolverSDEScheduler keeps what it draws from.
PATH = "noise_sampler"

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


def set_noise_levels(
    scheduler: Any,
    n_steps: int,
    timesteps: Sequence[float] = (),
    sigmas: Sequence[float] = (),
    device: torch.device | None = None,
) -> None:
    """Set what a scheduler's run goes through, as `retrieve_timesteps` of diffusers does.

    Args:
        scheduler: of diffusers.
        n_steps: where neither timesteps nor sigmas are given.
        timesteps: descending whole numbers, from below the number that the model was trained on.
        sigmas: descending noise levels; the run ends at the last.
        device: where the timesteps go.

    Raises:
        ConfigError: the scheduler takes none of these, or not such ones.
    """
    name = type(scheduler).__name__
    chosen: dict[str, Any] = {"num_inference_steps": n_steps}
    if timesteps and sigmas:
        raise ConfigError("timesteps and sigmas are given, expected one of them")
    for kind, values in (("timesteps", timesteps), ("sigmas", sigmas)):
        if not values:
            continue
        _check_levels(kind, values, scheduler.config.num_train_timesteps)
        # EDM's `sigmas` are no noise levels but places between the highest and the lowest.
        known = inspect.signature(scheduler.set_timesteps).parameters
        if kind not in known or sampler_of(scheduler).is_edm:
            raise ConfigError(
                f"{name} takes no {kind} of its caller: give a number of steps, or use the sampler euler"
            )
        chosen = {kind: list(values)}
    try:
        scheduler.set_timesteps(**chosen, device=device)
    except ValueError as error:
        given = ", ".join(f"{key}={value}" for key, value in chosen.items())
        raise ConfigError(
            f"{name} cannot run with {given} ({' '.join(str(error).split())}): give others, or choose "
            "another sampler"
        ) from error


def _check_levels(kind: str, values: Sequence[float], n_train: int) -> None:
    highest = n_train - 1 if kind == "timesteps" else math.inf
    is_descending = all(after < before for before, after in itertools.pairwise(values))
    if not is_descending or not all(0 <= value <= highest for value in values):
        limit = f"from {n_train - 1} to 0" if kind == "timesteps" else "down to 0"
        raise ConfigError(
            f"{kind} are {', '.join(f'{v:g}' for v in values)}, expected descending ones {limit}"
        )
    if kind == "timesteps" and any(value != int(value) for value in values):
        raise ConfigError(f"timesteps are {', '.join(f'{v:g}' for v in values)}, expected whole numbers")
    if kind == "sigmas" and len(values) < 2:
        raise ConfigError("there is one sigma, expected at least two: a run goes from the first to the last")


class NoiseGivenScheduler:
    """Makes a scheduler's steps with noise that lives on the surface, a new texture for every draw.

    Where a scheduler does not draw through `randn_tensor`, its noise stays on the screen.

    Args:
        scheduler: of diffusers, with its timesteps set.
        n_frames: of the clip.
        generators: for noise that does not live on the surface: one for the clip, or one for every frame.
        eta: noise of DDIM; other schedulers ignore it.
        noise: of some frames at a step; None: the scheduler's own, drawn for the whole clip at once, so that
            chunks of any size get the same numbers.
    """

    def __init__(
        self,
        scheduler: Any,
        n_frames: int,
        generators: Sequence[torch.Generator],
        eta: float = 0.0,
        noise: StepNoise | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._n_frames = n_frames
        self._noise = noise
        self._frames: Sequence[int] = ()
        self._step = self._n_draws = 0
        self._screen_noise: dict[int, Tensor] = {}
        # One generator that draws for the whole clip gives other numbers than one that draws frame by frame.
        self._generator = generators[0] if len(generators) == 1 else list(generators)
        known = inspect.signature(scheduler.step).parameters
        options = {"eta": eta, "generator": self._generator, "return_dict": False}
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
            frames: whose latents these are.
        """
        if step != self._step:
            self._screen_noise.clear()
        self._frames, self._step, self._n_draws = frames, step, 0
        # Made for each step: kept, it would hold this object, which holds it, and the clip with them.
        make_step = given_noise(self._scheduler.step, self._draw)
        if not hasattr(self._scheduler, PATH):
            return make_step(output, timestep, latents, **self._options)[0]
        setattr(self._scheduler, PATH, partial(self._draw_along_path, latents))
        try:
            return make_step(output, timestep, latents, **self._options)[0]
        finally:
            setattr(self._scheduler, PATH, None)

    def _draw_along_path(self, latents: Tensor, sigma: Tensor, sigma_after: Tensor) -> Tensor:
        """How far a Brownian motion goes between two noise levels, scaled to unit variance.

        DPM-Solver's SDE asks at the first evaluation of a step for the way to the middle, and at the second
        for the whole way, whose first half is what it was told before. diffusers grows a tree of such ways
        for each batch, which other chunks would get other numbers from and which cannot be stored.
        """
        scheduler = self._scheduler
        options = {"device": latents.device, "dtype": latents.dtype}
        fresh = self._draw(latents.shape, generator=self._generator, **options)
        if scheduler.state_in_first_order:
            # The scheduler carries it, so that it is kept for the chunk and stored with it.
            scheduler.way_to_middle = fresh
            return fresh
        first, second = (
            (one - other).abs()
            for one, other in ((sigma, scheduler.mid_point_sigma), (scheduler.mid_point_sigma, sigma_after))
        )
        way = scheduler.way_to_middle * first.sqrt() + fresh * second.sqrt()
        return way / (first + second).sqrt()

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
