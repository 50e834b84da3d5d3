"""All metrics of a run: name, title, what it says, which way is better, and the function that measures it.

`metrics.json`, the tables of `evaluate` and `compare`, the page, studies and benchmarks take keys, titles,
order and direction from here. A new metric is a function of a `Subject` and an entry in `METRICS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from jaxtyping import Float32
from torch import Tensor

from genrender.metrics.clip_score import ClipScorer, frame_consistency, prompt_fidelity
from genrender.metrics.depth import DepthEstimator, depth_agreement
from genrender.metrics.sharpness import sharpness
from genrender.metrics.surface import SurfaceErrors, surface_errors
from genrender.metrics.texel_std import TexelStd, texel_std
from genrender.shots.clip import Clip
from genrender.storage.lazy_frames import Pictures

Better: TypeAlias = Literal["less", "more"] | None

# How far apart compared frames are: a number of frames, or all with the first.
STRIDES = (1, 4, 16, "first")
DISTANCES = {"1": "adjacent", "4": "4 apart", "16": "16 apart", "first": "to the first"}
NOTHING_COMPARED = SurfaceErrors(None, None, None)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured. What several metrics need of it is worked out once.

    Attributes:
        frames: RGB in [0, 1].
        clip: what they show.
        prompt: what they shall show.
        scorer: a CLIP that judges frames and prompt; None: what it would measure is None.
        estimator: of the depth that frames show; None likewise.
        reference: frames of the same shot, to which sharpness is related.
    """

    frames: Pictures
    clip: Clip
    prompt: str = ""
    scorer: ClipScorer | None = None
    estimator: DepthEstimator | None = None
    reference: "Subject | None" = None

    @cached_property
    def surface(self) -> dict[str, SurfaceErrors]:
        """Surface errors by stride; without geometry there are none."""
        if not self.clip.has_geometry:
            return dict.fromkeys(DISTANCES, NOTHING_COMPARED)
        clip = self.clip
        tracker = clip.tracker
        return {str(stride): surface_errors(self.frames, tracker, stride) for stride in STRIDES}

    @cached_property
    def spread(self) -> TexelStd | None:
        """Deviation of surface points over time; None where none is seen in enough frames."""
        std = texel_std(self.frames, self.clip.gbuffers)
        return std if std.n_points else None

    @cached_property
    def sharpness(self) -> float:
        return sharpness(self.frames, self.clip.gbuffers)

    @cached_property
    def embedded(self) -> Float32[Tensor, "F D"] | None:
        """The frames as the CLIP sees them."""
        return None if self.scorer is None else self.scorer.embed_images(self.frames)


@dataclass(frozen=True)
class Metric:
    """One entry of `metrics.json`, or of what a run tells about its cost.

    Attributes:
        key: its name there.
        title: what tables and plots call it.
        meaning: what it says, in half a line.
        measure: gives a number, or several by name; None where it cannot be measured. None: the run tells it.
        better: which way is better; None: neither.
        unit: of the number, where it is none of 0 to 1.
        parts: where there are several numbers, their names below `key` and what they are called.
        compared: those that a comparison of methods shows; "" is a number that stands alone.
    """

    key: str
    title: str
    meaning: str
    measure: Callable[[Subject], Any] | None
    better: Better = None
    unit: str = ""
    parts: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    compared: tuple[str, ...] = ("",)

    def key_of(self, part: str) -> str:
        """The key under which `look_up` finds one of its numbers."""
        return f"{self.key}.{part}" if part else self.key


@dataclass(frozen=True)
class Figure:
    """A single number of a metric, as a table shows it."""

    title: str
    better: Better


def _errors(part: str) -> Callable[[Subject], dict[str, float | None]]:
    return lambda subject: {stride: getattr(error, part) for stride, error in subject.surface.items()}


def _quarters(subject: Subject) -> dict[str, list[float | None]]:
    return {stride: list(subject.surface[stride].quarters) for stride in ("1", "first")}


def _frame_consistency(subject: Subject) -> float | None:
    images = subject.embedded
    return None if images is None or len(images) < 2 else frame_consistency(images)


def _prompt_fidelity(subject: Subject) -> float | None:
    if subject.scorer is None or subject.embedded is None:
        return None
    return prompt_fidelity(subject.embedded, subject.scorer.embed_texts([subject.prompt])[0])


def _depth_agreement(subject: Subject) -> float | None:
    if subject.estimator is None:
        return None
    return depth_agreement(subject.estimator.inverse_depth(subject.frames), subject.clip.gbuffers)


def _relative_sharpness(subject: Subject) -> float | None:
    theirs = 0.0 if subject.reference is None else subject.reference.sharpness
    return subject.sharpness / theirs if theirs > 0 else None


METRICS = (
    Metric(
        "surface_error",
        "surface error",
        "colour change of equal surface points, 0 to 1",
        _errors("surface"),
        "less",
        parts=DISTANCES,
        compared=tuple(DISTANCES),
    ),
    Metric(
        "surface_error_low",
        "low band",
        "what neighbouring points of an object change together: colours and shades that breathe",
        _errors("low"),
        "less",
        parts=DISTANCES,
        compared=("1", "first"),
    ),
    Metric(
        "surface_error_high",
        "high band",
        "the rest: details that move, or are drawn anew in every frame",
        _errors("high"),
        "less",
        parts=DISTANCES,
        compared=("1", "first"),
    ),
    Metric(
        "foreground_error",
        "objects",
        "surface error of the scene's own objects",
        _errors("foreground"),
        "less",
        parts=DISTANCES,
        compared=("1",),
    ),
    Metric(
        "background_error",
        "background",
        "surface error of a backdrop, and of pixels without surface",
        _errors("background"),
        "less",
        parts=DISTANCES,
        compared=("1",),
    ),
    Metric(
        "surface_error_by_quarter",
        "surface error",
        "the same in each quarter of the clip; a rise is drift",
        _quarters,
        "less",
        parts={
            f"{stride}.{quarter}": f"{DISTANCES[stride]}, {which} quarter"
            for stride in ("1", "first")
            for quarter, which in enumerate(("1st", "2nd", "3rd", "last"))
        },
        compared=(),
    ),
    Metric(
        "texel_std",
        "spread over time",
        "standard deviation of a surface point's colour; less is steadier",
        lambda subject: None if subject.spread is None else subject.spread.total,
        "less",
    ),
    Metric(
        "texel_std_without_frame_mean",
        "spread of details",
        "the same, without what the whole frame does",
        lambda subject: None if subject.spread is None else subject.spread.texture,
        "less",
        compared=(),
    ),
    Metric(
        "clip_frame_consistency",
        "CLIP frame consistency",
        "how alike neighbours look to a CLIP model; 1 is most",
        _frame_consistency,
        "more",
    ),
    Metric(
        "clip_prompt_fidelity",
        "CLIP prompt fidelity",
        "how well frames fit the prompt, to a CLIP model; more is better",
        _prompt_fidelity,
        "more",
    ),
    Metric(
        "depth_agreement",
        "depth agreement",
        "whether frames show the scene's depth; 1 is most; needs --depth-model",
        _depth_agreement,
        "more",
    ),
    Metric(
        "sharpness",
        "sharpness",
        "of surfaces; more is sharper",
        lambda subject: subject.sharpness,
        unit="1e-3",
    ),
    Metric(
        "relative_sharpness",
        "relative sharpness",
        "to --reference, in a comparison to per-frame; below 1 is softer",
        _relative_sharpness,
    ),
)
# What a run tells about itself; see `genrender.runs.record`.
COSTS = (
    Metric("seconds_per_frame", "seconds per frame", "diffusion and decoding", None, "less"),
    Metric("peak_memory_mb", "peak memory", "of the process", None, "less", unit="MB"),
    Metric("gpu_peak_memory_mb", "peak GPU memory", "of tensors", None, "less", unit="MB"),
)


# Single numbers, by the key under which `look_up` finds them.
FIGURES: dict[str, Figure] = {
    metric.key_of(part): Figure(", ".join(filter(None, (metric.title, called, metric.unit))), metric.better)
    for metric in (*METRICS, *COSTS)
    for part, called in metric.parts.items()
}
# Those that a comparison of methods shows, in order.
COMPARED = tuple(metric.key_of(part) for metric in (*METRICS, *COSTS) for part in metric.compared)


def measure(subject: Subject) -> dict[str, Any]:
    """All metrics, in the order of the table; None stands for what could not be measured."""
    return {metric.key: metric.measure(subject) for metric in METRICS if metric.measure is not None}


def look_up(figures: Mapping[str, Any], key: str) -> float | None:
    """The figure `key`; `surface_error.4` lies one level down, and lists count from 0."""
    value: Any = figures
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list | tuple) else value[part]
    return value
