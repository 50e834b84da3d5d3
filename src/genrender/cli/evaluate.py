"""`genrender evaluate`: how good a run is, in figures."""

from typing import Any

from rich.console import Console
from rich.table import Table

from genrender.cli.console import Bars
from genrender.cli.options import Evaluate
from genrender.evaluate import evaluate as evaluate_run
from genrender.evaluate import write_metrics
from genrender.finished_run import open_run
from genrender.metrics.clip import POCKET_CLIP, ClipScorer

MEANINGS = {
    "surface_error 1": "RGB difference of equal surface points in neighbouring frames; less is steadier",
    "surface_error 4": "the same, four frames apart",
    "surface_error 16": "the same, sixteen frames apart",
    "surface_error first": "the same, against the first frame",
    "texel_std": "standard deviation over time of a surface point's colour",
    "texel_std_without_frame_mean": "the same, less what the whole frame does",
    "clip_frame_consistency": "cosine of neighbouring frames' CLIP embeddings",
    "clip_prompt_fidelity": "cosine of frames and prompt",
    "sharpness": "variance of the Laplacian on surfaces, in 1e-3; compare with a per-frame run",
    "n_frames": "frames",
}


def evaluate(options: Evaluate) -> None:
    """Measures a finished run, prints the figures and keeps them as `metrics.json` in its folder."""
    with Bars() as bars:
        run = open_run(options.run_dir, bars)
        metrics = evaluate_run(run, ClipScorer.load(options.clip or POCKET_CLIP))
    text = write_metrics(run, metrics)
    if options.json:
        print(text)
        return
    table = Table(title=str(run.folder.path), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("meaning")
    for name, value in _flat(metrics).items():
        table.add_row(name, "-" if value is None else f"{value:.4g}", MEANINGS[name])
    Console().print(table)


def _flat(metrics: dict[str, Any]) -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            flat |= {f"{name} {key}": entry for key, entry in value.items()}
        else:
            flat[name] = value
    return flat
