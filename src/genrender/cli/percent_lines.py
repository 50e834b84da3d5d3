"""`--progress percent` and `openjd`: how much of a run is done, as lines on stdout that render farms read.

docs/farm.md tells who reads which.
"""

from typing import Literal

from genrender.cli.console import note, warn
from genrender.runs.hooks import RunHooks

# Where each work of a run begins and ends, in percent; what is added to a finished run stays below the end.
SHARES = {"G-buffers": (0, 10), "diffusion": (10, 90), "frames": (90, 99)}


class PercentLines:
    """Writes a line whenever another whole percent is done; it never goes back.

    Args:
        style: `percent` for lines such as `Progress: 42%`, `openjd` for those of Open Job Description.
    """

    def __init__(self, style: Literal["percent", "openjd"]) -> None:
        self._style = style
        self._told = -1
        self._work = ""

    @property
    def hooks(self) -> RunHooks:
        """What a run tells; notes and warnings go to stderr as for people."""
        return RunHooks(note, warn, self.report)

    def report(self, work: str, done: int, total: int) -> None:
        """So much of a work is done."""
        first, last = SHARES.get(work, (0, 0))
        if self._style == "openjd" and work != self._work:
            print(f"openjd_status: {work}", flush=True)
        self._work = work
        self.tell(first + (last - first) * done // max(total, 1))

    def tell(self, percent: int) -> None:
        """So much of the whole is done."""
        if percent > self._told:
            self._told = percent
            print(
                f"Progress: {percent}%" if self._style == "percent" else f"openjd_progress: {percent}",
                flush=True,
            )
