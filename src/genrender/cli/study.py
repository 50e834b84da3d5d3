"""`genrender study`: one setting at many values."""

from pathlib import Path

from genrender.cli.console import Bars, hooks
from genrender.errors import ConfigError
from genrender.evaluation.study import StudyJob
from genrender.evaluation.study import study as run_study
from genrender.options.commands import Study
from genrender.options.job import render_job


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


def study_job(options: Study) -> StudyJob:
    """What a command line asks for.

    Raises:
        ConfigError: an option is not of its form.
    """
    return StudyJob(
        options.name,
        tuple(parse_shot(text) for text in options.shots),
        parse_seeds(options.seeds),
        render_job(options),
        options.out,
        options.run_dir or Path("runs") / f"study-{options.name}",
        options.clip,
        options.debug,
    )


def parse_shot(text: str) -> tuple[Path, str]:
    """`SCENE=TEXT`: a scene file and what its video shows.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, prompt = text.partition("=")
    if not equals or not path or not prompt.strip():
        raise ConfigError(f'shot {text!r}: expected SCENE=TEXT, for instance fox.glb="a red fox"')
    return Path(path), prompt.strip()


def parse_seeds(text: str) -> tuple[int, ...]:
    """The numbers of "0,1,2", each once.

    Raises:
        ConfigError: there is none, or one is no whole number.
    """
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"seeds are {text!r}, expected whole numbers separated by commas") from error
    return tuple(dict.fromkeys(seeds))
