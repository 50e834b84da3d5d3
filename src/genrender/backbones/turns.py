"""Runs that share networks take turns.

A run gives networks attention processors of its own, moves them between devices and sets a scheduler's steps.
Two runs at once, in two threads, would see each other's.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from weakref import WeakKeyDictionary

import torch

_LOCKS: WeakKeyDictionary[torch.nn.Module, "threading.RLock"] = WeakKeyDictionary()  # pyright: ignore
_MAKING = threading.Lock()


@contextmanager
def in_turn(networks: Iterable[torch.nn.Module]) -> Iterator[None]:
    """While this lasts no other thread is inside with any of these networks; within a thread it nests."""
    with _MAKING:
        locks = [_LOCKS.setdefault(network, threading.RLock()) for network in networks]
    with ExitStack() as stack:
        # All take them in one order, so that no two wait for each other.
        for lock in sorted(locks, key=id):
            stack.enter_context(lock)
        yield
