"""What the networks see of frames at a step of a run, and what their outputs imply."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genrender.sampling.part import Part
from genrender.sampling.prediction import x0_rules
from genrender.sampling.store import RunStore
from genrender.sampling.surface import ClipSurface


def model_input_of(
    store: RunStore, part: Part, scheduler: Any, timestep: Tensor, surface: ClipSurface, frames: Sequence[int]
) -> Tensor:
    """What the networks see of some frames at a step; lent frames come first."""
    row_of = {frame: row for row, frame in enumerate(surface.lent)}
    latents = store.latents[part.rows(frame for frame in frames if frame not in row_of)]
    if surface.appearance is not None and len(latents) < len(frames):
        lent = [row_of[frame] for frame in frames if frame in row_of]
        latents = torch.cat([surface.appearance.latents[store.step, lent].to(latents), latents])
    return scheduler.scale_model_input(latents, timestep)


def predicted_x0_of(
    store: RunStore,
    part: Part,
    scheduler: Any,
    model_input: Callable[[Sequence[int]], Tensor],
    step: int,
    frames: Sequence[int],
) -> Tensor:
    """The clean latents that the model's output at a step implies for some frames."""
    return x0_rules(scheduler)[step].x0(store.outputs[part.rows(frames)], model_input(frames))
