"""Training that stands still while something else has to be timed."""

import time
from pathlib import Path

from rich.console import Console

# While a file of this name lies in the working folder, training stands still.
PAUSE_FILE = "pause"


def wait_while_paused(work_dir: Path, console: Console) -> None:
    """Stand still while there is a file called pause in `work_dir`."""
    pause_file = work_dir / PAUSE_FILE
    if not pause_file.exists():
        return
    console.print(f"paused until {pause_file} is removed", highlight=False)
    while pause_file.exists():
        time.sleep(1)
