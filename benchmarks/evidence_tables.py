"""What the evidence says: tables with intervals in Markdown, and the plane of error and sharpness as SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from evidence_runs import CONTENDERS, PER_FRAME_NAME, Cell, Figures, Laboratory, Wording, takes

from genrender.evaluation.plots import Interval, Trade, as_svg, new_figure, plot_trades
from genrender.metrics.table import FIGURES, look_up

# What the tables show, by key as in `genrender.metrics.table`, and with how many digits: relative, absolute.
SHOWN = {
    "surface_error.1": (2, 4),
    "surface_error.4": (2, 4),
    "surface_error.16": (2, 4),
    "surface_error.first": (2, 4),
    "surface_error_low.1": (2, 4),
    "surface_error_high.1": (2, 4),
    "sharpness": (2, 3),
    "clip_frame_consistency": (3, 3),
    "clip_prompt_fidelity": (3, 3),
    "depth_agreement": (3, 3),
    "seconds_per_frame": (2, 2),
}
# A long clip's, which tell whether it drifts.
SHOWN_OF_LONG = {
    "surface_error.1": (2, 4),
    "surface_error.16": (2, 4),
    "surface_error.first": (2, 4),
    "surface_error_by_quarter.first.3": (2, 4),
    "surface_error_low.first": (2, 4),
    "surface_error_high.first": (2, 4),
    "sharpness": (2, 3),
    "seconds_per_frame": (2, 2),
    "peak_memory_mb": (2, 0),
}
Shown = Mapping[str, tuple[int, int]]

# Greatest error and least sharpness, relative to per-frame rendering, that are aimed at.
AIM = (0.15, 0.95)
PLANES = ("surface_error.1", "surface_error.first")


def bootstrap_interval(values: Sequence[float], n_resamples: int = 10_000) -> Interval:
    """95 % percentile interval of the mean."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values), (n_resamples, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def ratios(figures: Figures, wording: Wording, method: str, key: str) -> list[float]:
    """A figure over that of per-frame rendering, for every scene and seed that has both."""
    found = []
    for cell, measured in figures.items():
        if (cell.wording, cell.method) != (wording, method):
            continue
        value = look_up(measured, key)
        base = look_up(figures[Cell(cell.scene, wording, cell.seed, PER_FRAME_NAME)], key)
        if value is not None and base:
            found.append(value / base)
    return found


def relative_table(figures: Figures, wording: Wording, shown: Shown = SHOWN) -> str:
    """All scenes and seeds together, relative to per-frame rendering, with intervals."""
    methods = _methods(figures, wording)
    cells = {method: {key: ratios(figures, wording, method, key) for key in shown} for method in methods}
    # What nobody could measure has no column: 16 frames apart in a clip of 12, depth without a network.
    keys = [key for key in shown if any(cells[method][key] for method in methods)]
    rows = [
        [f"`{method}`: {CONTENDERS[method].meaning}"]
        + [_with_interval(cells[method][key], shown[key][0]) for key in keys]
        for method in methods
    ]
    return _markdown(["method", *(FIGURES[key].title.replace(", 1e-3", "") for key in keys)], rows)


def absolute_table(figures: Figures, wording: Wording, scene: str, shown: Shown = SHOWN) -> str:
    """One scene's means over the seeds."""
    runs = {
        method: [
            of
            for cell, of in figures.items()
            if (cell.scene, cell.wording, cell.method) == (scene, wording, method)
        ]
        for method in _methods(figures, wording)
    }
    means = {method: {key: _mean(of, key) for key in shown} for method, of in runs.items()}
    keys = [key for key in shown if any(of[key] is not None for of in means.values())]
    rows = []
    for method, of in means.items():
        values = ((of[key], shown[key][1]) for key in keys)
        rows.append([f"`{method}`", *("-" if v is None else f"{v:.{digits}f}" for v, digits in values)])
    return _markdown(["method", *(FIGURES[key].title for key in keys)], rows)


def report(figures: Figures, laboratory: Laboratory) -> str:
    """Markdown: relative to per-frame rendering for each kind of prompt, then scene by scene."""
    steps = "" if laboratory.n_steps is None else f", {laboratory.n_steps} steps (presets in proportion)"
    lines = []
    for wording in _in_order(cell.wording for cell in figures):
        cells = [cell for cell in figures if cell.wording == wording]
        scenes, seeds = (_in_order(getattr(cell, of) for cell in cells) for of in ("scene", "seed"))
        texts = "names the look" if wording == "named" else "leaves the look open"
        lines += [
            f"### A prompt that {texts}",
            "",
            f"{len(scenes)} scenes, seeds {', '.join(map(str, seeds))}, {laboratory.n_frames} frames, model "
            f"`{laboratory.model}`{steps}; means over {len(scenes) * len(seeds)} pairs of runs, relative to "
            "`per-frame`, with 95 % bootstrap intervals over the pairs.",
            "",
            relative_table(figures, wording),
            "",
        ]
        for scene in scenes:
            take = takes(laboratory.fox)[scene]
            words = take.prompt if wording == "named" else take.open_prompt
            own = "".join(f', {name}: "{text}"' for name, text in take.object_prompts if wording == "named")
            lines += [f'**{scene}** ({take.scene.name}, "{words}"{own})', ""]
            lines += [absolute_table(figures, wording, scene), ""]
    return "\n".join(lines)


def long_report(figures: Figures, laboratory: Laboratory) -> str:
    """Markdown: one long clip."""
    [scene] = _in_order(cell.scene for cell in figures)
    take = takes(laboratory.fox)[scene]
    return "\n".join(
        [
            f"### {laboratory.n_frames} frames",
            "",
            f'**{scene}** ({take.scene.name}, "{take.prompt}"), looped, one seed; the last quarter tells of '
            "drift.",
            "",
            absolute_table(figures, "named", scene, SHOWN_OF_LONG),
            "",
        ]
    )


def plane(figures: Figures) -> str:
    """Error over sharpness, relative to per-frame rendering: a row for each kind of prompt, as SVG."""
    wordings = _in_order(cell.wording for cell in figures)
    figure = new_figure(5.0 * len(PLANES) + 2.2, 4.4 * len(wordings))
    grid = figure.subplots(len(wordings), len(PLANES), squeeze=False)
    marks: dict[str, Any] = {}
    order = _methods(figures)
    for row, wording in zip(grid, wordings, strict=True):
        for axes, key in zip(row, PLANES, strict=True):
            plot_trades(axes, {name: _trade(figures, wording, name, key) for name in order}, AIM)
            axes.set_title(f"prompts that {'name the look' if wording == 'named' else 'leave it open'}")
            axes.set_xlabel("sharpness, of per-frame")
            axes.set_ylabel(f"{FIGURES[key].title}, of per-frame")
            marks |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(marks.values(), marks.keys(), loc="outside right center", fontsize="small")
    return as_svg(figure)


def _trade(figures: Figures, wording: Wording, method: str, key: str) -> Trade | None:
    errors, sharpness = (ratios(figures, wording, method, of) for of in (key, "sharpness"))
    if not errors or not sharpness:
        return None
    means = float(np.mean(errors)), float(np.mean(sharpness))
    return Trade(*means, bootstrap_interval(errors), bootstrap_interval(sharpness))


def _methods(figures: Figures, wording: Wording | None = None) -> list[str]:
    return _in_order(cell.method for cell in figures if wording in (None, cell.wording))


def _in_order(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))


def _mean(runs: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [value for run in runs if (value := look_up(run, key)) is not None]
    return float(np.mean(values)) if values else None


def _with_interval(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
