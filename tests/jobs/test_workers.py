"""A clip that several workers make, some of which are killed: the run that one process makes, to the bit."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from jobs.tiny_jobs import tiny_job
from PIL import Image

from genrender.config import RunConfig
from genrender.distributed.cluster import cores_each
from genrender.distributed.process import LocalProcess
from genrender.errors import ConfigError, MediaError
from genrender.jobs.in_parts import cut, environments
from genrender.jobs.make import make
from genrender.jobs.plan import plan
from genrender.jobs.pool import ATTEMPTS, Pool, Task
from genrender.jobs.resume import resume
from genrender.jobs.words import job_words
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.storage.run_files import PARTS_DIR, STATE_FILE, UNFINISHED_DIR

JOB = replace(tiny_job(), chunk=2, lock=0.0)
JOB = replace(JOB, clip=replace(JOB.clip, shot=replace(JOB.clip.shot, n_frames=8)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, against keyframes that were made first."""
    home = tmp_path_factory.mktemp("whole")
    for job, name in (
        (replace(JOB, only="keyframes"), "look"),
        (replace(JOB, keyframes_from=home / "look"), "run"),
    ):
        make(plan(job, RunFolder(home / name)))
    return home / "run"


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture)


def check_same(folder: Path, whole: Path) -> None:
    """A run by workers is the one of one process, but for what it cost and who asked for it."""
    frames = RunFolder(folder).frame_files()
    assert [file.name for file in frames] == [file.name for file in RunFolder(whole).frame_files()]
    for file in frames:
        assert file.read_bytes() == (whole / "frames" / file.name).read_bytes()
    ours, theirs = (RunFolder(path).read_record() for path in (folder, whole))
    assert ours.making.entries() == theirs.making.entries()
    sheets = [pixels(RunFolder(path).contact_sheet_file) for path in (folder, whole)]
    assert np.array_equal(*sheets)
    assert not (folder / UNFINISHED_DIR).exists()
    # Any of its frames can be made again against it.
    plan(replace(JOB, keyframes_from=folder, only="2-3"), RunFolder(folder.parent / "part"))


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_whoever_is_killed_the_run_is_that_of_one_process(whole, tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "genrender", *job_words(replace(JOB, workers=2), folder)]
    driver = psutil.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    # It has made the keyframes, and is at parts.
    parts = folder / UNFINISHED_DIR / PARTS_DIR
    wait_until(lambda: any(parts.glob(f"0*/{UNFINISHED_DIR}/{STATE_FILE}")))
    workers = driver.children()
    driver.kill()
    driver.wait()
    assert workers
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    kept = (parts / "keyframes" / "appearance.npz").stat().st_mtime_ns

    told: list[object] = []
    before = set(psutil.Process().children(recursive=True))

    def kill_worker(what: str, done: int, total: int) -> None:
        told.append((what, done, total))
        if what == "diffusion" and "killed" not in told:
            told.append("killed")
            for worker in set(psutil.Process().children()) - before:
                worker.kill()

    assert resume(folder, RunHooks(warn=told.append, progress=kill_worker)) is not None
    check_same(folder, whole)
    assert (folder / "appearance.npz").stat().st_mtime_ns == kept
    assert any("another one goes on" in str(one) for one in told)
    assert ("frames", 8, 8) in told
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.usefixtures("warm_workers")
def test_a_run_that_is_stopped_ends_its_workers_and_goes_on_with_the_same_scene_alone(tmp_path):
    scene, folder, notes = tmp_path / "scene.glb", tmp_path / "run", []
    shutil.copy(JOB.clip.scene, scene)
    job = replace(JOB, clip=replace(JOB.clip, scene=scene), workers=2)

    def stop(what: str, *_: int) -> None:
        if what == "keyframes":
            raise KeyboardInterrupt

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        make(plan(job, RunFolder(folder)), RunHooks(notes.append, progress=stop))
    assert set(psutil.Process().children(recursive=True)) <= before
    assert notes[-1] == f"go on from the last step with: genrender resume {folder}"
    os.utime(scene, (1, 1))
    with pytest.raises(MediaError, match=r"files.*scene.glb was .* when it was begun"):
        resume(folder)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"workers": 0}, "expected 1 to 1000"),
        ({"workers": 2, "only": "0-1"}, "leave one out"),
        (
            {"workers": 2, "method": "per-frame", "lock": None},
            "--workers: parts are made by --method generative",
        ),
        ({"ray": "auto"}, "has no --workers"),
    ],
)
def test_what_cannot_be_meant_is_said_before_any_work(tmp_path, asked, said):
    with pytest.raises(ConfigError, match=said):
        plan(replace(JOB, **asked), RunFolder(tmp_path / "run"))


def pool_of(code: str, tmp_path: Path) -> tuple[Pool, list[Task]]:
    """Two workers that do as a short program says, and three runs for them."""
    tasks = [Task(name, JOB, tmp_path / name) for name in ("one", "two", "three")]
    return Pool([lambda _: LocalProcess(["-c", code])] * 2), tasks


def test_a_run_that_loses_its_worker_time_after_time_is_given_up(tmp_path):
    log = tmp_path / "log"
    pool, tasks = pool_of(f"input(); open({str(log)!r}, 'a').write('begun ')", tmp_path)
    with pool, pytest.raises(ConfigError, match=f"lost a worker {ATTEMPTS} times without coming further"):
        pool.make(tasks[:1], lambda *_: None)
    assert log.read_text().split() == ["begun"] * ATTEMPTS


def test_a_run_may_lose_a_worker_at_each_step(tmp_path):
    # Each process comes a step further than the one before, and then it is gone.
    code = (
        "import json, os, pathlib\n"
        "folder = pathlib.Path(json.loads(input())['folder'])\n"
        "folder.mkdir(exist_ok=True)\n"
        "step = len(list(folder.iterdir()))\n"
        "(folder / str(step)).touch()\n"
        "print(json.dumps(['progress', 'diffusion', step, 9]), flush=True)\n"
        "print(json.dumps(['done', None]), flush=True) if step == 9 else None\n"
    )
    pool, tasks = pool_of(code, tmp_path)
    told = []
    with pool:
        pool.make(tasks, lambda task, kind, facts: told.append((task.name, kind, facts)))
    for task in tasks:
        steps = [facts[1] for name, kind, facts in told if (name, kind) == (task.name, "progress")]
        assert steps == list(range(10))


def test_the_first_run_that_fails_stops_the_others(tmp_path):
    code = (
        "import json, time\n"
        "asked = json.loads(input())\n"
        "if asked['folder'].endswith('two'):\n"
        "    print(json.dumps(['error', 'no such fox']), flush=True)\n"
        "time.sleep(60)\n"
    )
    pool, tasks = pool_of(code, tmp_path)
    began = time.monotonic()
    with pytest.raises(ConfigError, match="no such fox"), pool:
        pool.make(tasks, lambda *_: None)
    assert time.monotonic() - began < 30


def test_parts_are_whole_chunks_as_many_for_each_worker():
    for n_frames, n_workers, chunk, lock in product((1, 7, 96, 5000), (1, 2, 7), (1, 8), (0.0, 1.0)):
        parts = cut(n_frames, n_workers, RunConfig(chunk_size=chunk, lock=lock))
        assert sorted(frame for part in parts for frame in part) == list(range(n_frames))
        assert all(part.start % chunk == 0 for part in parts)
        n_chunks = [-(-len(part) // chunk) for part in parts]
        assert max(n_chunks) - min(n_chunks) <= 1
        assert len(parts) % n_workers == 0 or len(parts) == -(-n_frames // chunk)


def test_workers_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert environments(3, "cpu") == [{"OMP_NUM_THREADS": "2"}] * 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert environments(3, None) == [{"CUDA_VISIBLE_DEVICES": number} for number in "010"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert environments(3, "cuda") == [{"CUDA_VISIBLE_DEVICES": number} for number in "575"]
    assert environments(2, "cuda:1") == [{"OMP_NUM_THREADS": "4"}] * 2


@pytest.mark.parametrize(
    ("cores", "n_processes", "each"),
    [([16, 16], 2, 16), ([16, 16], 3, 8), ([2], 4, 1), ([], 1, 1), ([4, 2], 3, 2)],
)
def test_processes_of_a_cluster_have_as_many_cores_as_fit(cores, n_processes, each):
    assert cores_each([{"CPU": n} for n in cores], n_processes) == each
