"""What ComfyUI's model is told beside its latents, for some frames of a batch."""

import copy
from collections.abc import Sequence
from typing import Any

import comfy.conds
import torch
from comfy.controlnet import ControlBase


class Conditions:
    """The conditions of an evaluation, for whichever frames are asked for.

    What has a row for every frame is cut to the rows of the frames; what has fewer is repeated in turn, as
    ComfyUI does it.

    Args:
        branches: as a sampler hands them to `calc_cond_batch`: for each branch its conditions, or None.
    """

    def __init__(self, branches: Sequence[list[dict[str, Any]] | None]) -> None:
        self._branches = branches

    def of(self, frames: Sequence[int]) -> list[list[dict[str, Any]] | None]:
        """The conditions of these frames."""
        # One object stays one: ComfyUI runs branches together only where they share their ControlNet.
        controls: dict[int, ControlBase] = {}
        return [
            None if branch is None else [_cut(each, frames, controls) for each in branch]
            for branch in self._branches
        ]


def _cut(
    condition: dict[str, Any], frames: Sequence[int], controls: dict[int, ControlBase]
) -> dict[str, Any]:
    cut = dict(condition)
    if "model_conds" in cut:
        cut["model_conds"] = {name: _rows_of(each, frames) for name, each in cut["model_conds"].items()}
    if cut.get("mask") is not None:
        cut["mask"] = _rows(cut["mask"], frames)
    if cut.get("control") is not None:
        cut["control"] = _control(cut["control"], frames, controls)
    return cut


def _rows_of(condition: Any, frames: Sequence[int]) -> Any:
    # Constants have no rows, whatever their shape.
    if isinstance(condition, comfy.conds.CONDConstant) or not torch.is_tensor(
        getattr(condition, "cond", None)
    ):
        return condition
    return condition._copy_with(_rows(condition.cond, frames))


def _rows(tensor: torch.Tensor, frames: Sequence[int]) -> torch.Tensor:
    n_rows = tensor.shape[0]
    return tensor if n_rows == 1 else tensor[[frame % n_rows for frame in frames]]


def _control(control: ControlBase, frames: Sequence[int], cut: dict[int, ControlBase]) -> ControlBase:
    """A ControlNet that sees the frames' pictures; its network is shared, pictures that it keeps are not."""
    if id(control) not in cut:
        own = copy.copy(control)
        own.cond_hint = own.extra_concat = None
        if hasattr(own, "control_input"):  # what a T2I-Adapter keeps
            own.control_input = None
        if own.cond_hint_original is not None:
            own.cond_hint_original = _rows(own.cond_hint_original, frames)
        own.extra_concat_orig = [_rows(each, frames) for each in own.extra_concat_orig]
        if own.previous_controlnet is not None:
            own.previous_controlnet = _control(own.previous_controlnet, frames, cut)
        cut[id(control)] = own
    return cut[id(control)]
