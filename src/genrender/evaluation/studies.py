"""What one setting does to consistency, sharpness and cost: what each study tries, and the files it writes.

`genrender study` makes and measures the runs; here is what is asked, and how the answer is written down.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genrender.config import StudyName
from genrender.evaluation.page import look_up
from genrender.storage.atomic import atomic_write

RATIOS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
KEYFRAME_COUNTS = (1, 2, 3, 4, 6, 8)
STRATEGIES = ("random", "stratified", "uniform", "coverage")
LENGTHS = (16, 32, 64, 128, 256, 512)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEP_COUNTS = (3, 5, 10, 20, 40)

# What a study's pictures and tables show; its CSV holds every metric.
SHOWN = {
    "surface_error.1": "surface error, adjacent",
    "surface_error.first": "surface error to the first",
    "sharpness": "sharpness, 1e-3",
    "seconds_per_frame": "seconds per frame",
}
SHOWN_OF_LENGTH = {
    "surface_error.1": "surface error, adjacent",
    "surface_error_by_quarter.1.3": "adjacent, last quarter",
    "surface_error.first": "surface error to the first",
    "surface_error_by_quarter.first.3": "to the first, last quarter",
    "sharpness": "sharpness, 1e-3",
    "peak_memory_mb": "peak memory, MB",
}


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
        shown: the figures in plots and table, by name, with their titles.
    """

    question: str
    axis: str
    variants: tuple[Variant, ...]
    is_logarithmic: bool = True
    shown: Mapping[str, str] = field(default_factory=lambda: SHOWN)


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


STUDIES: dict[StudyName, Study] = {
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


@dataclass(frozen=True)
class Measured:
    """One run's figures.

    Attributes:
        scene: the scene file's stem.
        n_triangles: how many the scene has.
        seed: of the run.
        variant: what was tried.
        made_with: device and versions, by name. All other settings stand in the run's own folder.
        figures: metrics and costs, as `genrender compare --json` prints them.
    """

    scene: str
    n_triangles: int
    seed: int
    variant: Variant
    made_with: Mapping[str, str]
    figures: Mapping[str, Any]


def write_study(folder: Path, name: StudyName, measured: Sequence[Measured]) -> None:
    """Write `NAME.csv` (every figure of every run), `NAME.svg` (plots) and `NAME.md` (a table of means).

    Raises:
        MediaError: a file cannot be written.
    """
    texts = {
        ".csv": _csv(measured),
        ".svg": _plots(STUDIES[name], measured),
        ".md": _table(STUDIES[name], measured),
    }
    for suffix, text in texts.items():
        with atomic_write(folder / f"{name}{suffix}") as part:
            part.write_text(text, encoding="utf-8")


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Every figure under the name by which `look_up` finds it."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, list | tuple):
            value = {str(place): entry for place, entry in enumerate(value)}
        inner = _flat(value) if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}.{key}" if key else name: entry for key, entry in inner.items()}
    return flat


def _csv(measured: Sequence[Measured]) -> str:
    text = io.StringIO()
    # Scenes have figures that EXR files have not.
    names = list(dict.fromkeys(name for run in measured for name in _flat(run.figures)))
    writer = csv.writer(text, lineterminator="\n")
    made_with = list(measured[0].made_with)
    writer.writerow(["scene", "triangles", "seed", "series", "x", *made_with, *names])
    for run in measured:
        figures = _flat(run.figures)
        place = "" if run.variant.x is None else run.variant.x
        writer.writerow(
            [run.scene, run.n_triangles, run.seed, run.variant.series, place]
            + [run.made_with[name] for name in made_with]
            + ["" if figures.get(name) is None else figures[name] for name in names]
        )
    return text.getvalue()


def _means(runs: Sequence[Measured], key: str) -> dict[tuple[str, float | None], float]:
    """The mean over seeds and scenes of every variant that has the figure, by series and place."""
    values: dict[tuple[str, float | None], list[float]] = {}
    for run in runs:
        value = look_up(run.figures, key)
        if value is not None:
            values.setdefault((run.variant.series, run.variant.x), []).append(value)
    return {place: float(np.mean(of)) for place, of in values.items()}


def _plots(study: Study, measured: Sequence[Measured]) -> str:
    """One row for each scene, one column for each figure that the study shows, as SVG.

    The last column has error over sharpness: what blurs looks steadier, so neither counts without the other.
    """
    import matplotlib
    import matplotlib.figure

    scenes = list(dict.fromkeys(run.scene for run in measured))
    with matplotlib.rc_context({"svg.hashsalt": "genrender", "svg.fonttype": "none"}):
        figure = matplotlib.figure.Figure(
            figsize=(3.6 * (len(study.shown) + 1), 2.8 * len(scenes) + 0.6), layout="constrained"
        )
        grid = figure.subplots(len(scenes), len(study.shown) + 1, squeeze=False)
        for row, scene in zip(grid, scenes, strict=True):
            runs = [run for run in measured if run.scene == scene]
            for axes, (key, title) in zip(row[:-1], study.shown.items(), strict=True):
                means = _means(runs, key)
                for number, series in enumerate(dict.fromkeys(series for series, _ in means)):
                    points = [(x, y) for (of, x), y in means.items() if of == series and x is not None]
                    color = f"C{number}"
                    if points:
                        axes.plot(*zip(*points, strict=True), "o-", ms=3, label=series, color=color)
                    elif (level := means.get((series, None))) is not None:
                        axes.axhline(level, ls="--", label=series, color=color)
                if study.is_logarithmic:
                    axes.set_xscale("log", base=2)
                axes.set_ylim(bottom=0)
                axes.set_title(f"{scene}: {title}", fontsize="small")
                axes.set_xlabel(study.axis)
                axes.grid(alpha=0.3)
            _plot_price(row[-1], scene, runs)
        grid[0][0].legend(fontsize="x-small")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _plot_price(axes: Any, scene: str, runs: Sequence[Measured]) -> None:
    """Surface error over sharpness, a line per series in the order of its variants."""
    sharpness, error = (_means(runs, key) for key in ("sharpness", "surface_error.1"))
    for number, series in enumerate(dict.fromkeys(series for series, _ in error)):
        places = [place for place in error if place[0] == series and place in sharpness]
        xs, ys = [sharpness[place] for place in places], [error[place] for place in places]
        axes.plot(xs, ys, "o-" if len(places) > 1 else "D", ms=3, color=f"C{number}")
        for (_, x), *at in zip(places, xs, ys, strict=True):
            if x is not None:
                axes.annotate(f"{x:g}", at, fontsize="xx-small", xytext=(2, 2), textcoords="offset points")
    axes.set_title(f"{scene}: error over sharpness", fontsize="small")
    axes.set_xlabel("sharpness, 1e-3")
    axes.grid(alpha=0.3)


def _table(study: Study, measured: Sequence[Measured]) -> str:
    scenes = list(dict.fromkeys(run.scene for run in measured))
    seeds = list(dict.fromkeys(run.seed for run in measured))
    means = {key: _means(measured, key) for key in study.shown}
    lines = [
        study.question,
        "",
        f"Means over {', '.join(scenes)}; seeds {', '.join(map(str, seeds))}.",
        "",
        f"| | {study.axis} | runs | " + " | ".join(study.shown.values()) + " |",
        "|---|---|---|" + "---|" * len(study.shown),
    ]
    # While a study goes on, means are over fewer scenes and seeds for some variants than for others.
    n_runs = Counter(run.variant.name for run in measured)
    for variant in {run.variant.name: run.variant for run in measured}.values():
        place = (variant.series, variant.x)
        cells = [f"{means[key][place]:.4g}" if place in means[key] else "-" for key in study.shown]
        x = "-" if variant.x is None else f"{variant.x:g}"
        lines.append(f"| {variant.series} | {x} | {n_runs[variant.name]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
