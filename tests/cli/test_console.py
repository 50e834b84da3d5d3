"""Progress bars: on a terminal they show the time left, however slow the work is."""

import io

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
