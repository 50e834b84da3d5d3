"""What the networks see of frames at a step of a run, and what their outputs imply."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genrender.sampling.appearance import Appearance
from genrender.sampling.prediction import x0_rules
from genrender.sampling.store import RunStore


def model_input_of(
    store: RunStore, scheduler: Any, timestep: Tensor, appearance: Appearance | None, frames: Sequence[int]
) -> Tensor:
    """What the networks see of some frames at a step; lent frames come first."""
    n_frames = len(store.latents)
    latents = store.latents[[frame for frame in frames if frame < n_frames]]
    if appearance is not None and len(latents) < len(frames):
        lent = [frame - n_frames for frame in frames if frame >= n_frames]
        latents = torch.cat([appearance.latents[store.step, lent].to(latents), latents])
    return scheduler.scale_model_input(latents, timestep)


def predicted_x0_of(
    store: RunStore,
    scheduler: Any,
    model_input: Callable[[Sequence[int]], Tensor],
    step: int,
    frames: Sequence[int],
) -> Tensor:
    """The clean latents that the model's output at a step implies for some frames."""
    return x0_rules(scheduler)[step].x0(store.outputs[frames], model_input(frames))
