"""Runs that are stopped, at any moment and by anything, end as if they had never been."""

import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import frames

from genrender.cli import main as genrender
from genrender.errors import MediaError
from genrender.runs.folder import RunFolder
from genrender.runs.progress import Feedback
from genrender.runs.record import Request
from genrender.runs.unfinished import UnfinishedRun
from genrender.sampling.store import RunStore
from genrender.storage.checked_file import checksum
from genrender.storage.run_files import STATE_FILE

N_KILLS = 12


@pytest.fixture
def words(scene, model):
    options = ["--prompt", "a red fox", "--model", str(model), "--animation", "Rise", "--frames", "5"]
    return ["render", str(scene), *options, "--steps", "6", "--size", "64", "--run-dir", "run"]


def stop_after(n_steps: int, monkeypatch, error: BaseException) -> None:
    """When so many steps are done, the run is stopped."""
    original = RunStore.commit

    def commit(self, generator):
        original(self, generator)
        if self.step == n_steps:
            raise error

    monkeypatch.setattr(RunStore, "commit", commit)


@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_a_stopped_run_ends_bit_identical(call, words, tmp_path, monkeypatch, preset):
    words = [*words, "--preset", preset]
    assert call(*words, "--run-dir", "whole").code == 0
    with monkeypatch.context() as stopped:
        stop_after(3, stopped, KeyboardInterrupt())
        result = call(*words)
    assert result.code == 130
    assert "go on from the last step with: genrender resume" in result.err
    assert frames(tmp_path / "run") == []
    steps: list[int] = []
    original = Feedback.on_outputs
    monkeypatch.setattr(
        Feedback, "on_outputs", lambda self, step, x0: (steps.append(step), original(self, step, x0))
    )
    # From another folder: the command's own paths are meant from where it was given.
    os.chdir("/")
    result = call("resume", tmp_path / "run")
    assert result.code == 0, result.err
    assert steps == [3, 4, 5]
    assert frames(tmp_path / "run") == frames(tmp_path / "whole")
    assert not (tmp_path / "run" / "unfinished").exists()
    result = call("resume", tmp_path / "run")
    assert (result.code, "is finished already" in result.err) == (0, True)


def test_a_run_begun_by_words_alone_goes_on(call, words, tmp_path, monkeypatch):
    """Earlier versions kept the command line and no job."""
    assert call(*words, "--run-dir", "whole").code == 0
    with monkeypatch.context() as stopped:
        stop_after(2, stopped, KeyboardInterrupt())
        call(*words)
    file = tmp_path / "run" / "unfinished" / "request.json"
    begun = json.loads(file.read_text())
    del begun["job"], begun["checksum"]

    def resumed(command):
        stored = {**begun, "command": command}
        sum_ = checksum(json.dumps(stored, sort_keys=True).encode()).hex()
        file.write_text(json.dumps({**stored, "checksum": sum_}))
        return call("resume", "run")

    result = resumed(["genrender", "preview", words[1]])
    assert (result.code, f"{tmp_path / 'run'}: it was not begun by a render" in result.err) == (2, True)
    result = resumed(["genrender", *words, "--magic"])
    assert result.code == 2
    assert f"{tmp_path / 'run'}: it was begun by a command that this version does not know" in result.err
    result = resumed(begun["command"])
    assert result.code == 0, result.err
    assert frames(tmp_path / "run") == frames(tmp_path / "whole")


def test_a_preview_shows_what_the_frames_will_be(call, words, tmp_path, monkeypatch):
    monkeypatch.setattr("genrender.runs.progress.PREVIEW_EVERY_S", 0.0)
    with monkeypatch.context() as stopped:
        stop_after(4, stopped, KeyboardInterrupt())
        assert call(*words, "--frames", "20").code == 130  # more than a preview shows
    assert (tmp_path / "run" / "unfinished" / "preview.png").stat().st_size > 1000
    call("resume", "run")
    assert not (tmp_path / "run" / "unfinished").exists()


def test_a_full_disk_leaves_what_can_be_resumed(call, words, tmp_path, monkeypatch):
    assert call(*words, "--run-dir", "whole").code == 0
    with monkeypatch.context() as stopped:
        stop_after(3, stopped, MediaError("the disk is full"))
        result = call(*words)
    assert result.code == 2
    assert result.err.endswith("genrender: error: the disk is full\n")
    with monkeypatch.context() as full:
        full.setattr(RunFolder, "write_video", lambda *_: (_ for _ in ()).throw(MediaError("full again")))
        assert call("resume", "run").code == 2
    assert call("resume", "run").code == 0
    assert frames(tmp_path / "run") == frames(tmp_path / "whole")


def test_what_has_changed_since_is_said(call, words, tmp_path, scene, monkeypatch):
    own = tmp_path / "scene.glb"
    own.write_bytes(scene.read_bytes())
    with monkeypatch.context() as stopped:
        stop_after(2, stopped, KeyboardInterrupt())
        call("render", own, *words[2:])
    file = tmp_path / "run" / "unfinished" / "request.json"
    begun = json.loads(file.read_text())

    del begun["checksum"]

    def resumed_with(**changes):
        changed = {**begun, **changes}
        sum_ = checksum(json.dumps(changed, sort_keys=True).encode()).hex()
        file.write_text(json.dumps({**changed, "checksum": sum_}))
        result = call("resume", "run")
        assert result.code == 2
        return result.err

    said = resumed_with(versions={**begun["versions"], "genrender": "0.0.1"})
    assert "genrender was '0.0.1' when it was begun" in said
    said = resumed_with(request={**begun["request"], "seed": 7})
    assert "seed was 7 when it was begun, and is 0 now" in said
    # Of a version that drew the noise of surfaces by other keys.
    older = {name: value for name, value in begun["request"].items() if name != "noise_keys"}
    said = resumed_with(request=older)
    assert "noise_keys was None when it was begun, and is 'object names' now; render it again" in said
    one, other = np.float32(1).tobytes(), np.float32(1.25).tobytes()
    own.write_bytes(scene.read_bytes().replace(one, other))
    assert "gbuffers was" in resumed_with()
    own.write_bytes(scene.read_bytes())
    (tmp_path / "run" / "unfinished" / "state.pt").write_bytes(b"nonsense")
    assert "state.pt is missing or damaged" in resumed_with()


@pytest.fixture
def begun(tmp_path):
    """The request of a run that has done nothing yet, and its file."""
    with UnfinishedRun(RunFolder(tmp_path / "run"), ["genrender", "render"]) as unfinished:
        unfinished.begin({"seed": 7, "scheduler_config": {"lowest": -math.inf}, "scene": Path("a.glb")})
        file = tmp_path / "run" / "unfinished" / "request.json"
        yield json.loads(file.read_text(), parse_constant=pytest.fail), file


def test_a_request_says_all_in_strict_json(begun):
    stored, _ = begun
    assert stored["request"] == {"seed": 7, "scheduler_config": {"lowest": "-Infinity"}, "scene": "a.glb"}


def test_another_number_of_threads_is_warned_of(tmp_path, caplog):
    folder = RunFolder(tmp_path / "run")

    def stopped(n_threads: int) -> None:
        resume = (folder.unfinished_dir / STATE_FILE).exists()
        with UnfinishedRun(folder, ["genrender", "render"], resume) as unfinished:
            unfinished.begin({"seed": 7}, n_threads)
            (folder.unfinished_dir / STATE_FILE).touch()
            raise KeyboardInterrupt

    for n_threads, n_told in ((1, 0), (1, 0), (2, 1)):
        with pytest.raises(KeyboardInterrupt):
            stopped(n_threads)
        assert len(caplog.messages) == n_told
    assert "begun with OMP_NUM_THREADS=1 and goes on with 2" in caplog.text


@pytest.mark.parametrize("name", sorted(Request.__required_keys__))
@pytest.mark.parametrize("value", [None, 3, [3], {"a": {}}, ...])
def test_a_request_that_is_none_is_refused_in_one_line(call, begun, name, value):
    stored, file = begun
    if value is ...:
        del stored[name]
    else:
        stored[name] = value
    file.write_text(json.dumps(stored))
    result = call("resume", "run")
    assert result.code == 2
    assert result.err.count("\n") == 1, result.err
    is_of_its_kind = name == "request" and isinstance(value, dict)
    found = "is missing or damaged" if is_of_its_kind else f"request.json: {name}"
    assert found in result.err
    assert "render the run again" in result.err


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, '{"seed": 1e999}', "\xff"])
def test_a_request_that_is_no_record_is_refused_in_one_line(call, begun, content):
    _, file = begun
    file.write_text(content, encoding="latin-1")
    result = call("resume", "run")
    assert (result.code, result.err.count("\n")) == (2, 1), result.err
    assert "render the run again" in result.err


def test_two_processes_never_work_on_one_run(call, words, tmp_path):
    with UnfinishedRun(RunFolder(tmp_path / "run"), ["render"]):
        result = call(*words)
    assert result.code == 2
    assert "another process is at work in" in result.err
    assert call(*words).code == 0


def test_a_kill_before_there_is_a_request_is_no_hindrance(call, words, tmp_path):
    (tmp_path / "run" / "unfinished").mkdir(parents=True)
    (tmp_path / "run" / "unfinished" / "gbuffers.bin").write_bytes(b"half")
    (tmp_path / "run" / ".config.0123abcd.part.json").write_bytes(b"half")
    assert "there is no" in call("resume", "run").err
    assert call(*words).code == 0
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        *("appearance.npz", "config.json", "contact_sheet.png", "frames", "video.mp4")
    }


def test_an_interrupted_cleanup_never_passes_for_a_run(call, words, tmp_path, monkeypatch):
    with monkeypatch.context() as stopped:
        stop_after(6, stopped, KeyboardInterrupt())
        call(*words)
    (tmp_path / "run" / "unfinished" / "latents-0.bin").unlink()
    result = call("resume", "run")
    assert result.code == 2
    assert "is missing or damaged" in result.err
    # With request and state gone, as a cleanup begins, there is nothing to resume.
    (tmp_path / "run" / "unfinished" / "state.pt").unlink()
    (tmp_path / "run" / "unfinished" / "request.json").unlink()
    assert "holds no unfinished run" in call("resume", "run").err
    assert call(*words).code == 0


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_where_there_is_no_run_that_is_said(call, tmp_path, place):
    (tmp_path / "empty").mkdir()
    result = call("resume", place)
    assert result.code == 2
    assert "run" in result.err
    assert len(result.err.splitlines()) == 1


def run_in(folder: Path, words: list[str]) -> None:
    """A command as a process of its own, whose messages go to a file."""
    os.chdir(folder)
    with open("errors", "w") as errors:
        sys.stderr = errors
        sys.exit(genrender(words))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_bit_identical(call, words, tmp_path):
    """SIGKILL at random moments of loading, diffusing and writing, until one attempt gets through."""
    words = [*words, "--steps", "30"]
    assert call(*words, "--run-dir", "whole").code == 0
    rng = random.Random(0)
    n_killed, n_resumed = 0, 0
    # Every process is a copy of one that has loaded the libraries, which takes longer than all the rest.
    loaded = multiprocessing.get_context("forkserver")
    loaded.set_forkserver_preload(["genrender.jobs.make", "genrender.backbones.loading", "diffusers"])
    while n_killed < N_KILLS:
        is_begun = (tmp_path / "run" / "unfinished" / "request.json").exists()
        attempt = ["resume", "run"] if is_begun else words
        process = loaded.Process(target=run_in, args=(tmp_path, attempt))
        process.start()
        # Wait until it is at work, then a little longer.
        deadline = time.monotonic() + 60
        state = tmp_path / "run" / "unfinished" / "state.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.is_alive() and time.monotonic() < deadline:
            if state.exists() and state.stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.25))
        process.kill()
        process.join()
        n_killed += process.exitcode == -signal.SIGKILL
        n_resumed += attempt[0] == "resume"
        assert process.exitcode in (0, -signal.SIGKILL), (tmp_path / "errors").read_text()
        if process.exitcode == 0:
            assert frames(tmp_path / "run") == frames(tmp_path / "whole")
            shutil.rmtree(tmp_path / "run")
    assert n_resumed > N_KILLS // 2
    if (tmp_path / "run" / "unfinished" / "request.json").exists():
        assert call("resume", "run").code == 0
        assert frames(tmp_path / "run") == frames(tmp_path / "whole")
        assert not [file for file in (tmp_path / "run").iterdir() if file.name.startswith(".")]


@pytest.mark.slow
def test_a_file_that_cannot_grow_ends_in_one_line(words, tmp_path):
    """A real limit of the system: no file may exceed 100 bytes, as if the disk were full."""
    code = (
        "import sys, resource, signal;"
        "from genrender.cli import main; import genrender.jobs.make;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY));"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot use run/unfinished/gbuffers.bin" in done.stderr.splitlines()[-1]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100
