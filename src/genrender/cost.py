"""What a run costs: time and memory of this process."""

import sys
from pathlib import Path

import torch


def peak_memory_mb() -> float:
    """The largest resident memory that this process has had, in MB of a million bytes."""
    try:
        # On Linux ru_maxrss begins with what the parent had when it forked; VmHWM is the process's own.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        import resource  # Windows has none

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def gpu_peak_memory_mb() -> float | None:
    """The largest memory that this process's tensors have taken on a CUDA device; None without one."""
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
