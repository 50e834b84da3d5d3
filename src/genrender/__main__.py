"""The command `genrender` as a program of its own, also as `python -m genrender`.

The first Ctrl-C stops the work, a second waits while files are closed, a third ends the process at once.
SIGTERM, by which farms and service managers end a process, counts as one.
"""

import os
import signal
import sys
from types import FrameType

from genrender.errors import INTERRUPTED, TERMINATED, Terminated

# What ends the work, each with the exit code.
CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


def program() -> int:
    """Runs the command with this process's own words, so that no signal at any moment shows a traceback.

    Libraries close for seconds after the first one; another in the midst of that would show where they are. A
    process may be killed at any moment without harm to a run, so the third one does just that.

    Returns:
        The exit code.
    """
    n_interrupts = 0

    def count(number: int, _frame: FrameType | None) -> None:
        nonlocal n_interrupts
        n_interrupts += 1
        if n_interrupts == 1:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if n_interrupts > 2:
            os._exit(CODES[signal.Signals(number)])
        # No print: the first Ctrl-C may have stopped one, and a stream is not entered twice.
        os.write(2, b"genrender: closing; Ctrl-C once more ends it at once\n")

    for number in CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell's script may want none in the background
            signal.signal(number, count)
    try:
        # Only here: imports take a while, and Ctrl-C may come meanwhile.
        from genrender.cli import main

        return main()
    except Terminated:
        print("genrender: terminated", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print("genrender: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(program())
