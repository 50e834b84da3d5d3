"""What decoding a frame takes: time, memory, and how far from untiled float32 the picture is.

    python benchmarks/decoding.py [--size 512 768] [--tile 0 64] [--dtype float32 bfloat16] [--json]
        [--vae FOLDER]

Each line is a process of its own, on one thread, that decodes one frame with Stable Diffusion's autoencoder,
full-size, with random weights (or with those of `--vae`). `tile` is the side of diffusers' tiles in latent
pixels, 0 is untiled. Time is the processor's, so that other programs do not count; memory is what decoding
adds to the weights. Differences are of values in [0, 1].
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared import new_parser


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[512, 768])
    parser.add_argument("--tile", type=int, nargs="+", default=[0, 64])
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--vae", type=Path, help="folder in diffusers' layout, with real weights")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        size, tile, dtype, file = args.one
        print(json.dumps(decode_one(int(size), int(tile), dtype, Path(file), args.vae)))
        return
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.size:
            settings = [(tile, dtype) for dtype in args.dtype for tile in args.tile]
            if (0, "float32") not in settings:
                settings.insert(0, (0, "float32"))
            for tile, dtype in settings:
                lines.append(line := measured(size, tile, dtype, Path(folder), args.vae))
                if not args.json:
                    print(in_words(line), flush=True)
    if args.json:
        print(json.dumps(lines, indent=2))


def in_words(line: dict[str, Any]) -> str:
    in_tiles = f"tiles of {line['tile']}" if line["tile"] else "untiled"
    return (
        f"{line['size']:5d} px {line['dtype']:9s} {in_tiles}: "
        f"{line['seconds']:6.1f} s, {line['time_ratio']:.2f} of the first; {line['memory_mb']:5.0f} MB, "
        f"{line['memory_ratio']:.2f} of the first; differs by {line['mean_difference']:.4f} on average, "
        f"{line['max_difference']:.3f} at most"
    )


def measured(size: int, tile: int, dtype: str, folder: Path, vae: Path | None) -> dict[str, Any]:
    """One line, compared with untiled float32, whose picture and figures lie in the folder."""
    import numpy as np

    file, reference = folder / f"{size}_{tile}_{dtype}.npy", folder / f"{size}_0_float32"
    words = [sys.executable, __file__, "--one", str(size), str(tile), dtype, str(file)]
    words += ["--vae", str(vae)] if vae else []
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(words, env=one_thread, stdout=subprocess.PIPE, check=True, text=True).stdout
    line: dict[str, Any] = {"size": size, "tile": tile, "dtype": dtype, **json.loads(told.splitlines()[-1])}
    if (tile, dtype) == (0, "float32"):
        reference.with_suffix(".json").write_text(json.dumps(line))
    first = json.loads(reference.with_suffix(".json").read_text())
    difference = np.abs(np.load(file) - np.load(reference.with_suffix(".npy")))
    return line | {
        "time_ratio": line["seconds"] / first["seconds"],
        "memory_ratio": line["memory_mb"] / first["memory_mb"],
        "mean_difference": float(difference.mean()),
        "max_difference": float(difference.max()),
    }


def decode_one(size: int, tile: int, dtype: str, file: Path, folder: Path | None) -> dict[str, float]:
    """Decode one frame and save it as an array in [0, 1]."""
    import time

    import numpy as np
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from genrender.backbones.latent_space import decoded
    from genrender.storage.memory import peak_memory_mb

    vae: Any
    if folder is None:
        from full_size import random_sd15_vae

        vae = random_sd15_vae(torch.float32)
    else:
        vae = AutoencoderKL.from_pretrained(folder, local_files_only=True)
    torch.nn.Module.to(vae.eval(), getattr(torch, dtype), memory_format=torch.channels_last)  # pyright: ignore
    side = size // 2 ** (len(vae.config.block_out_channels) - 1)
    latents = torch.randn(
        1, vae.config.latent_channels, side, side, generator=torch.Generator().manual_seed(1)
    )
    # Smooth, as latents of pictures are.
    latents = torch.nn.functional.avg_pool2d(latents, 5, 1, 2) * 4
    before, started = peak_memory_mb() or 0.0, time.process_time()
    if tile:
        vae.enable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size = tile, tile * size // side
    picture = decoded(vae, latents)
    seconds = time.process_time() - started
    np.save(file, (picture.float() / 2 + 0.5).clamp(0, 1).numpy())
    return {"seconds": seconds, "memory_mb": (peak_memory_mb() or 0.0) - before}


if __name__ == "__main__":
    main()
