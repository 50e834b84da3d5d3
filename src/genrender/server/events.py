"""What has happened to runs, told to whoever listens.

A listener has the ids of runs that have changed since it looked, each once: slow ones miss steps, never the
state that a run is in.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from genrender.storage.untrusted import json_text

# How long changes are gathered before they are told.
GATHER_S = 0.2
# After so long without news a comment shows that the line is alive.
SILENCE_S = 15.0


class Events:
    """Passes changes from any thread to listeners in the server's loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[_Listener] = set()

    def begin(self) -> None:
        """Called in the loop that serves."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """Lets all listeners go."""
        for listener in self._listeners:
            listener.close()

    def tell(self, run: str) -> None:
        """A run has changed. Any thread may say so."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._spread, run)

    def _spread(self, run: str) -> None:
        for listener in self._listeners:
            listener.add(run)

    async def stream(
        self, describe: Callable[[str], dict[str, Any] | None], only: str | None = None
    ) -> AsyncIterator[str]:
        """Server-sent events.

        Args:
            describe: what is told of a run; None: nothing.
            only: tell of this run, beginning now, until it has ended.
        """
        listener = _Listener(only)
        self._listeners.add(listener)
        try:
            yield ": listening\n\n"
            if only is not None:
                listener.add(only)
            while (changed := await listener.next()) is not None:
                if not changed:
                    yield ": nothing new\n\n"
                for run in changed:
                    told = describe(run)
                    if told is None:
                        continue
                    yield f"event: run\ndata: {json_text(told, indent=None)}\n\n"
                    if only is not None and told["state"] not in ("waiting", "running"):
                        return
                await asyncio.sleep(GATHER_S)
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self, only: str | None) -> None:
        self._only = only
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self._is_closed = False

    def add(self, run: str) -> None:
        if self._only in (None, run):
            self._changed[run] = None
            self._news.set()

    def close(self) -> None:
        self._is_closed = True
        self._news.set()

    async def next(self) -> list[str] | None:
        """Runs that have changed; empty after a silence; None: it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), SILENCE_S)
        if self._is_closed:
            return None
        self._news.clear()
        changed, self._changed = list(self._changed), {}
        return changed
