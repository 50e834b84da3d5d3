"""Training beside other work."""

import os
import subprocess
import sys
from pathlib import Path

from genrender.train.background import LOWEST, yield_to_all


def test_a_session_of_its_own_gets_only_what_is_left():
    """Niceness alone counts within a session where the kernel shares between sessions."""
    waiting = [sys.executable, "-c", "input()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        before = os.getpriority(os.PRIO_PROCESS, process.pid)
        yield_to_all(process.pid)
        after = os.getpriority(os.PRIO_PROCESS, process.pid)
        autogroup = Path(f"/proc/{process.pid}/autogroup")
        shared = autogroup.read_text() if autogroup.exists() else None
        process.communicate(b"\n")
    assert before < after == LOWEST
    assert shared is None or shared.split()[-2:] == ["nice", str(LOWEST)]
