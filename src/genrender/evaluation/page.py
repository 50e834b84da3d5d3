"""A comparison as one page that needs nothing else: videos in step, figures, plots and error maps."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float32

from genrender.errors import ConfigError
from genrender.evaluation.plots import as_svg, new_figure
from genrender.metrics.table import COMPARED, FIGURES, look_up
from genrender.runs.finished import FinishedRun
from genrender.storage.atomic import atomic_write
from genrender.surface.flow import color_change, follow

# Errors from here on are shown alike; two random colours differ by a third on average.
ERROR_SCALE = 0.25
N_ERROR_MAPS = 3


def check_plots() -> None:
    """Raises ConfigError where the library that draws the plots is missing."""
    try:
        import matplotlib  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise ConfigError(
            "plots need matplotlib, which is not installed: pip install 'genrender[report]'"
        ) from error


def write_page(
    file: Path,
    runs: Mapping[str, FinishedRun],
    figures: Mapping[str, Mapping[str, Any]],
    summaries: Mapping[str, str],
) -> None:
    """Write the page.

    Args:
        file: where it goes.
        runs: one per method, all of one shot.
        figures: their metrics and costs, as `genrender compare --json` prints them.
        summaries: what each method does, in half a sentence.

    Raises:
        MediaError: the file cannot be written.
    """
    first = next(iter(runs.values()))
    made, clip = first.record.making, first.clip
    # Without geometry no surface point can be followed.
    errors = {name: adjacent_errors(run) for name, run in runs.items()} if clip.has_geometry else {}
    title = f"{Path(made.shot.scene).name}: {made.settings.prompt}"
    facts = (
        f"{clip.shot.n_frames} frames of {clip.shot.width} x {clip.shot.height} pixels, "
        f"model {made.origin.recipe.base if made.origin else '-'}, {made.settings.n_steps} steps, "
        f"seed {first.record.seed}, {made.networks.device}"
    )
    page = Template(
        resources.files("genrender.evaluation").joinpath("page.html").read_text("utf-8")
    ).substitute(
        title=html.escape(title),
        facts=html.escape(facts),
        videos="".join(_video(name, run, summaries[name]) for name, run in runs.items()),
        table=_table(figures),
        plots=_plot({name: [_mean(error) for error in maps] for name, maps in errors.items()})
        if errors
        else "<p>Surface errors need the scene's triangles; this clip was read from EXR files.</p>",
        error_maps="".join(_error_maps(name, maps) for name, maps in errors.items()),
        error_scale=ERROR_SCALE,
        fps=clip.fps,
        n_frames=clip.shot.n_frames,
        last_frame=clip.shot.n_frames - 1,
    )
    with atomic_write(file) as part:
        part.write_text(page, encoding="utf-8")


def adjacent_errors(run: FinishedRun) -> list[Float32[np.ndarray, "H W"]]:
    """For every frame but the first, how each pixel's surface point changed its colour; NaN: cannot tell."""
    maps = []
    before = run.frames[0]
    for frame in range(1, len(run.frames)):
        now = run.frames[frame]
        flow = follow(run.clip.tracker, frame, frame - 1)
        error = np.full(flow.visible.shape, np.nan, np.float32)
        error[flow.visible] = np.abs(color_change(before, now, flow)).mean(axis=1)
        maps.append(error)
        before = now
    return maps


def _mean(error: Float32[np.ndarray, "H W"]) -> float:
    known = error[~np.isnan(error)]
    return float(known.mean()) if known.size else float("nan")


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _video(name: str, run: FinishedRun, summary: str) -> str:
    source = _data_url("video/mp4", run.folder.video_file.read_bytes())
    return (
        f'<figure><video src="{source}" muted playsinline preload="auto"></video>'
        f"<figcaption><b>{html.escape(name)}</b><br>{html.escape(summary)}</figcaption></figure>"
    )


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    headings = "".join(f"<th>{FIGURES[key].title}</th>" for key in COMPARED)
    rows = [f"<tr><th>method</th>{headings}</tr>"]
    best = {}
    for key in COMPARED:
        values = [value for of in figures.values() if (value := look_up(of, key)) is not None]
        pick = {"less": min, "more": max, None: None}[FIGURES[key].better]
        best[key] = pick(values) if pick and values else None
    for name, of in figures.items():
        cells = []
        for key in COMPARED:
            value = look_up(of, key)
            mark = ' class="best"' if value is not None and value == best[key] else ""
            cells.append(f"<td{mark}>{'-' if value is None else f'{value:.4g}'}</td>")
        rows.append(f"<tr><td>{html.escape(name)}</td>{''.join(cells)}</tr>")
    return "\n".join(rows)


def _plot(series: Mapping[str, Sequence[float]]) -> str:
    """Surface error over the frames, one line per method, as SVG."""
    figure = new_figure(10, 4)
    axes = figure.add_subplot()
    for name, values in series.items():
        axes.plot(np.arange(1, len(values) + 1), values, label=name)
    axes.set_xlabel("frame")
    axes.set_ylabel("surface error to the frame before")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", ncols=2)
    svg = as_svg(figure)
    return svg[svg.index("<svg") :]


def _error_maps(name: str, maps: Sequence[Float32[np.ndarray, "H W"]]) -> str:
    """A few frames' errors side by side."""
    import matplotlib
    import matplotlib.image

    shown = sorted({round(i) for i in np.linspace(0, len(maps) - 1, min(N_ERROR_MAPS, len(maps)))})
    picture = np.concatenate([maps[index] for index in shown], axis=1)
    colors = matplotlib.colormaps["magma"](np.clip(picture / ERROR_SCALE, 0, 1))
    colors[np.isnan(picture)] = [0.5, 0.5, 0.5, 0.25]
    content = io.BytesIO()
    matplotlib.image.imsave(content, colors, format="png")
    frames = ", ".join(str(index + 1) for index in shown)
    source = _data_url("image/png", content.getvalue())
    return (
        f'<figure><img src="{source}" alt="errors of {html.escape(name)}">'
        f"<figcaption><b>{html.escape(name)}</b>, frames {frames}</figcaption></figure>"
    )
