"""Jobs of a file, each made whatever becomes of the others: killed, stopped, wrong, and gone on with."""

import json
import signal
import time
from pathlib import Path

import pytest
from jobs.tiny_jobs import SCENE

from genrender.batches import run as engine
from genrender.batches.child import Child
from genrender.batches.lines import read_tasks
from genrender.batches.run import Batch, BatchConfig
from genrender.cli import main, parse
from genrender.errors import ConfigError
from genrender.jobs.worker import WorkerLost
from genrender.options.by_name import command_of
from genrender.options.commands import Compare, Study
from genrender.runs.hooks import SILENT, Cancelled

# What `tiny_job` asks for, as a line.
TINY = {
    "scene": str(SCENE),
    "prompt": "a red fox",
    "frames": 3,
    "camera": "orbit",
    "size": 64,
    "dtype": "float32",
    "preset": "fast",
}


def jobs_file(folder: Path, *lines: object) -> Path:
    file = folder / "jobs.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def read(file: Path, folder: Path):
    found = read_tasks(file, folder, SILENT)
    assert found.mistakes == ()
    return found.tasks


def test_jobs_are_made_whatever_becomes_of_others(tmp_path, monkeypatch, capsys):
    """One is wrong; the other is killed, tried again, stopped with the batch, and gone on with."""
    monkeypatch.setattr(engine, "WATCH_EVERY_S", 0.01)
    lines = [{"job": "killed", **TINY, "steps": 10}, {"job": "wrong", **TINY, "upscale": str(tmp_path)}]
    file = jobs_file(tmp_path, *lines)
    config = BatchConfig(file, tmp_path / "batch")
    made = Batch(config, read(file, config.folder))
    ended, steps = [], []

    def watch() -> None:
        for name, at in list(made.at.items()):
            if name == "killed" and at.what == "diffusion":
                if at.done >= 3 and not ended:
                    ended.append(made.jobs[1].state)
                    made.stations[0].worker._process.kill()
                elif made.jobs[0].attempts == 2 and at.done:
                    steps.append(at.done)
                    if at.done >= 6:
                        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.run(watch)
    killed, wrong = made.jobs
    assert ended == ["waiting"]  # it begins when the first has been killed, which is tried again after it
    assert (wrong.state, wrong.attempts) == ("failed", 1)
    assert str(tmp_path) in wrong.error
    assert (killed.state, killed.attempts, killed.error) == ("stopped", 2, None)
    assert (config.folder / "runs" / "killed" / "unfinished" / "request.json").exists()
    assert "0 of 2 done, 1 failed, 1 stopped" in (config.folder / "summary.md").read_text()

    # The same command goes on, and tells of what fails.
    code = main(["batch", str(file), "--run-dir", str(config.folder)])
    said = capsys.readouterr()
    assert code == 1
    assert "jobs     1 of 2 done, 1 failed\n" in said.out
    assert f"line 2, wrong: {wrong.error}; see {wrong.log}" in said.err
    attempts = (config.folder / "logs" / "killed.log").read_text().split(": genrender render ")[1:]
    assert [("going on where" in attempt) for attempt in attempts] == [False, True, True]
    assert min(steps) >= 3  # of the second attempt; what was saved when it was killed
    summary = json.loads((config.folder / "summary.json").read_text())
    assert summary["counts"] == {"done": 1, "failed": 1}

    again = Batch(config, read(file, config.folder))
    assert [(job.state, job.was_there) for job in again.jobs] == [("done", True), ("waiting", False)]
    # What the line asks for has changed: it is another job.
    changed = jobs_file(tmp_path, {**lines[0], "seed": 5})
    assert Batch(config, read(changed, config.folder)).jobs[0].state == "waiting"


def test_a_job_without_a_name_keeps_its_name_wherever_its_line_stands(tmp_path):
    one, other = {**TINY, "seed": 1}, {**TINY, "seed": 2}
    names = [task.name for task in read(jobs_file(tmp_path, one, other), tmp_path)]
    assert [task.name for task in read(jobs_file(tmp_path, other, "", one), tmp_path)] == names[::-1]
    assert all(name.startswith("walking_biped-") for name in names)


WRONG = {
    "{": "its JSON cannot be read at column 2: Expecting property name",
    "[1]": "it is no JSON object, expected one such as",
    '{"command": "train"}': 'command is "train", expected render or compare or study',
    '{"job": "../x", "scene": "x.glb", "prompt": "x"}': 'job is "../x", expected a name that can be a folder',
    '{"job": "läufer blau", "scene": "x.glb", "prompt": "x"}': 'job is "läufer blau", expected a name',
    '{"scene": "x.glb"}': "prompt is missing",
    '{"scene": "x.glb", "promt": "x"}': "there is no option 'promt', perhaps prompt",
    '{"scene": "x.glb", "prompt": "x"}': "scene file not found: x.glb",
    '{"scene": "x.glb", "prompt": "x", "device": "cuda"}': "device cannot stand in a line: give it to the",
    '{"scene": "x.glb", "prompt": "x", "seeds": "0-7"}': "seeds makes a sheet and no run: give every seed a",
    '{"scene": "x.glb", "prompt": "x", "frames": "many"}': 'frames is "many", expected a whole number or',
    '{"command": "study", "name": "alpha", "shots": ["x.glb"]}': "shot 'x.glb': expected SCENE=TEXT",
}


@pytest.mark.parametrize("other", ["fuchs-grün", "FUCHS-GRÜN", "Fuchs-gru\u0308n"])
def test_names_that_some_systems_take_for_one_are_refused(tmp_path, other):
    lines = [{"job": "Fuchs-grün", **TINY}, {"job": other, **TINY, "seed": 1}]
    ((line, text),) = read_tasks(jobs_file(tmp_path, *lines), tmp_path, SILENT).mistakes
    assert line == 2
    assert text == (
        "the job of line 1 is called 'Fuchs-grün', which for Windows and macOS is the same name as "
        f"{other!r}; give each another name"
    )
    outs = [{**TINY, "out": "Fox.mp4"}, {**TINY, "seed": 1, "out": "fox.mp4"}]
    ((_, text),) = read_tasks(jobs_file(tmp_path, *outs), tmp_path, SILENT).mistakes
    assert text == "it writes fox.mp4, and so does line 1; give another out"


def test_every_wrong_line_is_told_before_anything_begins(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = {**TINY, "out": "a.mp4"}
    same = [{**good, "seed": 3}, {"job": "x", **TINY}, {"job": "x", **TINY, "seed": 1}]
    file = jobs_file(tmp_path, good, *WRONG, good, *same)
    assert main(["batch", str(file)]) == 2
    told, begin = capsys.readouterr().err.splitlines(), f"genrender: error: {file}, line "
    for number, words in enumerate(WRONG.values(), start=2):
        assert any(line.startswith(f"{begin}{number}: ") and words in line for line in told), words
    n = len(WRONG) + 2
    assert f"{begin}{n}: it asks for the same as line 1; leave one of them out" in told
    assert f"{begin}{n + 1}: it writes a.mp4, and so does line 1; give another out" in told
    assert f"{begin}{n + 3}: the job of line {n + 2} is called 'x', too; give each another name" in told
    n_wrong, n_lines = len(WRONG) + 3, len(WRONG) + 5
    assert told[-1] == (
        f"genrender: error: {n_wrong} of {n_lines} lines of {file} cannot be used: nothing was begun; "
        "mend them"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.jsonl"]


def test_what_may_be_worse_is_told_once_and_checking_makes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unknown = [{**TINY, "prompt": "a zyzzyva", "seed": seed} for seed in range(7)]
    assert main(["batch", str(jobs_file(tmp_path, *unknown)), "--check"]) == 0
    told = capsys.readouterr().err
    assert told.count("zyzzyva") == 1
    assert "warning: lines 1, 2, 3, 4, 5 and 2 more: " in told
    assert "7 jobs, of which 0 are done already" in told
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.jsonl"]


@pytest.mark.parametrize("text", [None, "", "\n\n"])
def test_a_file_without_jobs_is_told(tmp_path, capsys, text):
    file = tmp_path / "jobs.jsonl"
    if text is not None:
        file.write_text(text)
    assert main(["batch", str(file)]) == 2
    assert "expected one JSON object a line, such as" in capsys.readouterr().err


def test_lines_mean_what_the_same_command_line_means(tmp_path):
    shots = [f"{SCENE}=a red fox"]
    lines = [
        {"job": "a", "command": "compare", "scene": str(SCENE), "prompt": "-x=1", "frames": 3, "lock": 0.25},
        {"job": "b", "command": "study", "name": "alpha", "shots": shots, "frames": 3, "seeds": "0"},
    ]
    compare, study = read(jobs_file(tmp_path, *lines), tmp_path / "batch")
    place = str(tmp_path / "batch" / "runs")
    for task, kind, line, own in (
        (compare, Compare, lines[0], {"run_dir": f"{place}/a"}),
        (study, Study, lines[1], {"run_dir": f"{place}/b", "out": f"{place}/b"}),
    ):
        values = {name: value for name, value in line.items() if name not in ("job", "command")}
        assert parse(task.words) == command_of(kind, {**values, **own})
        assert not task.is_there()
    assert {folder.name for _, folder in compare.runs} >= {"generative", "per-frame", "tokenflow"}
    assert [file.name for file in study.results] == ["alpha.csv", "alpha.svg", "alpha.md"]


def test_a_command_of_its_own_ends_as_it_ends(tmp_path):
    said: list[str] = []
    child = Child()
    child.run(["inspect", str(SCENE)], said.append)
    assert any("Dance" in line for line in said)
    with pytest.raises(ConfigError, match=r"^scene file not found: none\.glb") as told:
        child.run(["inspect", "none.glb"], said.append)
    assert not isinstance(told.value, WorkerLost)

    def kill(_line: str) -> None:
        child._process.send_signal(signal.SIGKILL)

    words = ["preview", str(SCENE), "--frames", "200", "--size", "512", "--out", str(tmp_path / "p")]
    begun_s = time.monotonic()
    with pytest.raises(WorkerLost, match="ended with code -9"):
        child.run(words, kill)
    with pytest.raises(Cancelled):
        child.run(words, lambda _: child.interrupt())
    assert time.monotonic() - begun_s < 60
