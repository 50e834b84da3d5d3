"""`genrender compare`: one shot by several methods, side by side in figures."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from genrender.cli.console import cell, note, say, say_json
from genrender.cli.exr import exr_map, note_missing_geometry
from genrender.cli.options import Compare, Render
from genrender.cli.render import run_config
from genrender.cli.runs import Renderer, check_can_be_had, finished, keep_metrics, load_judges
from genrender.cli.scene import object_rule
from genrender.cli.scratch import gbuffer_file
from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import evaluate
from genrender.evaluation.page import check_plots, write_page
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.gbuffer.exr.survey import open_sequence
from genrender.methods.table import METHOD_OPTIONS, METHODS, MethodName
from genrender.metrics.table import COMPARED, FIGURES, look_up
from genrender.runs.finished import FinishedRun
from genrender.runs.folder import RunFolder
from genrender.scene.load import load_scene, scene_label
from genrender.scene.objects import with_objects
from genrender.shots.clip import Clip
from genrender.storage.atomic import check_writable

# The method whose sharpness the others are related to: nothing is shared, so nothing can blur.
REFERENCE: MethodName = "per-frame"


def compare(options: Compare) -> None:
    """Runs and measures every method, then prints a table or JSON.

    Raises:
        ConfigError: an unknown method, or a run that fails; its process has said why.
        ModelError: a network that was asked for is not there; told in the end, with all other figures.
    """
    # 1. What is wrong is told before any slow work.
    names = method_names(options.methods)
    is_exr = is_exr_sequence(options.scene)
    if is_exr:
        names = without_baked(names)
    for name in names:
        run_config(options_of(options, name)).check()
    if is_exr:
        open_sequence(options.scene, exr_map(options.scene, options.exr_map))
    else:
        with_objects(load_scene(options.scene, options.allow_folder), object_rule(options))
    if options.frames == 1:
        raise ConfigError("frames is 1, expected at least 2: one frame has nothing to agree with")
    if options.report is not None:
        check_report(options.report)
    judges = load_judges(options.clip, options.depth_model)
    folder = options.run_dir or Path("runs") / f"compare-{scene_label(options.scene)}"
    folders = {name: RunFolder(folder / name) for name in names}
    for name in names:
        check_can_be_had(options_of(options, name), folders[name])

    # 2. Runs that are not there yet, and their figures.
    runs: dict[str, FinishedRun] = {}
    clip: Clip | None = None
    results: dict[str, dict[str, Any]] = {}
    with gbuffer_file() as file, Renderer() as renderer:
        for number, name in enumerate(names, start=1):
            label = f"{name} ({number} of {len(names)})"
            runs[name] = finished(options_of(options, name), folders[name], label, renderer, file, clip)
            clip = runs[name].clip
        for name, run in runs.items():
            metrics = evaluate(run, judges, runs.get(REFERENCE))
            keep_metrics(run, metrics)
            results[name] = metrics | asdict(run.record.cost)
        if options.report is not None:
            write_page(options.report, runs, results, {name: METHODS[name].summary for name in names})
            note(f"report {options.report}")

    # 3. What came of it.
    note_missing_geometry(clip is None or clip.has_geometry)
    if options.json:
        say_json(results)
    else:
        print_table(f"{options.scene.name}: {options.prompt}", results)
        say(f"runs  {folder}")
    judges.check()


def print_table(title: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    """A row for each figure that was measured, a column for each method: so it fits a terminal's width."""
    table = Table(
        title=cell(title, "table.title"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("")
    for name in results:
        table.add_column(name.replace("-", "-\n"), justify="right", overflow="fold")
    for key in COMPARED:
        values = [look_up(figures, key) for figures in results.values()]
        if any(value is not None for value in values):
            table.add_row(FIGURES[key].title, *("-" if value is None else f"{value:.3g}" for value in values))
    Console().print(table)


def without_baked(names: list[MethodName]) -> list[MethodName]:
    """The methods that do without triangles.

    Raises:
        ConfigError: there is none.
    """
    left: list[MethodName] = [name for name in names if not METHODS[name].is_baked]
    if not left:
        raise ConfigError(
            f"{', '.join(names)} needs triangles, and EXR files hold none; choose other methods"
        )
    if len(left) < len(names):
        note(f"EXR files hold no triangles: {', '.join(sorted({*names} - {*left}))} is left out")
    return left


def check_report(file: Path) -> None:
    """Raises MediaError unless a page can be written there, ConfigError where its plots cannot be drawn."""
    check_plots()
    if file.is_dir():
        raise MediaError(f"cannot write {file}: it is a folder; give the name of a file, such as page.html")
    check_writable(file.parent)


def method_names(text: str) -> list[MethodName]:
    """The methods of "a,b,c", each once.

    Raises:
        ConfigError: there is none, or one is unknown.
    """
    names: list[Any] = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = get_args(MethodName)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"unknown method {unknown[0]!r}" if unknown else "no method"
        raise ConfigError(f"{what}, expected some of {', '.join(known)}, separated by commas")
    return names


def options_of(options: Compare, name: MethodName) -> Compare:
    """The options that concern one method. What means nothing to it is left out."""
    method = METHODS[name]
    foreign = set(METHOD_OPTIONS - method.options)
    if method.config is not None:
        # The stabiliser is part of ours, and a rival's noise is part of the rival.
        foreign |= {"stabilise", "noise"}
    if name != "generative":
        foreign.add("appearance_from")
    defaults = {field.name: field.default for field in fields(Render) if field.name in foreign}
    return replace(options, method=name, **defaults)
