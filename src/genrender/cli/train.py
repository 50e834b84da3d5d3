"""`genrender train`: the pocket model from scratch, or motion modules for it."""

from dataclasses import asdict, fields

from genrender.backbones.loading import default_device
from genrender.backbones.sources import POCKET_FOLDER
from genrender.cli.console import say
from genrender.errors import ConfigError
from genrender.options.train import Train
from genrender.train.background import start_in_background
from genrender.train.motion import MotionTraining, train_motion
from genrender.train.pocket import PocketTraining, train_pocket

# What they share with the pocket model's training.
MOTION_OPTIONS = frozenset({"model", "out", "work_dir", "steps", "learning_rate", "init", "device", "debug"})


def train(options: Train, command: list[str]) -> None:
    """Trains a model; options that were not given keep the defaults of `PocketTraining`."""
    if options.model == "motion":
        _check_motion_options(options)
    out = options.out or (POCKET_FOLDER if options.report else options.work_dir / "model")
    given = {name: value for name, value in asdict(options).items() if value is not None}
    for name in ("model", "out", "debug", "report", "background"):
        given.pop(name, None)
    given["device"] = options.device or str(default_device())
    if options.background:
        words = [word for word in command[1:] if word != "--background"]  # the first is the program
        process, log = start_in_background(words, options.work_dir)
        say(f"training as process {process}; stop it with: kill {process}")
        say(f"progress  {log}")
        return
    if options.model == "motion":
        out = options.out or options.work_dir / "adapter"
        base = given.pop("init", "pocket")
        kept = {name: given[name] for name in given if name in MOTION_OPTIONS}
        train_motion(MotionTraining(out=out, base=str(base), **kept))
        say(f"motion adapter  {out}")
        return
    if options.report:
        if options.stage != "all":
            raise ConfigError("--report trains nothing, so --stage means nothing with it; leave one out")
        given["stage"] = "report"
    train_pocket(PocketTraining(out=out, **given))
    if options.report:
        say(f"figures and pictures  {options.work_dir / 'report'}")
        return
    if options.stage in ("all", "export"):
        say(f"model folder  {out}")


def _check_motion_options(options: Train) -> None:
    """Raises ConfigError for an option that was given and means nothing to motion modules."""
    for field in fields(options):
        is_given = getattr(options, field.name) != field.default
        if is_given and field.name not in MOTION_OPTIONS | {"background"}:
            raise ConfigError(f"--{field.name.replace('_', '-')} is not for motion modules; leave it out")
