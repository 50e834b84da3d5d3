"""Progress bars: on a terminal they show the time left, however slow the work is."""

import io
import re
import time

from rich.console import Console

from genrender.cli.console import Bars


def test_slow_steps_have_a_time_left():
    now_s = 0.0
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=80, get_time=lambda: now_s)
    with Bars(console) as bars:
        bars("diffusion", 0, 10)
        for step in range(4):
            now_s += 45.0
            bars("diffusion", step + 1, 10)
    assert "4/10 0:04:30" in screen.getvalue()


def test_without_a_terminal_a_line_says_what_is_done(capsys):
    with Bars(Console(file=io.StringIO(), force_terminal=False)) as bars:
        for done in range(3):
            bars("frames", done, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("genrender: frames: 2 done in ")
    assert captured.err.count("\n") == 1


def test_without_a_terminal_lines_tell_how_far_slow_steps_are(capsys):
    with Bars(Console(file=io.StringIO(), force_terminal=False), line_every_s=0.05) as bars:
        bars("diffusion", 4, 10)  # a run that goes on
        time.sleep(0.12)
        bars("diffusion", 6, 10)
        time.sleep(0.12)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"genrender: diffusion: 4 of 10, peak \d+ MB", first)
    assert re.fullmatch(r"genrender: diffusion: 6 of 10, about \d s left, peak \d+ MB", last)


def test_what_is_done_is_no_longer_told(capsys):
    with Bars(Console(file=io.StringIO(), force_terminal=False), line_every_s=0.02) as bars:
        bars("frames", 1, 1)
        time.sleep(0.1)
    assert capsys.readouterr().err.count("\n") == 1
