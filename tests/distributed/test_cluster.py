"""Workers in a Ray cluster: one that is begun for the test on this machine."""

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from jobs.tiny_jobs import tiny_job

from genrender.distributed.cluster import cluster
from genrender.errors import ConfigError
from genrender.jobs.make import make
from genrender.jobs.plan import plan
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks

pytest.importorskip("ray")
JOB = replace(tiny_job(), chunk=2, lock=0.0)
ANSWERS = ("-c", "while True: print('you said', input(), flush=True)")


def test_no_cluster_at_an_address_is_said_in_a_line():
    said = "no Ray cluster at 'nonsense:1:2'"
    with pytest.raises(ConfigError, match=said), cluster("nonsense:1:2", 1, needs_gpu=False):
        pass


@pytest.mark.slow
def test_processes_of_a_cluster_answer_and_are_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with cluster("local", 2, needs_gpu=False) as start:
        one, other = start(ANSWERS), start(ANSWERS)
        one.ask("a")
        assert next(one.answers()) == "you said a\n"
        one.kill()
        assert list(one.answers()) == []
        other.ask("b")
        other.ask("c")
        answers = other.answers()
        assert [next(answers), next(answers)] == ["you said b\n", "you said c\n"]
        other.terminate()
        assert list(answers) == []
        other.close()


@pytest.mark.slow
def test_a_cluster_makes_the_run_of_one_process(tmp_path: Path):
    make(plan(replace(JOB, workers=1), RunFolder(tmp_path / "here")))
    told: list[object] = []

    def lose(what: str, *_: int) -> None:
        told.append(what)
        if what == "diffusion" and told.count("diffusion") == 1:
            for process in psutil.Process().children(recursive=True):
                if "genrender.jobs.worker" in process.cmdline():
                    process.kill()

    make(plan(replace(JOB, workers=2, ray="local"), RunFolder(tmp_path / "there")), RunHooks(progress=lose))
    for file in RunFolder(tmp_path / "here").frame_files():
        assert file.read_bytes() == (tmp_path / "there" / "frames" / file.name).read_bytes()
    records = [RunFolder(tmp_path / name).read_record().making.entries() for name in ("here", "there")]
    assert records[0] == records[1]
