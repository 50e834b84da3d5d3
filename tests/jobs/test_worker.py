"""One process makes several runs with one model, and each becomes what it would be by itself."""

import subprocess
import sys
from dataclasses import replace

import pytest
from jobs.tiny_jobs import tiny_job
from warm import WarmProcess

from genrender.errors import ConfigError
from genrender.jobs.make import make
from genrender.jobs.plan import plan
from genrender.jobs.resume import resume
from genrender.jobs.worker import Worker
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.storage.memory import peak_memory_mb, reset_peak_memory


def frames(folder: RunFolder) -> list[bytes]:
    return [file.read_bytes() for file in folder.frame_files()]


def test_runs_of_one_process_are_those_of_single_ones(tmp_path):
    job, told = tiny_job(), []
    first, wrong, second, alone = (
        RunFolder(tmp_path / name) for name in ("first", "wrong", "second", "alone")
    )
    hooks = RunHooks(told.append, told.append, lambda *done: told.append(done))
    with Worker() as worker:
        worker.make(replace(job, seed=3), first, hooks)
        with pytest.raises(ConfigError, match="steps is 0, expected at least 1"):
            worker.make(replace(job, steps=0), wrong, hooks)
        worker.make(job, second)
    make(plan(job, alone))
    assert "loading model pocket" in told
    assert ("diffusion", 2, 2) in told
    assert frames(second) == frames(alone)
    assert frames(second) != frames(first)
    assert second.read_record().command[-1] == f"--run-dir={second.path}"


def test_frames_are_enlarged_on_the_device_that_is_told(tmp_path):
    with (
        Worker(start=WarmProcess) as worker,
        pytest.raises(ConfigError, match="cannot compute on device 'meta'"),
    ):
        worker.finish(tmp_path, None, "somebody/larger", "meta")


def test_a_process_that_dies_is_an_error_and_the_next_run_has_another(tmp_path):
    wrong = replace(tiny_job(), steps=0)
    with Worker() as worker:
        with pytest.raises(ConfigError, match="steps is 0"):
            worker.make(wrong, RunFolder(tmp_path / "run"))
        process = worker._process
        assert process is not None
        process.kill()
        assert list(process.answers()) == []
        with pytest.raises(ConfigError, match="its process has ended before the run was done"):
            worker.make(wrong, RunFolder(tmp_path / "run"))
        with pytest.raises(ConfigError, match="steps is 0"):
            worker.make(wrong, RunFolder(tmp_path / "run"))


@pytest.mark.parametrize("begun", ["loading model pocket", ("G-buffers", 1, 3)])
def test_what_is_cancelled_before_its_first_step_ends_its_process_and_leaves_nothing(tmp_path, begun):
    job = tiny_job()
    job = replace(job, clip=replace(job.clip, size=256))  # so that a step takes a while
    told, answers = [], iter([True])
    hooks = RunHooks(
        told.append,
        progress=lambda *done: told.append(done),
        # Once only: the answer is not asked for again.
        is_cancelled=lambda: begun in told and next(answers, False),
    )
    with Worker(start=WarmProcess) as worker:
        with pytest.raises(Cancelled):
            worker.make(job, RunFolder(tmp_path / "run"), hooks)
        assert worker._process is None
    assert next(answers, None) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_what_is_stopped_later_can_be_resumed_and_says_so(tmp_path, error):
    notes, folder = [], RunFolder(tmp_path / "run")

    def stop(*done):
        if done == ("diffusion", 2, 8):
            raise error

    with Worker(start=WarmProcess) as worker:
        with pytest.raises(error):
            worker.make(replace(tiny_job(), steps=8), folder, RunHooks(notes.append, progress=stop))
        assert worker._process is None
    assert notes[-1] == f"go on from the last step with: genrender resume {folder.path}"
    assert [file.name for file in folder.path.iterdir()] == ["unfinished"]
    assert frames(folder) == []
    resume(folder.path)
    assert len(frames(folder)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_one_interrupt_counts_and_those_after_it_disturb_nothing():
    # Ctrl-C and, at the same moment, whoever started the process; then both once more.
    code = (
        "import os, signal, time\n"
        "from genrender.jobs.worker import _let_be_interrupted\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "_let_be_interrupted()\n"
        "both = [signal.SIGINT, signal.SIGTERM]\n"
        "def send():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, both)\n"
        "    for number in both: os.kill(os.getpid(), number)\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, both)\n"
        "try:\n"
        "    send(); time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    send(); print('tidied up')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "tidied up\n", "")


@pytest.mark.parametrize("debug", [False, True])
def test_where_an_error_comes_from_is_shown_on_request(tmp_path, capfd, debug):
    with Worker(debug) as worker, pytest.raises(ConfigError, match="steps is 0"):
        worker.make(replace(tiny_job(), steps=0), RunFolder(tmp_path / "run"))
    assert ("Traceback" in capfd.readouterr().err) == debug


def test_the_peak_of_memory_is_counted_anew():
    block = bytearray(200_000_000)
    before = peak_memory_mb()
    del block
    reset_peak_memory()
    after = peak_memory_mb()
    if before is None or after is None:
        pytest.skip("this system does not tell")
    assert after < before - 100
