"""`genrender join`: parts of a clip as one video."""

from genrender.cli.console import Bars, hooks, say
from genrender.jobs.join import join as join_runs
from genrender.options.commands import Join


def join(options: Join) -> None:
    """Writes the video, and tells which frames it shows."""
    with Bars(shows_memory=False) as bars:
        frames = join_runs(options.run_dirs, options.out, hooks(bars))
    say(f"frames {frames[0]} to {frames[-1]}")
    say(f"video  {options.out}")
