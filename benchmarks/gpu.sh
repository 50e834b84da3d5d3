#!/usr/bin/env bash
# Checks and times everything on a machine with CUDA, from the project's root, by one command:
#
#     PYTHON=.venv/bin/python benchmarks/gpu.sh [REPORT.txt]
#
# The networks have the size of Stable Diffusion 1.5 and XL and random weights: speed and memory do not depend
# on the values. Targets: 6 GB of GPU memory at 512 x 512 pixels with Stable Diffusion 1.5 whatever the number
# of frames, and at most 1.3 times the time of plain ControlNet. Stable Diffusion XL at 1024 x 1024 needs a card
# of 24 GB. Takes about fifteen minutes on a fast card and 6 GB of disk in $TMPDIR.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
report=${1:-gpu.txt}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    echo "error: $python has no PyTorch that sees a GPU with CUDA: set PYTHON to one that has" >&2
    exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

heading() { printf '\n## %s\n\n' "$1"; }

everything() {
    heading "Machine"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    "$python" -c 'import platform, torch, diffusers; print("Python", platform.python_version(), "torch",
        torch.__version__, "diffusers", diffusers.__version__)'

    heading "Tests: what is made on the GPU is what the CPU makes"
    # Where they fail, the figures are wanted all the same.
    tests_failed=0
    "$python" -m pytest -q tests/test_devices.py tests/cli/test_device_option.py tests/train/test_training.py \
        || tests_failed=1

    heading "pocket: a video by the command line, and what a step costs"
    "$python" -m genrender render examples/scenes/walking_biped.glb --frames 24 --device cuda \
        --prompt "a red and white striped biped on a green background" --run-dir "$folder/demo"
    "$python" benchmarks/pocket_speed.py --frames 24

    heading "Stable Diffusion 1.5's size at 512 x 512, float16: speed beside diffusers' own pipelines"
    for compiled in "" "--compile"; do
        "$python" benchmarks/speed.py --model random-sd15 --size 512 --device cuda --frames 24 --steps 10 \
            $compiled
    done

    heading "Stable Diffusion 1.5's size at 512 x 512, float16: memory of a short and of a long clip"
    "$python" benchmarks/full_size.py sd15 --dtype float16 --save "$folder/sd15"
    "$python" benchmarks/memory.py --model "$folder/sd15" --size 512 --frames 24 240 --steps 2

    heading "Stable Diffusion XL's size at 1024 x 1024, float16: memory, and speed beside diffusers' own pipeline"
    "$python" benchmarks/full_size.py sdxl --dtype float16 --frames 8 --steps 2 || echo "failed, see above: less than 24 GB are too little"
    "$python" benchmarks/speed.py --model random-sdxl --size 1024 --device cuda --frames 8 --steps 4 \
        || echo "failed, see above: less than 24 GB are too little"
    return "$tests_failed"
}

everything 2>&1 | tee "$report"
