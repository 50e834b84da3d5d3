"""`genrender diagnose`: what is wrong with a run, and which knob to turn."""

from dataclasses import asdict

import numpy as np
from rich.console import Console
from rich.table import Table

from genrender.cli.console import Bars, cell, hooks, say_json
from genrender.errors import ConfigError
from genrender.evaluation.diagnose import Symptom, measure, symptoms
from genrender.evaluation.runs import note_missing_geometry
from genrender.options.commands import Diagnose
from genrender.runs.finished import open_reference, open_run
from genrender.storage.scratch import gbuffer_file


def diagnose(options: Diagnose) -> None:
    """Prints every known signature with its measurement, and the remedies of those that are there."""
    with gbuffer_file() as file, Bars() as bars:
        run = open_run(options.run_dir, bars, gbuffer_file=file)
        if len(run.frames) < 2:
            raise ConfigError(f"{options.run_dir} holds one frame, expected at least two to compare")
        reference = None
        if options.reference is not None:
            reference = open_reference(run, options.reference).frames
        measured = measure(run.frames, run.clip, reference)
    note_missing_geometry(run.clip.has_geometry, hooks())
    found = symptoms(measured)
    if options.json:
        report = {
            "symptoms": {symptom.name: asdict(symptom) for symptom in found},
            "measurements": asdict(measured),
        }
        # JSON knows no NaN.
        say_json(_without_nan(report))
        return
    table = Table(title=cell(options.run_dir, "table.title"), title_justify="left")
    for column in ("signature", "value", "good", "found"):
        table.add_column(column, justify="right" if column in ("value", "good") else "left")
    for symptom in found:
        value = "-" if symptom.is_present is None else f"{symptom.value:.3f}"
        table.add_row(symptom.name, value, f"{_WAYS[symptom.better]} {symptom.limit:.2f}", _verdict(symptom))
    Console().print(table)
    for symptom in found:
        if symptom.is_present:
            print(f"{symptom.name}: {symptom.meaning}: {symptom.remedy}")
    if reference is None:
        print("blur cannot be told without --reference, a run of the same shot with --method per-frame")
    if all(symptom.is_present is None for symptom in found):
        print("this clip does not tell any of the known signatures")
    elif not any(symptom.is_present for symptom in found):
        print("none of the known signatures is there")


_WAYS = {"less": "below", "more": "above"}


def _verdict(symptom: Symptom) -> str:
    return {True: "yes", False: "no", None: "cannot tell"}[symptom.is_present]


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_nan(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
