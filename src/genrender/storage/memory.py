"""What this process's memory has grown to."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import psutil


def peak_memory_mb() -> float | None:
    """The largest resident memory that this process has had, in MB of a million bytes; None: unknown."""
    try:
        # On Linux ru_maxrss begins with what the parent had when it forked; VmHWM is the process's own.
        status = Path("/proc/self/status").read_text("utf-8", "replace")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        try:
            import resource
        except ImportError:  # on Windows
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def reset_peak_memory() -> None:
    """From here on `peak_memory_mb` counts anew; where the system cannot do that it goes on as before."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def return_freed_memory() -> None:
    """Give the system back what this process has freed.

    glibc keeps freed memory in pieces that the next tensors may not fit into: between chunks of frames a run
    of 1,000 frames grew from 0.5 to 2 GB without holding any more. Elsewhere this does nothing.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


class MemoryGrowth:
    """Gives freed memory back whenever the process has grown by a share since it was first looked at.

    What is given back has to be asked for again, page by page: done after every chunk of frames, that took a
    twentieth of a run's time.

    Args:
        allowed: how many times its first size the process may have.
    """

    def __init__(self, allowed: float = 1.1) -> None:
        self._allowed = allowed
        self._process = psutil.Process()
        self._first_bytes: int | None = None

    def limit(self) -> None:
        """Look at the process, and give back what it has freed if it is too large."""
        n_bytes = self._process.memory_info().rss
        if self._first_bytes is None:
            self._first_bytes = n_bytes
        elif n_bytes > self._allowed * self._first_bytes:
            return_freed_memory()


def reset_gpu_peak_memory() -> None:
    """From here on `gpu_peak_memory_mb` counts anew."""
    import torch  # only here: whoever shows memory in a progress bar need not wait for it

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def gpu_peak_memory_mb() -> float | None:
    """The largest memory that tensors have taken on the CUDA device since the reset; None without one."""
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
