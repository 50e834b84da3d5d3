"""Whatever a file does to the process that reads it, the next request is answered."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genrender.errors import ConfigError, MediaError
from genrender.storage.helper import Helper

HUGE = 10.0


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Helper]:
    places = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    made = Helper("storage.helper_samples", 2_000_000_000)
    yield made
    made.end()


def test_values_and_bytes_come_back_and_errors_stay_what_they_are(helper):
    value = {"text": "Füchsin 🦊\n", "number": 1.5, "none": None}
    for _ in range(3):
        assert helper.call("echo", HUGE, value=value) == (value, bytes(range(256)) * 4096)
    with pytest.raises(ConfigError, match="size is 0x0, expected more"):
        helper.call("refuse", HUGE)
    with pytest.raises(MediaError, match=r"cannot be read \(KeyError\)"):
        helper.call("fault", HUGE)
    assert helper.call("echo", HUGE, value=1)[0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound a process's memory")
def test_too_much_memory_is_told_and_costs_nobody_else(helper):
    with pytest.raises(MediaError, match="too little memory"):
        helper.call("hog", HUGE)
    assert helper.call("echo", HUGE, value=1)[0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound the address space")
def test_what_is_only_mapped_is_no_memory_that_is_taken(helper):
    assert helper.call("reserve", HUGE)[0] == 8_000_000_000


def test_beside_files_from_outside_no_module_is_looked_for(helper, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('a file from outside has run')")
    monkeypatch.chdir(tmp_path)
    assert helper.call("echo", HUGE, value=1)[0] == 1


def test_an_interrupted_call_leaves_no_answer_for_the_next(helper):
    helper.call("echo", HUGE, value=1)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            helper.call("late", HUGE)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert helper.call("echo", HUGE, value=2)[0] == 2


@pytest.mark.parametrize(("task", "words"), [("stall", "took longer than 1 s"), ("die", "has ended")])
def test_a_process_that_stalls_or_dies_is_replaced(helper, task, words):
    helper.call("echo", HUGE, value=1)
    with pytest.raises(MediaError, match=words):
        helper.call(task, 1.0)
    assert helper.call("echo", HUGE, value=2)[0] == 2
