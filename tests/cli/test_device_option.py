"""The commands on a GPU, or on a device that pretends to be one: what they make is what the CPU makes."""

import json

import numpy as np
import pytest

from genrender.runs.folder import RunFolder
from genrender.sampling.store import RunStore


@pytest.fixture
def words(scene, model):
    options = ["--prompt", "a red fox", "--model", model, "--animation", "Rise", "--frames", 4]
    return ["render", scene, *options, "--steps", 3, "--size", 64, "--dtype", "float32"]


def pictures(folder) -> np.ndarray:
    return np.stack(list(RunFolder(folder).frames())).astype(int)


def test_a_run_is_stopped_resumed_evaluated_and_lends_its_look(call, words, device, tmp_path, monkeypatch):
    monkeypatch.setattr("genrender.runs.progress.PREVIEW_EVERY_S", 0.0)
    assert call(*words, "--device", "cpu", "--run-dir", "here").code == 0
    there = [*words, "--device", device]
    commit = RunStore.commit

    def stop(self, generator):
        commit(self, generator)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunStore, "commit", stop)
        assert call(*there, "--run-dir", "there").code == 130
    assert (tmp_path / "there" / "unfinished" / "preview.png").exists()
    for command in (
        ("resume", "there"),
        (*there, "--run-dir", "next", "--animation", "Slide", "--appearance-from", "there"),
        ("evaluate", "next"),
    ):
        result = call(*command)
        assert result.code == 0, result.err
    config = json.loads((tmp_path / "there" / "config.json").read_text())["config"]
    assert config["device"].startswith(device.type)
    assert np.abs(pictures(tmp_path / "there") - pictures(tmp_path / "here")).max() <= 5
