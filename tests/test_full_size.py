"""Networks as large as the real ones: a step of two frames by the whole method, and what memory it takes."""

from pathlib import Path

import psutil
import pytest
import torch
from test_examples import load_script

ROOT = Path(__file__).parents[1]
# What a step at 256 x 256 and decoding may take beside the weights in bfloat16, in MB.
ROOM_MB = {"sd15": 800, "sdxl": 800}


@pytest.mark.slow
@pytest.mark.parametrize("model", ROOM_MB)
def test_a_step_of_a_full_size_model_fits_in_memory(model, capsys):
    benchmark = load_script(ROOT / "benchmarks" / "full_size.py")
    make, _ = benchmark.MODELS[model]
    if psutil.virtual_memory().available < 14e9:
        pytest.skip("it takes up to 14 GB of free memory")
    before_mb = psutil.Process().memory_info().rss / 1e6
    pipe = make(torch.bfloat16)
    report = benchmark.measure(pipe, 256, n_frames=2, n_steps=1)
    with capsys.disabled():
        print(f"\n{model} with random weights: {report}")
    assert report["weights_mb"] > {"sd15": 2_700, "sdxl": 9_000}[model]
    # The process has had other things to do before; only what a run adds to the weights counts.
    assert report["decoding_peak_mb"] < max(before_mb, report["loaded_peak_mb"]) + ROOM_MB[model]
