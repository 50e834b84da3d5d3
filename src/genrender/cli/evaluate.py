"""`genrender evaluate`: how good a run is, in figures."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genrender.cli.console import Bars, cell
from genrender.cli.exr import note_missing_geometry
from genrender.cli.options import Evaluate
from genrender.errors import ConfigError, MediaError
from genrender.evaluate import STRIDES, Judges, write_metrics
from genrender.evaluate import evaluate as evaluate_run
from genrender.finished_run import open_reference, open_run

MEANINGS = {
    "surface_error": "RGB difference of equal surface points; less is steadier",
    "foreground_error": "the same, on the scene's own objects",
    "background_error": "the same, on backdrops, and in place where there is none",
    "surface_error_by_quarter": "surface error in each quarter of the clip; a rise is drift",
    "texel_std": "standard deviation over time of a surface point's colour",
    "texel_std_without_frame_mean": "the same, less what the whole frame does",
    "clip_frame_consistency": "cosine of neighbouring frames' CLIP embeddings",
    "clip_prompt_fidelity": "cosine of frames and prompt",
    "depth_agreement": "rank correlation of estimated and given depth; needs --depth-model",
    "sharpness": "variance of the Laplacian on surfaces, in 1e-3",
    "relative_sharpness": "the same, over that of --reference; below 1 is softer",
    "n_frames": "frames",
}

# How far apart the frames of `STRIDES` are, in words.
DISTANCES = {str(stride): "to the first" if stride == "first" else f"{stride} apart" for stride in STRIDES}


def evaluate(options: Evaluate) -> None:
    """Measures a finished run, prints the figures and keeps them as `metrics.json` in its folder.

    Raises:
        ConfigError: the reference shows another shot. As with the next two, all other figures are printed.
        MediaError: the reference is no finished run.
        ModelError: a network that was asked for is not there.
    """
    with tempfile.TemporaryDirectory() as scratch, Bars() as bars:
        run = open_run(options.run_dir, bars, gbuffer_file=Path(scratch) / "gbuffers.bin")
        judges = Judges.load(options.clip, options.depth_model)
        reference = error = None
        try:
            reference = None if options.reference is None else open_reference(run, options.reference)
        except (ConfigError, MediaError) as reason:
            error = reason  # told in the end: the other metrics do without
        metrics = evaluate_run(run, judges, reference)
    note_missing_geometry(run.clip.has_geometry)
    text = write_metrics(run, metrics)
    if options.json:
        print(text)
    else:
        _print_table(str(run.folder.path), metrics)
    if error is not None:
        raise error
    judges.check()


def _print_table(title: str, metrics: Mapping[str, Any]) -> None:
    table = Table(title=cell(title, "table.title"), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("meaning")
    for name, value in metrics.items():
        if isinstance(value, dict):
            for stride, entry in value.items():
                table.add_row(f"{name}, {DISTANCES[stride]}", _text(entry), MEANINGS[name])
        else:
            table.add_row(name, _text(value), MEANINGS[name])
    Console().print(table)


def _text(value: float | Sequence[float | None] | None) -> str:
    if isinstance(value, Sequence):
        return " ".join(map(_text, value))
    return "-" if value is None else f"{value:.4g}"
