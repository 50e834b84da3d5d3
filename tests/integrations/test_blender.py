"""The tests of the Blender extension, in a process of their own: Blender as a module of its Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "blender"
ROOT = HERE.parents[2]


@pytest.mark.slow
def test_in_blender(tmp_path: Path) -> None:
    python = Path(os.environ.get("GENRENDER_BLENDER_PYTHON", ROOT / ".venv-blender" / "bin" / "python"))
    if not python.exists():
        pytest.skip("Blender as a module of Python is not here: make blender")
    # The user's folders of this Blender, and the engine: this Python with genrender in it.
    surroundings = {"BLENDER_USER_RESOURCES": str(tmp_path / "blender"), "GENRENDER_PYTHON": sys.executable}
    run = subprocess.run(
        [python, "-m", "pytest", "-c", HERE / "pytest.ini", "-p", "no:cacheprovider", "-q", HERE],
        env={**os.environ, **surroundings, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # A run without any tests ends otherwise, and so does one that cannot begin.
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
