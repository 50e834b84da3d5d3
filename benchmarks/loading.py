"""What loading a model takes in memory: in its final numbers as they are read, or in float32 and then cast.

    python benchmarks/loading.py [--folder FOLDER] [--dtype bfloat16] [--json]

Without a folder it writes one for the while: Stable Diffusion 1.5 and a ControlNet with random weights in
float16. Every way loads in a process of its own, of which the peak is taken. Weights that are in their final
numbers in the file are not read before they are used; they are not in its peak.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from full_size import random_sd15
from shared import new_parser

from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Recipe
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.storage.memory import peak_memory_mb


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--way", choices=("now", "cast after"), help="load in this process, print its peak")
    args = parser.parse_args()
    if args.way is not None:
        print(json.dumps(load(args.folder, args.dtype, args.way)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or write_model(Path(place) / "sd15")
        size_mb = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        peaks = {way: peak_of(folder, args.dtype, way) for way in ("now", "cast after")}
    report = {"files_mb": round(size_mb), "dtype": args.dtype, "peak_mb": peaks}
    report["ratio"] = round(peaks["cast after"] / peaks["now"], 2)
    print(json.dumps(report, indent=2) if args.json else report)


def write_model(folder: Path) -> Path:
    """As a process of its own would: nothing of it stays in memory."""
    random_sd15(torch.float16).save_pretrained(folder)
    return folder


def peak_of(folder: Path, dtype: str, way: str) -> int:
    words = [sys.executable, __file__, "--folder", str(folder), "--dtype", dtype, "--way", way]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def load(folder: Path, dtype: str, way: str) -> int:
    """The peak of this process in MB once a model is loaded."""
    if way == "now":
        load_networks(Recipe(str(folder), precision=dtype, device="cpu"))  # pyright: ignore[reportArgumentType]
    else:
        pipeline = GenerativeRenderingPipeline.from_pretrained(folder, local_files_only=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                torch.nn.Module.to(part, getattr(torch, dtype))
    return round(peak_memory_mb() or 0)


if __name__ == "__main__":
    main()
