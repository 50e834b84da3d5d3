"""Training for days beside other work: a process of its own, from a copy of the code, at lowest priority."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import genrender
from genrender.train.pause import PAUSE_FILE

# Niceness of what gets only what is left.
LOWEST = 19


def start_in_background(command: list[str], work_dir: Path) -> tuple[int, Path]:
    """Run a genrender command that goes on when this process ends.

    The code is copied first: a training that is started again in a week, or that starts processes of its own,
    would otherwise run whatever the source has become by then.

    Args:
        command: the command line behind `genrender`.
        work_dir: holds `code/`, the copy, and `train.log`, where the output is appended.

    Returns:
        The process id, and the log.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    code = work_dir / "code"
    shutil.rmtree(code, ignore_errors=True)
    source = Path(genrender.__file__).parent
    shutil.copytree(source, code / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    (work_dir / PAUSE_FILE).unlink(missing_ok=True)
    log = work_dir / "train.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "genrender", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(code.absolute())},
            start_new_session=True,
        )
    yield_to_all(process.pid)
    return process.pid, log


def yield_to_all(pid: int) -> None:
    """Let a process run when nothing else wants to.

    Linux may share processor time between sessions first and by niceness only within them, so a process that
    leads a session of its own would get as much as all that one works with in another.
    """
    os.setpriority(os.PRIO_PROCESS, pid, LOWEST)
    autogroup = Path(f"/proc/{pid}/autogroup")
    if autogroup.exists():
        autogroup.write_text(str(LOWEST), encoding="utf-8")
