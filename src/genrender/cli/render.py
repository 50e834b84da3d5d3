"""`genrender render`: a scene and a sentence in, a video out."""

from collections.abc import Callable
from pathlib import Path

from genrender.cli import json_lines
from genrender.cli.console import Bars, hooks, say
from genrender.cli.percent_lines import PercentLines
from genrender.errors import ConfigError
from genrender.jobs.also import read_seeds
from genrender.jobs.once import make_once
from genrender.jobs.plan import Plan, plan
from genrender.media.images import write_png
from genrender.options.commands import Render
from genrender.options.groups import ProgressAs
from genrender.options.job import render_job
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks


def render(options: Render, command: list[str]) -> None:
    """Makes a video; what can be wrong is found out before any slow work and before anything is written."""

    folder = None if options.run_dir is None else RunFolder(options.run_dir)

    def work(told: RunHooks) -> Plan:
        planned = plan(render_job(options), folder, told)
        # Only here: PyTorch and diffusers alone take seconds to import.
        from genrender.jobs.make import make

        make(planned, told, command)
        return planned

    def work_once(told: RunHooks) -> Plan | list[Path]:
        assert folder is not None
        made = make_once(render_job(options), folder, told, command)
        if not made:
            told.note(f"{folder.path} is finished already")
        return made

    if options.extras.resume and (folder is None or options.extras.seeds is not None):
        raise ConfigError("--resume goes on with a run in its folder: give --run-dir, and leave out --seeds")
    if options.extras.seeds is not None:
        _show_seeds(plan(render_job(options), folder, hooks()), options.extras.seeds)
    else:
        making = work_once if options.extras.resume else work
        told_about(options.extras.progress, making, shows_memory=options.parts.workers is None)


def told_about(
    progress: ProgressAs, work: Callable[[RunHooks], Plan | list[Path]], shows_memory: bool = True
) -> None:
    """Does the work and tells how it goes, to people or to a program, and of what was made where it is.

    Args:
        shows_memory: this process does the work, and its peak is of interest.
    """
    say_where, say_files = say_places, say_written
    if progress == "json":
        made, say_where, say_files = work(json_lines.HOOKS), json_lines.tell_done, json_lines.tell_files
    elif progress != "bars":
        lines = PercentLines(progress)
        made = work(lines.hooks)
        lines.tell(100)
    else:
        with Bars(shows_memory=shows_memory) as bars:
            made = work(hooks(bars))
    if isinstance(made, Plan):
        say_where(made)
    elif made:
        say_files(made)


def _show_seeds(planned: Plan, seeds: str) -> None:
    """A sheet beside the run folder that may follow."""
    from genrender.jobs.seeds import seed_sheet

    asked, place = read_seeds(seeds), planned.folder.path
    with Bars() as bars:
        sheet = seed_sheet(planned, asked, hooks(bars))
    path = place.with_name(f"{place.name}-seeds.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, sheet)
    say(f"seeds          {path}")


def say_written(files: list[Path]) -> None:
    """Tells where files are that a finished run got."""
    for path in files:
        say(f"{path.name:<14} {path}")


def say_places(plan: Plan) -> None:
    """Tells where everything is."""
    folder, out = plan.folder, plan.job.out
    say(f"video          {folder.video_file if out is None else out}")
    say(f"contact sheet  {folder.contact_sheet_file}")
    say(f"run folder     {folder.path}")
