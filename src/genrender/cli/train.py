"""`genrender train`: the pocket model from scratch."""

from dataclasses import asdict

from genrender.cli.options import Train
from genrender.train.pocket import PocketTraining, train_pocket


def train(options: Train) -> None:
    """Trains a model; options that were not given keep the defaults of `PocketTraining`."""
    out = options.out or options.work_dir / "model"
    given = {name: value for name, value in asdict(options).items() if value is not None}
    for name in ("model", "out", "debug"):
        given.pop(name, None)
    train_pocket(PocketTraining(out=out, **given))
    if options.stage in ("all", "export"):
        print(f"model folder  {out}")
