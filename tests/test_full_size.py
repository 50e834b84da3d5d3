"""Networks as large as the real ones: a step of two frames by the whole method, and what memory it takes."""

from pathlib import Path

import psutil
import pytest
import torch
from test_examples import load_script

from genrender.backbones.precision import default_dtype

ROOT = Path(__file__).parents[1]
# At least so many million weights are in a model, all its networks together.
WEIGHTS_M = {"sd15": 1_350, "sdxl": 4_500}
# What a step at 256 x 256 and decoding may take beside the weights, in MB.
ROOM_MB = {"sd15": 800, "sdxl": 800}
# What has to be free beside the weights, in bytes: the room, and what other tests take meanwhile.
BESIDE = 4e9


@pytest.mark.slow
@pytest.mark.parametrize("model", ROOM_MB)
def test_a_step_of_a_full_size_model_fits_in_memory(model, capsys):
    """In the numbers that this machine computes such a model in when nobody says otherwise."""
    benchmark = load_script(ROOT / "benchmarks" / "full_size.py")
    make, _ = benchmark.MODELS[model]
    dtype = default_dtype(torch.device("cpu"), is_pocket=False)
    weights = WEIGHTS_M[model] * 1e6 * dtype.itemsize
    if psutil.virtual_memory().available < weights + BESIDE:
        pytest.skip(f"it takes up to {(weights + BESIDE) / 1e9:.0f} GB of free memory")
    before_mb = psutil.Process().memory_info().rss / 1e6
    pipe = make(dtype)
    report = benchmark.measure(pipe, 256, n_frames=2, n_steps=1)
    with capsys.disabled():
        print(f"\n{model} with random weights in {dtype}: {report}")
    assert report["weights_mb"] > weights / 1e6
    # The process has had other things to do before; only what a run adds to the weights counts.
    assert report["decoding_peak_mb"] < max(before_mb, report["loaded_peak_mb"]) + ROOM_MB[model]
