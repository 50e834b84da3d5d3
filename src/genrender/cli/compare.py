"""`genrender compare`: one shot by several methods, side by side in figures.

Every method runs as a `genrender render` in a process of its own, so that its peak memory is its own.
"""

import datetime
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

import genrender
from genrender.atomic import atomic_write, check_writable
from genrender.baselines.methods import METHODS
from genrender.cli.console import note
from genrender.cli.options import Compare, Render
from genrender.cli.render import run_config
from genrender.comparison_page import COLUMNS, check_plots, look_up, write_page
from genrender.config import MethodName
from genrender.errors import ConfigError, MediaError
from genrender.evaluate import evaluate
from genrender.finished_run import FinishedRun, open_run
from genrender.media.run_folder import RunFolder
from genrender.metrics.clip import POCKET_CLIP
from genrender.scene.load import load_scene

SETTINGS_OF_OURS = ("keyframes", "noise", "engine", "alpha", "unify", "set", "stabilise")


def compare(options: Compare) -> None:
    """Runs and measures every method, then prints a table or JSON.

    Raises:
        ConfigError: an unknown method, or a run that fails; its process has said why.
    """
    names = method_names(options.methods)
    for name in names:
        run_config(options_of(options, name)).check()
    load_scene(options.scene)
    if options.report is not None:
        check_plots()
        check_writable(options.report.parent)
    folder = options.run_dir or Path("runs") / f"compare-{options.scene.stem}"
    finished: dict[str, FinishedRun] = {}
    results: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names, start=1):
        run = RunFolder(folder / name)
        words = render_words(options_of(options, name), run.path)
        if is_done(run, words, options.scene):
            note(f"{name} ({number} of {len(names)}) is there already")
        else:
            note(f"{name} ({number} of {len(names)})")
            child = [sys.executable, "-m", "genrender", *words]
            if subprocess.run(child, stdout=subprocess.DEVNULL, check=False).returncode:
                raise ConfigError(f"the run of method {name} failed; what went wrong stands above")
        finished[name] = open_run(run.path)
        results[name] = measured(finished[name], options.clip)
    if options.report is not None:
        summaries = {name: METHODS[name].summary for name in names}
        write_page(options.report, finished, results, summaries)
        note(f"report {options.report}")
    if options.json:
        print(json.dumps(results, indent=2))
        return
    table = Table(title=f"{options.scene.name}: {options.prompt}", title_justify="left")
    table.add_column("method")
    for column in COLUMNS.values():
        table.add_column(column.title, justify="right")
    for name, figures in results.items():
        table.add_row(
            name,
            *(f"{value:.4g}" if (value := look_up(figures, key)) is not None else "-" for key in COLUMNS),
        )
    Console().print(table)
    print(f"runs  {folder}")


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
    """The options that concern one method. Settings of ours are nothing to a method that has its own."""
    if METHODS[name].config is None:
        return replace(options, method=name)
    defaults = {field.name: field.default for field in fields(Render) if field.name in SETTINGS_OF_OURS}
    return replace(options, method=name, **defaults)


def render_words(options: Compare, folder: Path) -> list[str]:
    """The words after `genrender` that make one method's run: everything that was asked for otherwise."""
    words = ["render", str(options.scene)]
    for field in fields(Render):
        value = getattr(options, field.name)
        if field.name in ("scene", "out", "run_dir") or value == field.default:
            continue
        flag = f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [flag, str(one)]
    return [*words, "--run-dir", str(folder)]


def is_done(run: RunFolder, words: list[str], scene: Path) -> bool:
    """Whether the folder holds what these words would make, from the scene as it is now."""
    try:
        stored = run.read_config()
    except MediaError:
        return False
    made = datetime.datetime.fromisoformat(stored["created"]).timestamp()
    return (
        stored["command"] == ["genrender", *words]
        and stored["versions"]["genrender"] == genrender.__version__
        and scene.stat().st_mtime <= made
    )


def measured(run: FinishedRun, clip: str | None) -> dict[str, Any]:
    """A run's metrics, which are kept as its `metrics.json`, and its costs."""
    metrics = evaluate(run, clip or POCKET_CLIP)
    with atomic_write(run.folder.path / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics | run.config["cost"]
