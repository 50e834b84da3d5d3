"""`genrender resume`: a run that was stopped, carried on."""

from genrender.cli.console import Bars, hooks, note
from genrender.cli.render import say_places
from genrender.jobs.resume import ReadWords
from genrender.jobs.resume import resume as resume_run
from genrender.options.commands import Resume


def resume(options: Resume, read_words: ReadWords) -> None:
    """Carries on with an unfinished run; of a finished one it only says so.

    Args:
        read_words: the job of a command line's words.
    """
    with Bars() as bars:
        made = resume_run(options.run_dir, hooks(bars), read_words)
    if made is None:
        note(f"{options.run_dir} is finished already")
    else:
        say_places(made)
