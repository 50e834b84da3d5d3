"""`genrender inspect`: what a scene holds."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from genrender.cli.options import Inspect
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene


def inspect(options: Inspect) -> None:
    """Prints a report about a scene, as tables or as JSON."""
    report = inspect_scene(load_scene(options.scene))
    if options.json:
        print(json.dumps(report, indent=2))
        return
    console = Console()
    counts = (f"{count} {name[:-1] if count == 1 else name}" for name, count in report["totals"].items())
    print(f"{report['file']}: {', '.join(counts)}")
    console.print(_objects(report["objects"]))
    if report["animations"]:
        console.print(_rows("animations", report["animations"], ("index", "name", "duration_s")))
    if report["cameras"]:
        console.print(_rows("cameras", report["cameras"], ("index", "name", "yfov_deg", "ymag")))


def _objects(objects: list[dict[str, Any]]) -> Table:
    flat = [
        {"id": entry["object_id"], **entry, "UVs": entry["uv"]["state"], **_percent(entry["uv"])}
        for entry in objects
    ]
    return _rows("objects", flat, ("id", "name", "triangles", "UVs", "missing %", "overlap %", "outside %"))


def _percent(uv: dict[str, Any]) -> dict[str, str]:
    # Where there are no UVs, nothing can overlap or lie outside.
    is_missing = uv["state"] == "missing"
    return {
        "missing %": f"{uv['missing_percent']:.4g}",
        "overlap %": "-" if is_missing else f"{uv['overlap_percent']:.4g}",
        "outside %": "-" if is_missing else f"{uv['outside_percent']:.4g}",
    }


def _rows(title: str, entries: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("name", "UVs") else "right")
    for entry in entries:
        table.add_row(*(_cell(entry[column]) for column in columns))
    return table


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
    return text.replace("[", r"\[")  # a name is no markup
