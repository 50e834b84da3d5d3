"""Names of objects, animations and cameras, and what is drawn by them."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt64

from genrender.untrusted import valid_name

# Exporters write one for another of these: Blender's "Crate.001" is Crate_001 in USD and Alembic.
_SEPARATORS = re.compile(r"[\W_]+")

# In the names of files. A minus that joins two words, as in shot-001, is none.
FRAME_NUMBER = re.compile(r"((?:(?<![^\W_])-)?\d+)")


class UniqueNames:
    """Gives every thing a name of its own: the second "wheel" becomes "wheel_2"."""

    def __init__(self):
        self._next: dict[str, int] = {}

    def __call__(self, name: object) -> str:
        unique = base = valid_name(name)
        while unique in self._next:
            self._next[base] += 1
            unique = f"{base}_{self._next[base]}"
        self._next[unique] = 1
        return unique


def texture_keys(atlas_ids: Mapping[str, Sequence[int]]) -> UInt64[np.ndarray, "n_ids"]:
    """What the noise of each texture is drawn by: the name of its object, whatever its number is.

    So a scene looks alike by whatever format it comes, and an object keeps its noise when others are added.

    Args:
        atlas_ids: the texture ids of every object, by its name.

    Returns:
        One key for every id up to the largest; 0 where there is no texture. Textures of one object, and
        objects whose names differ only in separators or case, are told apart by their order.
    """
    keys = np.zeros(1 + max((max(ids, default=0) for ids in atlas_ids.values()), default=0), np.uint64)
    n_of_name: dict[str, int] = {}
    for name in sorted(atlas_ids):
        plain = plain_name(name)
        for atlas_id in atlas_ids[name]:
            number = n_of_name[plain] = n_of_name.get(plain, -1) + 1
            digest = hashlib.blake2b(f"{plain}/{number}".encode(), digest_size=8).digest()
            keys[atlas_id] = int.from_bytes(digest, "little")
    return keys


def plain_name(name: str) -> str:
    """A name without what exporters change of it: separators, case, and ways to write one letter."""
    return _SEPARATORS.sub("_", unicodedata.normalize("NFC", name)).strip("_").casefold()
