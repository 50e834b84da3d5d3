"""`genrender study`: one setting at many values."""

from genrender.cli.console import Bars, hooks
from genrender.evaluation.study import study as run_study
from genrender.options.commands import Study
from genrender.options.measured import study_job


def study(options: Study) -> None:
    """Makes and measures every run of a study, then writes its files.

    Raises:
        ConfigError: a shot or a seed cannot be read, a setting is wrong, or a run fails.
        MediaError: the folder cannot be made.
        SceneError: a scene cannot be used.
        ModelError: the CLIP is not there; told in the end, with all other figures.
    """
    with Bars(shows_memory=False) as bars:
        judges = run_study(study_job(options), hooks(bars))
    judges.check()
