"""What one setting does to consistency, sharpness and cost: what each study asks and tries.

`genrender study` makes and measures the runs, and `genrender.evaluation.study_report` writes the answer. Here
is nothing that needs numpy, so that `genrender --help` can list the studies.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

RATIOS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
KEYFRAME_COUNTS = (1, 2, 3, 4, 6, 8)
STRATEGIES = ("random", "stratified", "uniform", "coverage")
LENGTHS = (16, 32, 64, 128, 256, 512)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEP_COUNTS = (3, 5, 10, 20, 40)

# What a study's pictures and tables show, by key as in `genrender.metrics.table`; its CSV holds every metric.
SHOWN = ("surface_error.1", "surface_error.first", "sharpness", "seconds_per_frame")
SHOWN_OF_LENGTH = (
    "surface_error.1",
    "surface_error_by_quarter.1.3",
    "surface_error.first",
    "surface_error_by_quarter.first.3",
    "sharpness",
    "peak_memory_mb",
)


@dataclass(frozen=True)
class Variant:
    """One run of a study.

    Attributes:
        series: which line of the plots it belongs to.
        x: where on that line; None: a level that has no place on the axis, such as a reference.
        options: options of `genrender render` that make it what it is.
    """

    series: str
    x: float | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A name for its folder."""
        label = re.sub(r"[^\w+.-]+", "-", self.series.replace("'", ""))
        return label if self.x is None else f"{label}-{self.x:g}"


@dataclass(frozen=True)
class Study:
    """A question that measurements answer.

    Attributes:
        question: in one sentence.
        axis: what `Variant.x` is.
        variants: the runs for every scene and seed.
        is_logarithmic: whether the axis is.
        shown: keys of the figures in plots and table.
    """

    question: str
    axis: str
    variants: tuple[Variant, ...]
    is_logarithmic: bool = True
    shown: tuple[str, ...] = SHOWN


def _alpha_variants() -> tuple[Variant, ...]:
    # Without any weight there is nothing to schedule, so only the constant series begin at 0.
    falling = ("injection.alpha_end=0",)
    no_pre = ("injection.pre_attn=false",)
    return (
        *(Variant("constant", alpha, {"alpha": alpha}) for alpha in ALPHAS),
        *(Variant("falling to 0", alpha, {"alpha": alpha, "set": falling}) for alpha in ALPHAS[1:]),
        *(
            Variant("rising from 0", alpha, {"alpha": 0.0, "set": (f"injection.alpha_end={alpha}",)})
            for alpha in ALPHAS[1:]
        ),
        *(Variant("constant, no keyframe keys", alpha, {"alpha": alpha, "set": no_pre}) for alpha in ALPHAS),
    )


STUDIES: dict[str, Study] = {
    "texture-resolution": Study(
        "How fine must the textures be that carry features, and does it depend on the scene?",
        "texture side over feature map side",
        (
            *(
                Variant("texture", ratio, {"engine": "texture", "set": (f"correspondence.ratio={ratio}",)})
                for ratio in RATIOS
            ),
            Variant("reproject", None, {"engine": "reproject"}),
        ),
    ),
    "keyframes": Study(
        "How many keyframes does a clip need, and how should they be drawn?",
        "keyframes",
        tuple(
            Variant(strategy, count, {"keyframes": count, "set": (f"injection.keyframes={strategy}",)})
            for strategy in STRATEGIES
            for count in KEYFRAME_COUNTS
        ),
        is_logarithmic=False,
    ),
    "length": Study(
        "Does consistency hold to the end of a long clip, and what limits it?",
        "frames",
        (
            *(Variant("keyframes by length, at most 8", n, {"frames": n, "loop": True}) for n in LENGTHS),
            *(Variant("3 keyframes", n, {"frames": n, "loop": True, "keyframes": 3}) for n in LENGTHS),
        ),
        shown=SHOWN_OF_LENGTH,
    ),
    "alpha": Study(
        "How much should blended features weigh against a frame's own attention, and when?",
        "alpha",
        _alpha_variants(),
        is_logarithmic=False,
    ),
    "steps": Study(
        "How many diffusion steps does a clip need?",
        "steps",
        tuple(
            Variant(series, steps, {**options, "steps": steps})
            for series, options in {
                "the model's sampler": {},
                "DPM-Solver++": {"preset": "fast"},
                "the model's sampler, per-frame": {"method": "per-frame"},
            }.items()
            for steps in STEP_COUNTS
        ),
    ),
}

if TYPE_CHECKING:
    StudyName = str
else:
    StudyName = Literal[tuple(STUDIES)]
