"""Progress bar, callback and interruption of diffusers' pipelines, as hooks of the loop."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from genrender.backbones.protocol import Denoiser
from genrender.errors import ConfigError
from genrender.sampling.loop import Hooks
from genrender.sampling.store import FrameTensors

# Called with (pipeline, step, timestep, tensors by their names); may return other tensors by their names.
StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


class DiffusersHooks(Hooks):
    """What a caller of a pipeline of diffusers expects while it runs.

    Args:
        pipeline: whose callback it is; guidance that the callback changes there has effect.
        callback: None: there is none. Those of diffusers that know which tensors they want are asked.
        tensor_inputs: which tensors it wants: `latents` of all frames, and what the denoiser has.
    """

    def __init__(
        self, pipeline: Any, callback: StepCallback | None = None, tensor_inputs: Sequence[str] = ("latents",)
    ) -> None:
        self._pipeline = pipeline
        self._callback = callback
        self._wanted = tuple(getattr(callback, "tensor_inputs", tensor_inputs))
        self._stack = ExitStack()
        self._progress: Any = None

    def __enter__(self) -> "DiffusersHooks":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def on_begin(self, step: int, n_steps: int, denoiser: Denoiser) -> None:
        known = ("latents", *denoiser.tensors)
        for name in self._wanted:
            if name not in known:
                raise ConfigError(
                    f"the callback wants {name!r}, which cannot be given, expected of {', '.join(known)}"
                )
        self._pipeline._num_timesteps = n_steps
        self._progress = self._stack.enter_context(self._pipeline.progress_bar(total=n_steps))
        self._progress.update(step)

    def on_step_end(
        self, step: int, timestep: Tensor, latents: FrameTensors, denoiser: Denoiser
    ) -> Denoiser | None:
        self._progress.update()
        if self._callback is None:
            return None
        given = {
            name: latents[range(len(latents))] if name == "latents" else denoiser.tensors[name]
            for name in self._wanted
        }
        scale = self._pipeline._guidance_scale
        returned = self._callback(self._pipeline, step, timestep, dict(given)) or {}
        if "latents" in returned:
            latents[range(len(latents))] = returned["latents"]
        changed = {
            name: tensor
            for name, tensor in returned.items()
            if name != "latents" and tensor is not given.get(name)
        }
        guidance_scale = self._pipeline._guidance_scale
        if not changed and guidance_scale == scale:
            return None
        return denoiser.revised(changed, guidance_scale)

    def is_interrupted(self) -> bool:
        return self._pipeline.interrupt
