"""One process makes several runs with one model, and each becomes what it would be by itself."""

import pytest

from genrender.cli.runs import Renderer
from genrender.runs.folder import RunFolder
from genrender.storage.memory import peak_memory_mb, reset_peak_memory


def test_runs_of_one_process_are_those_of_single_ones(call, scene, model, tmp_path):
    words = ["render", str(scene), "--prompt", "a red fox", "--model", str(model), "--frames", "3"]
    words += ["--steps", "2", "--size", "32"]
    with Renderer() as renderer:
        assert renderer([*words, "--run-dir", "first", "--seed", "3"]) == 0
        assert renderer([*words, "--run-dir", "wrong", "--steps", "0"]) == 2
        assert renderer([*words, "--run-dir", "second"]) == 0
    assert call(*words, "--run-dir", "alone").code == 0
    frames = {
        name: [file.read_bytes() for file in RunFolder(tmp_path / name).frame_files()]
        for name in ("first", "second", "alone")
    }
    assert frames["second"] == frames["alone"]
    assert frames["second"] != frames["first"]


def test_a_process_that_dies_is_an_error_and_the_next_run_has_another(scene):
    with Renderer() as renderer:
        assert renderer(["inspect", str(scene)]) == 0
        process = renderer._process
        assert process is not None
        process.kill()
        assert renderer(["inspect", str(scene)]) != 0
        assert renderer(["inspect", str(scene)]) == 0


def test_the_peak_of_memory_is_counted_anew():
    block = bytearray(200_000_000)
    before = peak_memory_mb()
    del block
    reset_peak_memory()
    after = peak_memory_mb()
    if before is None or after is None:
        pytest.skip("this system does not tell")
    assert after < before - 100
