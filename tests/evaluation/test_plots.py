"""Plots that say what they were given, and the same way each time."""

import pytest

from genrender.evaluation.plots import SHARPEST_SHOWN, Trade, as_svg, new_figure, plot_trades

pytest.importorskip("matplotlib")

TRADES = {
    "plain": Trade(1.0, 1.0, (1.0, 1.0), (1.0, 1.0)),
    "unmeasured": None,
    "steady": Trade(0.1, 0.9, (0.05, 0.2), (0.8, 1.1)),
    "garish": Trade(0.3, 4.5, (0.2, 0.4), (3.0, 6.0)),
}


def drawn():
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    plot_trades(axes, TRADES, aim=(0.15, 0.95))
    return figure, axes


def test_every_method_that_was_measured_has_a_mark_where_it_lies():
    _, axes = drawn()
    marks = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert marks == {
        "plain": [[1.0, 1.0]],
        "steady": [[0.9, 0.1]],
        "garish": [[SHARPEST_SHOWN, 0.3]],  # at the border, with its number
    }
    assert [text.get_text()[:3] for text in axes.texts] == ["4.5"]
    assert "aim" in axes.get_legend_handles_labels()[1]
    assert axes.get_ylim()[0] == axes.get_xlim()[0] == 0


def test_the_text_is_the_same_whenever_it_is_drawn():
    first, second = (as_svg(drawn()[0]) for _ in range(2))
    assert first == second
    assert ">4.5" in first, "words are words"
