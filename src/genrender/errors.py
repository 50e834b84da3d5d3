"""Every error that genrender raises on purpose.

A message is one line: what is wrong, where, what was expected, how to mend it. The command line prints that
line and exits with code 2; a library user catches `GenRenderError`, or the fitting builtin.
"""

# Exit codes of a process that was stopped, as shells count signals.
INTERRUPTED, TERMINATED = 130, 143


class GenRenderError(Exception):
    """Base class of all errors that a user can cause and mend."""


class SceneError(GenRenderError, ValueError):
    """A scene file, or something in it, cannot be used."""


class ConfigError(GenRenderError, ValueError):
    """A setting is out of range, or two settings contradict each other."""


class ModelError(GenRenderError, RuntimeError):
    """A diffusion model cannot be loaded or does not fit the method."""


class MediaError(GenRenderError, OSError):
    """An image, video or run folder cannot be read or written."""


class Terminated(KeyboardInterrupt):
    """This process is to end (SIGTERM): farms and service managers ask so. It does what Ctrl-C does."""


def first_line(error: BaseException) -> str:
    """What an error of a library says first; its kind where it says nothing."""
    said = (line.strip() for line in str(error).splitlines())
    return next(filter(None, said), type(error).__name__)
