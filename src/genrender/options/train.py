"""The options of `genrender train`, as plain data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from genrender.options.groups import option


@dataclass(frozen=True)
class Train:
    """Train the pocket model, or motion modules for it, on pictures that genrender makes itself.

    Every stage can be stopped and started again: it goes on from its last checkpoint.

    Attributes:
        model: pocket is made from scratch; motion are modules that let a finished pocket see 16 frames at
            once, for `genrender render --motion-adapter`. Of the options below they take --out, --work-dir,
            --steps, --learning-rate, --init, --device and --background.
        out: the finished model folder, for `genrender render --model`; with --report the one to judge.
        work_dir: training pictures and checkpoints.
        size: cpu makes a model that two processor cores can train, gpu a larger one; both paint 256 pixels.
        shards: training pictures in shards of 512.
        vae_steps: optimiser steps of the autoencoder.
        clip_steps: optimiser steps of the CLIP, whose text tower reads the prompts.
        judge_steps: optimiser steps of the judge, which names looks and colours for the report.
        steps: optimiser steps of the diffusion model.
        batch: pictures per step of the diffusion model.
        learning_rate: of the diffusion model.
        characters: scene files that the report paints besides unseen shapes, for instance Fox.glb=fox.
        init: pocket model folder whose weights to start from, instead of random ones; pocket is the packaged
            one, from whose 128 pixels those for 256 are made. For motion the model that the modules are for,
            instead of the packaged one.
        stage: all, or one stage alone. vision and decoder, which are no part of all, train the CLIP but for
            its text tower, and the autoencoder but for its encoder: what the diffusion model reads stays.
        report: train nothing; paint unseen shapes, print how well that goes, and write figures and pictures
            to report/ in the work folder.
        device: where to train, for instance cpu or cuda.
        background: train at lowest priority while you do other things, from a copy of this version's code in
            the work folder, so that later changes do not reach it; progress goes to train.log there. While a
            file called pause lies in the work folder, training stands still.
        debug: show where an error comes from.
    """

    model: tyro.conf.Positional[Literal["pocket", "motion"]]
    out: Annotated[
        Path | None,
        option("DIR", "model/ or adapter/ in the work folder; with --report the packaged pocket"),
    ] = None
    work_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/train-pocket")
    size: Literal["small", "cpu", "gpu"] = "cpu"
    shards: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    vae_steps: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    clip_steps: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    judge_steps: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    steps: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    batch: Annotated[int | None, option("N", "as in genrender.train.pocket")] = None
    learning_rate: Annotated[float | None, option("RATE", "as in genrender.train.pocket")] = None
    characters: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE=NOUN")] = ()
    init: Annotated[Path | None, option("DIR", "random weights")] = None
    stage: Literal["all", "data", "vae", "clip", "judge", "diffusion", "vision", "decoder", "export"] = "all"
    report: bool = False
    device: Annotated[str | None, option("DEVICE", "cpu")] = None
    background: bool = False
    debug: bool = False
