"""Makes a process lack what Windows or macOS lacks: Python imports this first where it is on PYTHONPATH.

PRETEND_SYSTEM names the system. `sys.platform`, native libraries and the file system stay those of Linux.
What is pretended is what Python's documentation says of its modules there, and which files are refused.
"""

import builtins
import errno
import io
import os
import re
import shutil
import signal
import stat
import types

# Functions of `os` that are marked "Unix" or "not Windows".
POSIX_ALONE = (
    *("fchmod", "fchown", "fork", "forkpty", "getpriority", "getuid", "killpg", "mkfifo"),
    *("nice", "posix_fadvise", "posix_fallocate", "pread", "pwrite", "sched_getaffinity"),
    *("sched_setaffinity", "setpriority", "setsid", "sync"),
)
SIGNALS_OF_POSIX = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGXFSZ", "alarm", "pthread_sigmask")
LACKING = ("fcntl", "grp", "pwd", "resource", "termios", "tty")
OURS = ("genrender", "__main__")
POORER = {}
NO_FILE_NAME = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def checked_import(name, importer=None, *rest, **options):
    """Libraries are those of this system, and take what it has; genrender must do without."""
    if ((importer or {}).get("__name__") or "").partition(".")[0] in OURS:
        if name in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in POORER:
            return POORER[name]
    return import_before(name, importer, *rest, **options)


def poorer(module, lacks):
    """A module without some of its names."""
    made = types.ModuleType(module.__name__)
    vars(made).update({name: value for name, value in vars(module).items() if name not in lacks})
    return made


def refused(path, number=errno.EACCES):
    return OSError(number, os.strerror(number), os.fspath(path))


def is_ours(path):
    """Whether a path is in the working directory, where the test's own files are."""
    return os.path.abspath(os.fspath(path)).startswith(os.getcwd() + os.sep)


def is_open(path):
    """Whether this process has a file open, or maps it, at a path or below it."""
    place = os.path.realpath(path)
    held = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
            if stat.S_ISREG(os.fstat(int(number)).st_mode):
                held.append(target)
        except OSError:
            continue
    with open_before("/proc/self/maps", "rb") as maps:
        held += [line.split(maxsplit=5)[-1].decode() for line in maps.read().splitlines() if b" /" in line]
    return any(one == place or one.startswith(place + os.sep) for one in held)


def checked_open(file, mode="r", *rest, **options):
    if not isinstance(file, int) and set(mode) & set("wxa+") and is_ours(file):
        name = os.path.basename(os.fspath(file))
        if NO_FILE_NAME.search(name) or DEVICE.fullmatch(name):
            raise refused(file, errno.EINVAL)
    return open_before(file, mode, *rest, **options)


def unless_open(function):
    """What takes or replaces a file that this process has open is refused, as Windows does."""

    def checked(*paths, **options):
        for path in paths:
            if isinstance(path, str | os.PathLike) and os.path.lexists(path) and is_open(path):
                raise refused(path)
        return function(*paths, **options)

    return checked


def never_over(rename):
    def checked(source, target, **options):
        if os.path.lexists(target):
            raise refused(target, errno.EEXIST)
        return rename(source, target, **options)

    return checked


def checked_mkdir(path, *rest, **options):
    name = os.path.basename(os.path.normpath(os.fspath(path)))
    if is_ours(path) and (NO_FILE_NAME.search(name) or DEVICE.fullmatch(name)):
        raise refused(path, errno.EINVAL)
    return mkdir_before(path, *rest, **options)


def no_folders(path, *rest, **options):
    if options.get("dir_fd") is None and os.path.isdir(path):
        raise refused(path)
    return os_open_before(path, *rest, **options)


import_before = builtins.__import__
open_before, mkdir_before, os_open_before = builtins.open, os.mkdir, os.open
if os.environ.get("PRETEND_SYSTEM") == "windows":
    builtins.__import__ = checked_import
    builtins.open = io.open = checked_open
    os.mkdir, os.open = checked_mkdir, no_folders
    os.replace, os.unlink, os.remove = unless_open(os.replace), unless_open(os.unlink), unless_open(os.remove)
    os.rename = never_over(unless_open(os.rename))
    shutil._use_fd_functions = False  # pyright: ignore[reportAttributeAccessIssue] (a switch of its own)
    POORER.update(os=poorer(os, POSIX_ALONE), signal=poorer(signal, SIGNALS_OF_POSIX))
elif os.environ.get("PRETEND_SYSTEM") == "macos":
    import resource

    del os.posix_fallocate
    set_before = resource.setrlimit

    def setrlimit(kind, limits):
        if kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            raise ValueError("current limit exceeds maximum limit")
        set_before(kind, limits)

    resource.setrlimit = setrlimit
