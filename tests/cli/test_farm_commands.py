"""What farms count on: percent on stdout, an end that was asked for, and the same command again."""

import re
import sys

import pytest
from cli.conftest import frames
from warm import WarmProcess

from genrender.cli.percent_lines import PercentLines
from genrender.runs.folder import RunFolder


@pytest.fixture
def words(scene, model):
    options = ["--prompt", "a red fox", "--model", str(model), "--animation", "Rise", "--frames", "3"]
    return ["render", str(scene), *options, "--steps", "24", "--size", "64", "--resume", "--run-dir"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_task_that_is_pre_empted_goes_on_when_it_is_given_again(call, words, tmp_path):
    said = tmp_path / "said.txt"
    process = WarmProcess(["-m", "genrender", *words, "run", "--progress", "percent"], stderr=said)
    for line in process.answers():
        if line == "Progress: 30%\n":
            break
    process.terminate()
    assert "100%" not in "".join(process.answers())
    assert process.wait() == 143
    told = said.read_text().splitlines()
    assert told[-2:] == [
        "genrender: go on from the last step with: genrender resume run",
        "genrender: terminated",
    ]
    assert frames(tmp_path / "run") == []

    again = call(*words, "run", "--progress", "percent")
    assert again.code == 0
    assert "going on where an earlier attempt stopped" in again.err
    percents = [int(number) for number in re.findall(r"^Progress: (\d+)%$", again.out, re.MULTILINE)]
    assert percents == sorted(set(percents))
    assert (percents[0], percents[-1]) == (0, 100)
    assert 11 not in percents  # the first steps are not made again

    # Once more: it is there. Another seed is another run.
    modified = [file.stat().st_mtime_ns for file in RunFolder(tmp_path / "run").frame_files()]
    there = call(*words, "run", "--progress", "percent")
    assert (there.code, there.out, "run is finished already" in there.err) == (0, "Progress: 100%\n", True)
    assert [file.stat().st_mtime_ns for file in RunFolder(tmp_path / "run").frame_files()] == modified
    whole = call(*words, "whole")
    assert whole.code == 0
    assert frames(tmp_path / "run") == frames(tmp_path / "whole")
    other = call(*words, "run", "--progress", "percent", "--seed", "1", "--steps", "2")
    assert "finished already" not in other.err
    assert frames(tmp_path / "run") != frames(tmp_path / "whole")


def test_open_job_description_is_told_in_its_own_words(call, scene, capsys):
    lines = PercentLines("openjd")
    for work, done, total in (
        ("G-buffers", 0, 2),
        ("G-buffers", 2, 2),
        ("diffusion", 0, 3),
        ("diffusion", 3, 3),
    ):
        lines.report(work, done, total)
    lines.report("G-buffers", 0, 2)  # of what is added to a finished run
    lines.tell(100)
    assert capsys.readouterr().out.splitlines() == [
        *("openjd_status: G-buffers", "openjd_progress: 0", "openjd_progress: 10"),
        *(
            "openjd_status: diffusion",
            "openjd_progress: 90",
            "openjd_status: G-buffers",
            "openjd_progress: 100",
        ),
    ]
    wrong = call("render", scene, "--prompt", "x", "--camera", "scene:Nobody", "--progress", "openjd")
    assert wrong.code == 2
    assert wrong.out.startswith("openjd_fail: ")
    assert wrong.out.removeprefix("openjd_fail: ") == wrong.err.removeprefix("genrender: error: ")


@pytest.mark.parametrize("words", [[], ["--run-dir", "run", "--seeds", "0-3"]])
def test_going_on_needs_a_folder(call, scene, words):
    result = call("render", scene, "--prompt", "x", "--resume", *words)
    assert result.code == 2
    assert "--resume goes on with a run in its folder: give --run-dir, and leave out --seeds" in result.err
