"""What happens beside a run while it is under way: progress and a preview."""

import time
from collections.abc import Sequence

from genrender.backbones.protocol import Backbone
from genrender.gbuffer.preview import to_picture
from genrender.media.images import contact_sheet, spread, write_png
from genrender.runs.hooks import RunHooks
from genrender.runs.unfinished import UnfinishedRun
from genrender.sampling.loop import Hooks, PredictedX0, decode_frames
from genrender.storage.lazy_frames import PerFrame

# Seconds from one preview to the next at least; more where a preview takes long: of a run's time they shall
# take a tenth at most.
PREVIEW_EVERY_S = 2.0
PREVIEW_SHARE = 0.1
PREVIEW_FRAMES = 6


class Feedback(Hooks):
    """Follows the diffusion of one run.

    Args:
        backbone: what makes the frames.
        frames: their numbers, of which some are shown.
        hooks: told about every step, and asked after it whether the run is to go on.
        unfinished: where previews and times go; None: nowhere.
        started_s: when the run began on `time.perf_counter`, its earlier attempts counted in.

    Attributes:
        was_interrupted: whether the diffusion was told to stop.
    """

    def __init__(
        self,
        backbone: Backbone,
        frames: Sequence[int],
        hooks: RunHooks,
        unfinished: UnfinishedRun | None,
        started_s: float,
    ):
        self._backbone = backbone
        self._frames = frames
        self._hooks = hooks
        self._unfinished = unfinished
        self._started_s = started_s
        self._previewed_at_s = time.monotonic()
        self._preview_took_s = 0.0
        self.was_interrupted = False

    def on_outputs(self, step: int, predicted_x0: PredictedX0) -> None:
        """The model has seen all frames; a step before it is over."""
        if self._unfinished is not None and self._frames:
            self._unfinished.note_seconds(time.perf_counter() - self._started_s)
            begun_s = time.monotonic()
            if begun_s - self._previewed_at_s > max(PREVIEW_EVERY_S, self._preview_took_s / PREVIEW_SHARE):
                self._write_preview(step, predicted_x0)
                self._previewed_at_s = time.monotonic()
                self._preview_took_s = self._previewed_at_s - begun_s
        self._hooks.progress("diffusion", step + 1, len(self._backbone.scheduler.timesteps))

    def is_interrupted(self) -> bool:
        """Whether the run is not wanted any more. The answer is kept: a second one might be another."""
        self.was_interrupted = self._hooks.is_cancelled()
        return self.was_interrupted

    def _write_preview(self, step: int, predicted_x0: PredictedX0) -> None:
        """Some frames as the model sees them finished now: the clean latents that its output implies."""
        assert self._unfinished is not None
        places = spread(len(self._frames), PREVIEW_FRAMES)
        decoded = decode_frames(self._backbone, predicted_x0([self._frames[place] for place in places]))
        pictures = {place: to_picture(picture) for place, picture in zip(places, decoded, strict=True)}
        # Of the others the nearest of these stands in: nobody sees it, but a sequence has all its frames.
        row = PerFrame(
            lambda place: pictures[min(places, key=lambda shown: abs(shown - place))], len(self._frames)
        )
        write_png(self._unfinished.preview_file, contact_sheet({f"step {step + 1}": row}, PREVIEW_FRAMES))
