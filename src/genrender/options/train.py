"""The options of `genrender train`, as plain data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from genrender.options.groups import Debug, Device, option


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
        size: cpu makes a model that two processor cores can train, gpu a larger one, both for pictures of 256
            pixels; small is the network of cpu for pictures of 128.
        shards: training pictures in shards of 512.
        vae_steps: optimiser steps of the autoencoder.
        clip_steps: optimiser steps of the CLIP, whose text tower reads the prompts.
        judge_steps: optimiser steps of the judge, which names looks and colours for the report.
        steps: optimiser steps of the diffusion model.
        batch: pictures per step of the diffusion model.
        learning_rate: of the diffusion model.
        characters: scene files that the report paints besides unseen shapes, for instance Fox.glb=fox.
        init: pocket model folder whose weights to start from, instead of random ones; pocket is the packaged
            one, from whose 128 pixels those for 256 are made. For motion the model that the modules are for.
        stage: all, or one stage alone. vision and decoder, which are no part of all, train the CLIP but for
            its text tower, and the autoencoder but for its encoder: what the diffusion model reads stays.
        report: train nothing; paint unseen shapes, print how well that goes, and write figures and pictures
            to report/ in the work folder.
        background: train at lowest priority while you do other things, from a copy of this version's code in
            the work folder, so that later changes do not reach it; progress goes to train.log there. While a
            file called pause lies in the work folder, training stands still.
    """

    model: tyro.conf.Positional[Literal["pocket", "motion"]]
    out: Annotated[
        Path | None,
        option("DIR", "model/ or adapter/ in the work folder; with --report the packaged pocket"),
    ] = None
    work_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/train-pocket")
    size: Literal["small", "cpu", "gpu"] = "cpu"
    shards: Annotated[int | None, option("N", "32")] = None
    vae_steps: Annotated[int | None, option("N", "3000")] = None
    clip_steps: Annotated[int | None, option("N", "3000")] = None
    judge_steps: Annotated[int | None, option("N", "2500")] = None
    steps: Annotated[int | None, option("N", "20000; 1000 for motion")] = None
    batch: Annotated[int | None, option("N", "16")] = None
    learning_rate: Annotated[float | None, option("RATE", "0.0005; 0.001 for motion")] = None
    characters: Annotated[tuple[str, ...], option("FILE=NOUN ...", "none")] = ()
    init: Annotated[Path | None, option("DIR", "random weights; for motion the packaged pocket")] = None
    stage: Literal["all", "data", "vae", "clip", "judge", "diffusion", "vision", "decoder", "export"] = "all"
    report: bool = False
    device: Device = None
    background: bool = False
    debug: Debug = False
