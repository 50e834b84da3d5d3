"""One clip with several seeds, a few frames of each, to choose from before a long run."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from genrender.errors import ConfigError
from genrender.jobs.make import make
from genrender.jobs.plan import Plan
from genrender.media.images import contact_sheet, spread
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks

N_FRAMES = 4


def seed_sheet(
    plan: Plan, seeds: tuple[int, ...], hooks: RunHooks = SILENT
) -> UInt8[np.ndarray, "rows columns 3"]:
    """A sheet with a row for every seed.

    A row's frames are made without the frames between them: their look is that of the seed, while the frames
    of the long run, which agree with more others, are not equal to these.

    Raises:
        ConfigError: the plan is for a part of a clip, or its prompt changes.
        GenRenderError: as for any run.
    """
    if plan.job.only is not None or plan.job.keyframes_from is not None or plan.job.prompts_at:
        raise ConfigError(
            "--seeds shows a few frames of a whole clip: leave out --only, --keyframes-from and --prompt-at"
        )
    chosen = spread(plan.shot.n_frames, N_FRAMES)
    rows = {}
    with tempfile.TemporaryDirectory(prefix="genrender-") as scratch:
        for seed in dict.fromkeys(seeds):
            hooks.note(f"seed {seed}")
            folder = RunFolder(Path(scratch) / str(seed))
            job = replace(plan.job, seed=seed, out=None, also=None, upscale=None)
            config = replace(plan.config, seed=seed)
            make(replace(plan, job=job, config=config, shot=plan.shot.only(chosen), folder=folder), hooks)
            rows[f"seed {seed}"] = list(folder.frames())
    return contact_sheet(rows, max_columns=N_FRAMES, numbers=chosen)
