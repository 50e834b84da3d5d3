"""What a front end hears of a run while it goes on, and how it stops one."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from genrender.errors import GenRenderError


class Cancelled(GenRenderError):
    """Whoever asked for the work does not want it any more. A run that has done a step can be resumed."""


def _nothing(*_: object) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class RunHooks:
    """Callables, of which none needs to be given.

    Attributes:
        note: is told what is worth knowing, a line at a time.
        warn: is told what may make the result worse than it could be.
        progress: is told what is being done, how much of it is done, and how much there is.
        is_cancelled: is asked whenever progress is made; True ends the work at the next step.
    """

    note: Callable[[str], None] = _nothing
    warn: Callable[[str], None] = _nothing
    progress: Callable[[str, int, int], None] = _nothing
    is_cancelled: Callable[[], bool] = _never

    def check(self) -> None:
        """Raises Cancelled where the work is not wanted any more."""
        if self.is_cancelled():
            raise Cancelled("cancelled")

    def report(self, what: str, done: int, total: int) -> None:
        """Progress, after which the work may be stopped."""
        self.progress(what, done, total)
        self.check()


# Nobody listens, and nobody cancels.
SILENT = RunHooks()


class _Listener(logging.Handler):
    """Tells hooks what is logged in the thread that made it."""

    def __init__(self, hooks: RunHooks) -> None:
        super().__init__(logging.WARNING)
        self._hooks = hooks
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._hooks.warn(record.getMessage())


@contextmanager
def logged_warnings(hooks: RunHooks) -> Iterator[None]:
    """While this lasts hooks are told what this package logs, as it does where Python is the front end."""
    logger, listener = logging.getLogger("genrender"), _Listener(hooks)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
