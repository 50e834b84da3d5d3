"""How many pictures a second UNet and ControlNet of the pocket model learn from.

    python benchmarks/pocket_training.py [--batch 32] [--steps 6] [--threads 2]

Whole optimiser steps on random data, loading and averaging of weights included, in the numbers that training
uses on this machine and in float32, in turn in one process. Prints both and their ratio. The target is 18
pictures a second on two idle cores.
"""

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from shared import new_parser
from torch import nn

from genrender.train import loop
from genrender.train.diffusion import LatentSet, train_denoiser
from genrender.train.loop import LoopConfig
from genrender.train.models import SIZES, make_clip, text_tower
from genrender.train.tokenizer import write_tokenizer
from genrender.train.vocabulary import vocabulary

TARGET = 18


def random_pictures(n: int) -> LatentSet:
    """As `encode_pictures` makes them, of noise."""
    size = SIZES["cpu"]
    rng = np.random.default_rng(0)
    side = size.latent_side
    latents = torch.from_numpy(rng.standard_normal((2, n, size.latent_channels, side, side), np.float32))
    depth = rng.integers(256, size=(n, size.image, size.image), dtype=np.uint8)
    object_id = torch.from_numpy(rng.integers(3, size=(n, side, side), dtype=np.uint8))
    token_ids = torch.from_numpy(rng.integers(500, size=(n, 32)))
    return LatentSet(latents.half(), [depth], object_id, token_ids, np.zeros(n, bool), 1.0)


def pictures_per_second(data: LatentSet, batch: int, n_steps: int, in_float32: bool) -> float:
    """The fastest of some steps counts; the first two warm up."""
    times: list[float] = []
    smooth = loop.learning_rate

    def timed(config: LoopConfig, step: int) -> float:
        times.append(time.perf_counter())
        return smooth(config, step)

    def same(model: nn.Module) -> nn.Module:
        return model

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = write_tokenizer(Path(folder) / "tokenizer", vocabulary())
        size = SIZES["cpu"]
        text = text_tower(make_clip(tokenizer, size))
        config = LoopConfig(n_steps + 3, batch=batch)
        copies = same if in_float32 else loop.working_copy
        with patch.object(loop, "learning_rate", timed), patch.object(loop, "working_copy", copies):
            train_denoiser(data, text, tokenizer, size, Path(folder) / "denoiser.pt", config)
    return batch / min(np.diff(times)[2:])


def main() -> None:
    parser = new_parser(__doc__, has_json=False)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = random_pictures(64)
    fast, slow = (
        pictures_per_second(data, args.batch, args.steps, in_float32) for in_float32 in (False, True)
    )
    print(f"training's own numbers  {fast:6.1f} pictures/s (target {TARGET} on two idle cores)")
    print(f"float32                 {slow:6.1f} pictures/s")
    print(f"ratio                   {fast / slow:6.2f}")


if __name__ == "__main__":
    main()
