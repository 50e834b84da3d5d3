"""A bounded memory of what a function returned."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(OrderedDict[tuple[Hashable, ...], Value], Generic[Value]):
    """The results that were asked for last, by their arguments, at most `n_kept` of them.

    A plain dictionary that does not know the function: an `lru_cache` around a method holds the object that
    holds it, and a clip's G-buffers would stay in memory until the garbage collector comes by.
    """

    def __init__(self, n_kept: int):
        super().__init__()
        self.n_kept = n_kept

    def look_up(self, find: Callable[..., Value], *key: Hashable) -> Value:
        """`find(*key)`, called only where the result is not at hand."""
        if key in self:
            self.move_to_end(key)
        else:
            self[key] = find(*key)
        if len(self) > self.n_kept:
            self.popitem(last=False)
        return self[key]
