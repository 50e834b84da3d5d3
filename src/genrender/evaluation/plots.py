"""Plots as SVG text: what studies, pages and benchmarks have in common."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by shape as well as by colour, for print and for those who see colours otherwise.
MARKERS = "osD^v<>pP*Xhd"

# Sharpness is relative. What is twice as sharp as the reference has artefacts, whatever the number.
SHARPEST_SHOWN = 2.0

Interval = tuple[float, float]


def new_figure(width_in: float, height_in: float) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def as_svg(figure: "Figure") -> str:
    """The same text whenever it is drawn, with its words as words."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "genrender", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


@dataclass(frozen=True)
class Trade:
    """What a method pays for what it gains: error and sharpness, each with an interval."""

    error: float
    sharpness: float
    error_interval: Interval
    sharpness_interval: Interval


def plot_trades(
    axes: Any, trades: Mapping[str, Trade | None], aim: tuple[float, float] | None = None
) -> None:
    """Error over sharpness, a mark for each method: better is further down or further right.

    Args:
        axes: of matplotlib.
        trades: relative to a reference, by method, None where it was not measured. Marks go by their order.
        aim: greatest error and least sharpness that are aimed at; that corner is shaded.
    """
    for number, (name, trade) in enumerate(trades.items()):
        if trade is None:
            continue
        x = min(trade.sharpness, SHARPEST_SHOWN)
        if x < trade.sharpness:  # beyond the border: its mark stands there, with its number
            words = {"xytext": (-6, 6), "textcoords": "offset points", "ha": "right", "fontsize": "small"}
            axes.annotate(f"{trade.sharpness:.1f} \N{RIGHTWARDS ARROW}", (x, trade.error), **words)
        axes.errorbar(
            x,
            trade.error,
            xerr=None if x < trade.sharpness else _whiskers(x, trade.sharpness_interval),
            yerr=_whiskers(trade.error, trade.error_interval),
            fmt=MARKERS[number % len(MARKERS)],
            ms=6,
            elinewidth=0.7,
            color=f"C{number % 10}",
            label=name,
        )
    right = 1.02 * SHARPEST_SHOWN
    if aim is not None:
        error, sharpness = aim
        axes.fill_between([sharpness, right], 0, error, color="green", alpha=0.12, lw=0, label="aim")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, right)
    axes.grid(alpha=0.3)


def _whiskers(value: float, interval: Interval) -> Sequence[Sequence[float]]:
    """How far an interval reaches to either side, as matplotlib wants it."""
    return [[max(value - interval[0], 0)], [max(interval[1] - value, 0)]]
