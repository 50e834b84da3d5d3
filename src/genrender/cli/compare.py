"""`genrender compare`: one shot by several methods, side by side in figures."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from genrender.cli.console import Bars, cell, hooks, say, say_json
from genrender.evaluation.compare import compare as compare_methods
from genrender.evaluation.runs import note_missing_geometry
from genrender.metrics.table import COMPARED, FIGURES, look_up
from genrender.options.commands import Compare
from genrender.options.measured import compare_job

# The longest part of a method's name, and what separates columns.
COLUMN_WIDTH = 11


def compare(options: Compare) -> None:
    """Runs and measures every method, then prints a table or JSON.

    Raises:
        ConfigError: an unknown method, or a run that fails.
        ModelError: a network that was asked for is not there; told in the end, with all other figures.
    """
    asked = compare_job(options)
    with Bars(shows_memory=False) as bars:
        made = compare_methods(asked, hooks(bars))
    note_missing_geometry(made.has_geometry, hooks())
    if options.json:
        say_json(made.results)
    else:
        print_table(f"{options.scene.name}: {options.prompt}", made.results)
        say(f"runs  {asked.folder}")
    made.judges.check()


def print_table(title: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """A row for each figure that was measured, a column for each method; as many tables as a terminal's width
    makes of them."""
    console = Console()
    rows = {key: [look_up(figures, key) for figures in results.values()] for key in COMPARED}
    rows = {key: values for key, values in rows.items() if any(value is not None for value in values)}
    labels = [FIGURES[key].title for key in rows]
    n_columns = max(1, (console.width - max(map(len, labels), default=0) - 2) // COLUMN_WIDTH)
    for start in range(0, len(results), n_columns):
        chosen = slice(start, start + n_columns)
        table = Table(
            title=cell(title, "table.title"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column("")
        for name in [*results][chosen]:
            table.add_column(name.replace("-", "-\n"), justify="right", overflow="fold")
        for label, values in zip(labels, rows.values(), strict=True):
            table.add_row(label, *("-" if value is None else f"{value:.3g}" for value in values[chosen]))
        console.print(table)
