"""`genrender inspect`: what a scene or a model holds."""

from typing import Any

from rich.table import Table
from rich.text import Text

from genrender.cli.console import cell, hooks, say, say_json, stdout_console, table
from genrender.errors import ConfigError
from genrender.evaluation.chart_picture import chart_picture
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.gbuffer.exr.inspect import inspect_exr
from genrender.jobs.clips import note_left_out
from genrender.jobs.job import ClipJob
from genrender.media.images import write_png
from genrender.options.commands import Inspect
from genrender.options.job import object_rule
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.scene.objects import BY_NODE, with_objects
from genrender.storage.untrusted import shown
from genrender.train.vocabulary import vocabulary_groups

PERCENTAGES = ("missing", "outside", "overlap", "mirrored", "collapsed", "shared")
# Columns of text.
LEFT = ("id", "name", "class", "UVs", "findings", "advice", "what", "channel or convention", "shape")


def inspect(options: Inspect) -> int:
    """Prints a report about a scene or a model, as tables or as JSON.

    Returns:
        The exit code: 1 where the report tells of what keeps the scene from being rendered.
    """
    if (options.scene is None) == (options.model is None):
        raise ConfigError("inspect shows either a scene or a model: give a scene file or --model")
    if options.model is not None and options.picture is not None:
        raise ConfigError("--picture draws the charts of a scene; leave it out with --model")
    is_exr = options.scene is not None and is_exr_sequence(options.scene)
    if (options.scene is None or is_exr) and object_rule(options.objects) != BY_NODE:
        raise ConfigError("--objects, --merge and --ignore are about the meshes of a scene; leave them out")
    if options.scene is None:
        report = _model(str(options.model))
    elif is_exr:
        if options.picture is not None:
            raise ConfigError("--picture draws the charts of a scene, and EXR files have none; leave it out")
        report = inspect_exr(options.scene, ClipJob(options.scene, exr_map=options.exr_map).read_exr_map())
    else:
        ClipJob(options.scene, exr_map=options.exr_map).read_exr_map()
        scene = with_objects(load_scene(options.scene, options.allow_folder), object_rule(options.objects))
        note_left_out(scene, hooks())
        report = inspect_scene(scene)
        if options.picture is not None:
            write_png(options.picture, chart_picture(scene))
    if options.json:
        say_json(report)
    elif is_exr:
        _print_exr(report)
    elif options.scene:
        _print_scene(report)
    else:
        _print_model(report)
    return 1 if report.get("problems") else 0


def _print_exr(report: dict[str, Any]) -> None:
    width, height = report["size"]
    first, last = report["frames"][0], report["frames"][-1]
    missing = f", missing: {report['missing']}" if report["missing"] else ""
    say(f"{report['path']}: frames {first}..{last}, {len(report['frames'])} of them{missing}")
    say(f"{width}x{height} pixels; passes: {', '.join(report['passes']) or 'all in one file'}")
    if report["channels"] is not None:
        rows = [{"what": what, "channel or convention": value} for what, value in report["channels"].items()]
        stdout_console().print(_rows("taken for", rows, ("what", "channel or convention")))
    if report["objects"]:
        columns = ("id", "name", "pixels %", "depth from", "depth to")
        stdout_console().print(_rows("objects in the first frame", report["objects"], columns))
    for kind in ("problems", "notes"):
        for text in report[kind]:
            say(f"{kind[:-1]}: {text}")


def _model(name: str) -> dict[str, Any]:
    # Only here: it reads tensors, and a scene's report should not wait for that.
    from genrender.backbones.inspect import inspect_model

    return inspect_model(name)


def _print_scene(report: dict[str, Any]) -> None:
    console = stdout_console()
    counts = (f"{count} {name[:-1] if count == 1 else name}" for name, count in report["totals"].items())
    say(f"{report['file']}: {', '.join(counts)}")
    width, height, depth = (f"{side:.3g}" for side in report["size_m"])
    # Georeferenced scenes lie hundreds of kilometres away: a camera file needs these numbers.
    middle = [(a + b) / 2 for a, b in zip(*report["rest_bounds"].values(), strict=True)]
    is_far = max(map(abs, middle)) > 10 * max(report["size_m"])
    where = f", around {', '.join(f'{place:.2f}' for place in middle)}" if is_far else ""
    say(f"{width} m wide, {height} m high, {depth} m deep{where}")
    console.print(_objects(report["objects"]))
    if any(entry["uv"]["advice"] != "fine" for entry in report["objects"]):
        print("genrender unwrap keeps new charts in a file\n")
    if report["animations"]:
        columns = ("index", "name", "fps", "first_frame", "last_frame", "duration_s")
        console.print(_rows("animations", report["animations"], columns))
        together = next(
            (one["together"] for one in report["animations"] if one["name"] == report["plays"]), []
        )
        what = f"{report['plays']} ({', '.join(together)} together)" if together else report["plays"]
        say(f"plays if nothing else is asked for: {what}")
    if report["cameras"]:
        console.print(
            _rows("cameras", report["cameras"], ("index", "name", "shape", "lens_mm", "yfov_deg", "ymag"))
        )


def _print_model(report: dict[str, Any]) -> None:
    console = stdout_console()
    size = "x".join(map(str, report["picture_size"])) if report["picture_size"] else "any number of"
    say(f"{report['model']}: {report['title']}, {size} pixels")
    say(f"scheduler: {report['scheduler']}, predicts {report['prediction_type']}")
    columns = ("name", "class", "parameters_m", "precision", "size_mb")
    if any(network["variants"] != ["full"] for network in report["networks"]):
        columns += ("variants",)
    rows = [network | {"variants": ", ".join(network["variants"])} for network in report["networks"]]
    console.print(_rows("networks", rows, columns))
    if report["fits"] is not None:
        say(f"fits: {report['fits']}")
    memory = (f"{megabytes / 1e3:.1f} GB in {name}" for name, megabytes in report["memory_mb"].items())
    say(f"memory for a frame of its own size, about: {', '.join(memory)}")
    for note in report["notes"]:
        say(f"note: {note}")
    if report["vocabulary"] is None:
        print("It says nothing about the words that it knows.")
        return
    words = set(report["vocabulary"])
    say(f"It knows {len(words)} words and warns of others:")
    for group, members in vocabulary_groups().items():
        if known := [word for word in members if word in words]:
            console.print(cell(f"  {group}: {', '.join(known)}"))
            words -= set(known)
    if words:
        console.print(cell(f"  others: {', '.join(sorted(words))}"))


def _objects(objects: list[dict[str, Any]]) -> Table:
    """A row for all objects that are alike but for their names."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in objects:
        uv = entry["uv"]
        about = (entry["triangles"], uv["state"], _findings(uv), uv["advice"])
        alike.setdefault(about, []).append(entry)
    rows = [
        {
            "id": _ranges([entry["object_id"] for entry in entries]),
            "name": ", ".join(entry["name"] for entry in entries),
            "triangles": n_tris,
            "UVs": state,
            "findings": findings,
            "advice": advice,
        }
        for (n_tris, state, findings, advice), entries in alike.items()
    ]
    return _rows("objects", rows, ("id", "name", "triangles", "UVs", "findings", "advice"))


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as "3, 7..9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def _findings(uv: dict[str, Any]) -> str:
    """The figures that are not what they are for charts side by side in one square."""
    if uv["state"] == "missing":
        return "-"
    found = [f"{name} {uv[f'{name}_percent']:.3g} %" for name in PERCENTAGES if uv[f"{name}_percent"] >= 0.05]
    found += [{"tiles": "charts in tiles", "tiling": "tiled"}[uv["layout"]]] if uv["layout"] != "unit" else []
    return ", ".join([*found, f"density 1:{uv['density_ratio']:.3g}"])


def _rows(title: str, entries: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    made = table(title, {column: "left" if column in LEFT else "right" for column in columns})
    for column, heading in zip(made.columns, columns, strict=True):
        if heading == "name":  # names are to be copied, so other columns give way
            words = [word for entry in entries for word in shown(entry["name"]).split(", ")]
            column.min_width = min(40, max(map(len, words), default=1) + 1)
    for entry in entries:
        made.add_row(*(_figure(entry[column]) for column in columns))
    return made


def _figure(value: object) -> Text:
    return cell(f"{value:.4g}" if isinstance(value, float) else "-" if value is None else value)
