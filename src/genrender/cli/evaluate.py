"""`genrender evaluate`: how good a run is, in figures."""

from collections.abc import Mapping
from typing import Any

from genrender.cli.console import Bars, hooks, say, stdout_console, table
from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import Judges
from genrender.evaluation.evaluate import evaluate as evaluate_run
from genrender.evaluation.runs import keep_metrics, note_missing_geometry
from genrender.metrics.table import DISTANCES, FIGURES, METRICS
from genrender.options.commands import Evaluate
from genrender.runs.finished import open_reference, open_run
from genrender.storage.scratch import gbuffer_file


def evaluate(options: Evaluate) -> None:
    """Measures a finished run, prints the figures and keeps them as `metrics.json` in its folder.

    Where nothing can be written there, that is said instead.

    Raises:
        ConfigError: the reference shows another shot. As with the next two, all other figures are printed.
        MediaError: the reference is no finished run.
        ModelError: a network that was asked for is not there.
    """
    with gbuffer_file() as file, Bars() as bars:
        run = open_run(options.run_dir, bars, gbuffer_file=file)
        judges = Judges.load(options.judging.clip, options.judging.depth_model)
        reference = error = None
        try:
            reference = None if options.reference is None else open_reference(run, options.reference)
        except (ConfigError, MediaError) as reason:
            error = reason  # told in the end: the other metrics do without
        metrics = evaluate_run(run, judges, reference)
    note_missing_geometry(run.clip.has_geometry, hooks())
    text = keep_metrics(run, metrics, hooks())
    if options.json:
        print(text)
    else:
        _print_figures(str(run.folder.path), metrics)
    if error is not None:
        raise error
    judges.check()


def _print_figures(title: str, metrics: Mapping[str, Any]) -> None:
    """What can be compared stands side by side; names in JSON are others, and stay what they are."""
    say(f"{title}: {metrics['n_frames']} frames")
    console = stdout_console()
    made = table(
        "Colour change of equal surface points, 0 to 1 (less is steadier)",
        {"between frames": "left", **dict.fromkeys(DISTANCES.values(), "right")},
    )
    for metric in METRICS:
        if metric.parts is DISTANCES:
            made.add_row(metric.title, *(_text(metrics[metric.key][stride]) for stride in DISTANCES))
    console.print(made)
    made = table(
        "The same in each quarter of the clip (a rise is drift)",
        {"between frames": "left", **dict.fromkeys(("1st", "2nd", "3rd", "4th"), "right")},
    )
    for stride, quarters in metrics["surface_error_by_quarter"].items():
        made.add_row(DISTANCES[stride], *map(_text, quarters))
    console.print(made)
    made = table("Single figures", {"figure": "left", "value": "right", "what it says": "left"})
    for metric in METRICS:
        if metric.key in FIGURES:  # it is one number
            made.add_row(FIGURES[metric.key].title, _text(metrics[metric.key]), metric.meaning)
    console.print(made)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
