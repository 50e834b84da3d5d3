"""How large a clip may be, and what it takes at least: told before any work begins.

The figures are lower bounds, measured on small scenes with the packaged model, so that nothing is refused
that would have gone well.
"""

import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from genrender.errors import ConfigError, MediaError

# What the largest level of H.264 (6.2) can hold: 139,264 blocks of 16 x 16 pixels, as 8192 x 4352.
MAX_PIXELS = 139_264 * 16 * 16
# What x264 takes.
MAX_SIDE = 16_384
# Names of frames have five digits.
MAX_FRAMES = 99_999
# What a video's time base holds, and times that float64 tells apart to the microsecond.
MIN_FPS, MAX_FPS = 0.001, 10_000
MAX_TIME_S = 1e9

# Of memory, per pixel of one frame: ray casting, with everything that is in memory meanwhile (measured: 114
# to 119 at 1024 x 1024 and 2048 x 2048).
RAY_CASTING_BYTES = 110
# The networks, in float32, with the fewest frames at once (measured with pocket: 3,900).
NETWORK_BYTES = 3_000

# For every frame more that goes through the networks at once (measured with pocket: 8 frames take 8,200).
CHUNK_BYTES = 600

# On disk, per pixel and frame: a G-buffer, as `StoredGBuffers` keeps it; and what a run keeps beside it while
# it is under way: control image 4, latents and texels 1, finished frame and video 2.
GBUFFER_BYTES = 32
RUN_BYTES = GBUFFER_BYTES + 7
# Depth, UV and object as compressed EXR with its preview.
EXR_BYTES = 2

# A container is told of its memory here (cgroups, version 2 and 1); the system's own figures are the host's.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_extent(width: int, height: int, n_frames: int) -> None:
    """Whether a clip of this size can be made at all on this machine.

    Args:
        width: pixels per row.
        height: rows.
        n_frames: of the clip.

    Raises:
        ConfigError: it is empty, or larger than a video, its file names or this machine's memory can hold.
    """
    if width < 1 or height < 1:
        raise ConfigError(f"size is {width}x{height}, expected at least 1x1")
    if n_frames < 1:
        raise ConfigError(f"the number of frames is {n_frames}, expected at least 1")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ConfigError(
            f"size is {width}x{height}, expected at most 8192x4352 or as many pixels, and no side above "
            f"{MAX_SIDE}: take a smaller size"
        )
    if n_frames > MAX_FRAMES:
        raise ConfigError(f"the number of frames is {n_frames}, expected at most {MAX_FRAMES}")
    check_memory(RAY_CASTING_BYTES * width * height, f"pictures of {width}x{height} pixels")


def check_rate(fps: float) -> None:
    """Raises ConfigError for frames per second that no video has."""
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ConfigError(f"fps is {fps:g}, expected {MIN_FPS:g} to {MAX_FPS:,} frames per second")


def check_times(times_s: Sequence[float]) -> None:
    """Raises ConfigError for no times at all, and for some that are no time of a clip."""
    wrong = [time_s for time_s in times_s if not -MAX_TIME_S <= time_s <= MAX_TIME_S]
    if wrong or not times_s:
        what = f"a time is {wrong[0]:g}" if wrong else "there are no times"
        raise ConfigError(f"{what}, expected one or more in seconds, up to {MAX_TIME_S:g}")


def check_memory(needed_bytes: int, what: str, available_bytes: int | None = None) -> None:
    """Whether there is enough memory.

    Args:
        needed_bytes: at least.
        what: needs them, in the plural.
        available_bytes: None: what this machine has left.

    Raises:
        ConfigError: there is not.
    """
    available = available_memory() if available_bytes is None else available_bytes
    if needed_bytes > available:
        raise ConfigError(
            f"{what} need at least {bytes_as_text(needed_bytes)} of memory, and {bytes_as_text(available)} "
            "are free: take a smaller size"
        )


def check_room(needed_bytes: int, what: str) -> None:
    """Whether this process may take so many bytes, for native code that ends it where it gets no memory.

    Args:
        needed_bytes: about.
        what: needs them, in the plural.

    Raises:
        ConfigError: its bound of memory (`ulimit`, a reader's) is too low.
    """
    try:
        bytes(needed_bytes)  # asked for and given back: pages of zeros are never touched
    except MemoryError:
        raise ConfigError(
            f"{what} need about {bytes_as_text(needed_bytes)} of memory, more than this process may take: "
            "take a smaller scene, or raise its bound of memory"
        ) from None


def bound_memory(n_bytes: int) -> None:
    """From here on this process takes no more memory than that, where the system bounds it: more fails.

    On Linux what it can write counts. Its address space would not do: there libraries lie that it has mapped
    (PyTorch 400 MB), and every thread of Embree's, one for each core, reserves up to 136 MB that it never
    uses; on 32 cores 2 GB were taken before a file was opened, and Embree ended the process.
    """
    import resource

    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    with suppress(ValueError, OSError):  # macOS refuses any bound
        resource.setrlimit(kind, (n_bytes, n_bytes))


def network_memory(n_pixels: int, n_at_once: int) -> int:
    """About how many bytes the networks' maps take in float32, for frames at once of so many pixels each."""
    return (NETWORK_BYTES + CHUNK_BYTES * n_at_once) * n_pixels


def check_disk(needed_bytes: int, folder: Path) -> None:
    """Whether files of so many bytes will fit into a folder, which may be missing yet.

    Raises:
        MediaError: they will not.
    """
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = free_disk(place)
    if needed_bytes > free:
        raise MediaError(
            f"files of about {bytes_as_text(needed_bytes)} would go to {folder}, where {bytes_as_text(free)} "
            f"are free: free {bytes_as_text(needed_bytes - free)} more, choose another place, or take fewer "
            "frames or a smaller size"
        )


def bytes_on_disk(files: Iterable[Path]) -> int:
    """What those of these files that are there take already.

    Files of frames have their full size from the beginning; the room for what is not written yet is still to
    be found.
    """
    taken = 0
    for status in (file.stat() for file in files if file.is_file()):
        blocks = getattr(status, "st_blocks", None)  # of 512 bytes; Windows tells none
        taken += status.st_size if blocks is None else min(status.st_size, 512 * blocks)
    return taken


def available_memory() -> int:
    """Bytes of memory that a process may still take, those in swap included."""
    available = psutil.virtual_memory().available + psutil.swap_memory().free
    for file in map(Path, _MEMORY_LIMITS):
        if file.is_file() and (text := file.read_text("ascii").strip()).isdecimal():
            available = min(available, int(text))
    return available


def free_disk(folder: Path) -> int:
    """Bytes that this user may still write to the disk of a folder."""
    return shutil.disk_usage(folder).free


def duration_as_text(seconds: float) -> str:
    """A rough time as people say it: "20 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bytes_as_text(n_bytes: int) -> str:
    """Bytes as people read them: "3.2 GB", "450 MB", "12 kB"."""
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{round(n_bytes / 1e6)} MB" if n_bytes >= 1e6 else f"{max(1, round(n_bytes / 1e3))} kB"
