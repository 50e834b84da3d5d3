"""What happens beside a run while it is under way: progress, a preview, and states to resume from."""

import time
from typing import Any

import torch
from torch import Tensor

from genrender.diffusion.prediction import predicted_x0, signal_shares
from genrender.diffusion.step_state import StepState
from genrender.errors import ConfigError
from genrender.gbuffer.preview import to_picture
from genrender.media.images import contact_sheet, spread, write_png
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.render import PerFrame, Report
from genrender.unfinished import UnfinishedRun

PREVIEW_EVERY_S = 10.0
PREVIEW_FRAMES = 6


class Feedback:
    """Follows the diffusion of one run.

    Args:
        pipeline: what makes the frames.
        report: is told about every step.
        unfinished: where states and previews go; None: nowhere.
        started_s: when the run began on `time.perf_counter`, its earlier attempts counted in.
    """

    def __init__(
        self,
        pipeline: GenerativeRenderingPipeline,
        report: Report,
        unfinished: UnfinishedRun | None,
        started_s: float,
    ):
        self._pipeline = pipeline
        self._report = report
        self._unfinished = unfinished
        self._started_s = started_s
        self._previewed_at_s = time.monotonic()
        self._predicted: tuple[Tensor, Tensor] | None = None

    def on_step(self, _pipeline: Any, step: int, _timestep: Tensor, tensors: dict[str, Tensor]) -> None:
        """A step of the pipeline is done."""
        n_steps = len(self._pipeline.scheduler.timesteps)
        if self._unfinished is not None:
            self._predicted = tensors["model_output"], tensors["model_input"]
        self._report("diffusion", step + 1, n_steps)

    def on_state(self, state: StepState) -> None:
        """Everything about that step is known."""
        if self._unfinished is None:
            return
        is_last = state.step == len(self._pipeline.scheduler.timesteps)
        self._unfinished.save(state, time.perf_counter() - self._started_s, is_last)
        if not is_last and time.monotonic() - self._previewed_at_s > PREVIEW_EVERY_S:
            self._write_preview(state.step)
            self._previewed_at_s = time.monotonic()

    def _write_preview(self, n_done: int) -> None:
        """Some frames as the model sees them finished now: the clean latents that its output implies."""
        assert self._unfinished is not None
        assert self._predicted is not None
        scheduler: Any = self._pipeline.scheduler
        try:
            alpha_bar = float(signal_shares(scheduler)[n_done - 1])
        except ConfigError:
            return  # of this scheduler's predictions no clean latents are known
        n_frames = len(self._predicted[0])
        frames = spread(n_frames, PREVIEW_FRAMES)
        output, model_input = (tensor[frames] for tensor in self._predicted)
        kind = scheduler.config.get("prediction_type", "epsilon")
        with torch.no_grad():
            x0 = predicted_x0(output, model_input, alpha_bar, kind)
        decoded = (frame for chunk in self._pipeline.decode_frames(x0) for frame in chunk)
        pictures = {frame: to_picture(picture) for frame, picture in zip(frames, decoded, strict=True)}
        row = PerFrame(lambda frame: pictures[frame], n_frames)
        write_png(self._unfinished.preview_file, contact_sheet({f"step {n_done}": row}, PREVIEW_FRAMES))
