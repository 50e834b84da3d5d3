"""The tests of the ComfyUI nodes, in a process of their own: ComfyUI's Python, with its engine in it."""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "comfyui"
ROOT = HERE.parents[2]
ENVIRONMENT = ROOT / ".venv-comfyui"


def run_in_comfyui(folder: Path, *tests: Path, **more: str) -> None:
    python = Path(os.environ.get("GENRENDER_COMFYUI_PYTHON", ENVIRONMENT / "bin" / "python"))
    engine = Path(os.environ.get("GENRENDER_COMFYUI", ENVIRONMENT / "ComfyUI"))
    if not (python.exists() and engine.is_dir()):
        pytest.skip("ComfyUI's engine is not here: make comfyui")
    # No graphics card: what is compared to the bit is compared on the CPU.
    surroundings = {"GENRENDER_COMFYUI": str(engine), "GENRENDER_COMFYUI_BASE": str(folder), **more}
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [python, "-m", "pytest", "-c", HERE / "pytest.ini", "-p", "no:cacheprovider", "-q", *tests],
        env={**os.environ, **surroundings, "PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # A run without any tests ends otherwise, and so does one that cannot begin.
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.slow
def test_in_comfyui(tmp_path: Path) -> None:
    run_in_comfyui(tmp_path, HERE)


@pytest.mark.slow
def test_beside_ip_adapters_of_others(tmp_path: Path) -> None:
    """What needs none of their code is tested above, with a patch as theirs is."""
    folder = os.environ.get("GENRENDER_IPADAPTER_PLUS", "")
    if not folder:
        pytest.skip("GENRENDER_IPADAPTER_PLUS names no folder of ComfyUI_IPAdapter_plus")
    run_in_comfyui(tmp_path, HERE / "ip_adapter_nodes.py", GENRENDER_IPADAPTER_PLUS=folder)
