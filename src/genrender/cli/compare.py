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
from genrender.atomic import check_writable
from genrender.baselines.methods import METHOD_OPTIONS, METHODS
from genrender.cli.console import note
from genrender.cli.options import Compare, Render
from genrender.cli.render import run_config
from genrender.comparison_page import COLUMNS, check_plots, look_up, write_page
from genrender.config import MethodName
from genrender.diffusion.models import find_model
from genrender.errors import ConfigError, MediaError
from genrender.evaluate import evaluate, write_metrics
from genrender.finished_run import FinishedRun, open_run
from genrender.media.run_folder import RunFolder
from genrender.metrics.clip import POCKET_CLIP, ClipScorer
from genrender.render import Clip
from genrender.scene.load import load_scene


def compare(options: Compare) -> None:
    """Runs and measures every method, then prints a table or JSON.

    Raises:
        ConfigError: an unknown method, or a run that fails; its process has said why.
    """
    # 1. What is wrong is told before any slow work.
    names = method_names(options.methods)
    for name in names:
        run_config(options_of(options, name)).check()
    load_scene(options.scene)
    if options.frames == 1:
        raise ConfigError("frames is 1, expected at least 2: one frame has nothing to agree with")
    if options.report is not None:
        check_report(options.report)
    scorer = ClipScorer.load(options.clip or POCKET_CLIP)
    folder = options.run_dir or Path("runs") / f"compare-{options.scene.stem}"
    folders = {name: RunFolder(folder / name) for name in names}

    # 2. Runs that are not there yet, and their figures.
    finished: dict[str, FinishedRun] = {}
    results: dict[str, dict[str, Any]] = {}
    clip: Clip | None = None
    for number, name in enumerate(names, start=1):
        words = render_words(options_of(options, name), folders[name].path)
        there = is_done(folders[name], words, inputs(options))
        note(f"{name} ({number} of {len(names)}){' is there already' if there else ''}")
        if not there:
            child = [sys.executable, "-m", "genrender", *words]
            if subprocess.run(child, stdout=subprocess.DEVNULL, check=False).returncode:
                raise ConfigError(f"the run of method {name} failed; what went wrong stands above")
        finished[name] = open_run(folders[name].path, clip=clip)
        clip = finished[name].clip
        metrics = evaluate(finished[name], scorer)
        write_metrics(finished[name], metrics)
        results[name] = metrics | finished[name].config["cost"]

    # 3. What came of it.
    if options.report is not None:
        write_page(options.report, finished, results, {name: METHODS[name].summary for name in names})
        note(f"report {options.report}")
    if options.json:
        print(json.dumps(results, indent=2))
        return
    table = Table(title=f"{options.scene.name}: {options.prompt}", title_justify="left")
    table.add_column("method")
    for column in COLUMNS.values():
        table.add_column(column.title, justify="right")
    for name, figures in results.items():
        values = (look_up(figures, key) for key in COLUMNS)
        table.add_row(name, *("-" if value is None else f"{value:.4g}" for value in values))
    Console().print(table)
    print(f"runs  {folder}")


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
    defaults = {field.name: field.default for field in fields(Render) if field.name in foreign}
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
            words += [f"{flag}={one}" for one in (value if isinstance(value, tuple) else (value,))]
    return [*words, f"--run-dir={folder}"]


def inputs(options: Compare) -> list[Path]:
    """The files that runs depend on, as far as they are on this machine."""
    files = [options.scene]
    if options.scene.suffix.lower() == ".gltf":  # buffers and pictures lie beside it
        files += [path for path in options.scene.parent.iterdir() if path.is_file()]
    if options.camera is not None and Path(options.camera).is_file():
        files.append(Path(options.camera))
    model = find_model(options.model)
    if model.is_local:
        files += [path for path in Path(model.location).rglob("*") if path.is_file()]
    return files


def is_done(run: RunFolder, words: list[str], files: list[Path]) -> bool:
    """Whether the folder holds, complete, what these words make of the files as they are now."""
    try:
        stored = run.read_config()
    except MediaError:
        return False
    config = stored["config"]
    if len(run.frame_files()) != config.get("n_frames") or not run.video_file.is_file():
        return False
    took_s = config["cost"]["seconds_per_frame"] * config["n_frames"]
    begun = datetime.datetime.fromisoformat(stored["created"]).timestamp() - took_s
    return (
        stored["command"] == ["genrender", *words]
        and Path(config["scene"]) == files[0].resolve()
        and stored["versions"]["genrender"] == genrender.__version__
        and max(file.stat().st_mtime for file in files) <= begun
    )
