"""The files that answer a study: every figure as CSV, plots as SVG, and a table of means in Markdown."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrender.evaluation.plots import as_svg, new_figure
from genrender.evaluation.studies import STUDIES, Study, StudyName, Variant
from genrender.metrics.table import FIGURES, look_up
from genrender.storage.atomic import atomic_write


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
    scenes = list(dict.fromkeys(run.scene for run in measured))
    figure = new_figure(3.6 * (len(study.shown) + 1), 2.8 * len(scenes) + 0.6)
    grid = figure.subplots(len(scenes), len(study.shown) + 1, squeeze=False)
    for row, scene in zip(grid, scenes, strict=True):
        runs = [run for run in measured if run.scene == scene]
        for axes, key in zip(row[:-1], study.shown, strict=True):
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
            axes.set_title(f"{scene}: {FIGURES[key].title}", fontsize="small")
            axes.set_xlabel(study.axis)
            axes.grid(alpha=0.3)
        _plot_price(row[-1], scene, runs)
    grid[0][0].legend(fontsize="x-small")
    return as_svg(figure)


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
    axes.set_xlabel(FIGURES["sharpness"].title)
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
        f"| | {study.axis} | runs | " + " | ".join(FIGURES[key].title for key in study.shown) + " |",
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
