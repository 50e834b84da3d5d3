"""`genrender render`: a scene and a sentence in, a video out."""

from genrender.cli.console import Bars, hooks, say
from genrender.jobs.plan import Plan, plan
from genrender.media.images import write_png
from genrender.options.commands import Render
from genrender.options.job import render_job
from genrender.runs.folder import RunFolder


def render(options: Render, command: list[str]) -> None:
    """Makes a video; what can be wrong is found out before any slow work and before anything is written."""
    folder = None if options.run_dir is None else RunFolder(options.run_dir)
    planned = plan(render_job(options), folder, hooks())
    if options.extras.seeds is not None:
        _show_seeds(planned, options.extras.seeds)
        return

    # Only here: PyTorch and diffusers alone take seconds to import.
    from genrender.jobs.make import make

    with Bars() as bars:
        make(planned, hooks(bars), command)
    say_places(planned)


def _show_seeds(planned: Plan, seeds: str) -> None:
    """A sheet beside the run folder that may follow."""
    from genrender.jobs.seeds import read_seeds, seed_sheet

    asked, place = read_seeds(seeds), planned.folder.path
    with Bars() as bars:
        sheet = seed_sheet(planned, asked, hooks(bars))
    path = place.with_name(f"{place.name}-seeds.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, sheet)
    say(f"seeds          {path}")


def say_places(plan: Plan) -> None:
    """Tells where everything is."""
    folder, out = plan.folder, plan.job.out
    say(f"video          {folder.video_file if out is None else out}")
    say(f"contact sheet  {folder.contact_sheet_file}")
    say(f"run folder     {folder.path}")
