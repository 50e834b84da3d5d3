"""The command `genrender` as a program of its own, also as `python -m genrender`.

The first Ctrl-C stops the work, a second waits while files are closed, a third ends the process at once.
"""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def program() -> int:
    """Runs the command with this process's own words, so that no Ctrl-C at any moment shows a traceback.

    Libraries close for seconds after the first one; another in the midst of that would show where they are. A
    process may be killed at any moment without harm to a run, so the third one does just that.

    Returns:
        The exit code.
    """
    n_interrupts = 0

    def count(_number: int, _frame: FrameType | None) -> None:
        nonlocal n_interrupts
        n_interrupts += 1
        if n_interrupts == 1:
            raise KeyboardInterrupt
        if n_interrupts > 2:
            os._exit(INTERRUPTED)
        # No print: the first Ctrl-C may have stopped one, and a stream is not entered twice.
        os.write(2, b"genrender: closing; Ctrl-C once more ends it at once\n")

    if (
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    ):  # a shell's script may want none in the background
        signal.signal(signal.SIGINT, count)
    try:
        # Only here: imports take a while, and Ctrl-C may come meanwhile.
        from genrender.cli import main

        return main()
    except KeyboardInterrupt:
        print("genrender: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(program())
