"""`genrender resume`: a run that was stopped, carried on."""

from pathlib import Path

from genrender.cli.render import told_about
from genrender.jobs.plan import Plan
from genrender.jobs.resume import ReadWords
from genrender.jobs.resume import resume as resume_run
from genrender.options.commands import Resume
from genrender.runs.hooks import RunHooks


def resume(options: Resume, read_words: ReadWords) -> None:
    """Carries on with an unfinished run; of a finished one it only says so.

    Args:
        read_words: the job of a command line's words.
    """

    def work(told: RunHooks) -> Plan | list[Path]:
        made = resume_run(options.run_dir, told, read_words)
        if not made:
            told.note(f"{options.run_dir} is finished already")
        return made

    told_about(options.progress, work)
