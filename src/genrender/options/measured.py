"""Options of the commands that make runs and measure them, as what `genrender.evaluation` is asked for."""

from pathlib import Path

from genrender.errors import ConfigError
from genrender.evaluation.compare import CompareJob, method_names
from genrender.evaluation.study import StudyJob
from genrender.options.commands import Compare, Study
from genrender.options.job import render_job
from genrender.scene.load import scene_label


def compare_job(options: Compare) -> CompareJob:
    """What a command line asks for.

    Raises:
        ConfigError: an option is not of its form, or a method is unknown.
    """
    return CompareJob(
        render_job(options),
        method_names(options.methods),
        options.run_dir or Path("runs") / f"compare-{scene_label(options.scene)}",
        options.judging.clip,
        options.judging.depth_model,
        options.report,
        options.debug,
    )


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
