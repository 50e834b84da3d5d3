"""Names of objects, animations and cameras, and what is drawn by them."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from jaxtyping import UInt64

from genrender.storage.untrusted import valid_name

# Exporters write one for another of these: Blender's "Crate.001" is Crate_001 in USD and Alembic.
_SEPARATORS = re.compile(r"[\W_]+")

# What stands for other characters in a pattern.
_WILDCARDS = re.compile(r"([*?]|\[[^\]]*\])")
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
    return _plain(name).strip("_")


def _plain(text: str) -> str:
    return _SEPARATORS.sub("_", unicodedata.normalize("NFC", text)).casefold()


def is_called(name: str, pattern: str, as_exported: bool = False) -> bool:
    """Whether a pattern such as `wheel*` names something; case does not count.

    Args:
        pattern: as in shells.
        as_exported: what exporters change of names does not count either, see `plain_name`.
    """
    if not as_exported:
        return fnmatchcase(name.lower(), pattern.lower())
    pieces = _WILDCARDS.split(pattern)
    plain = "".join(piece if index % 2 else _plain(piece) for index, piece in enumerate(pieces)).strip("_")
    return bool(plain) and fnmatchcase(plain_name(name), plain)


def has_wildcards(pattern: str) -> bool:
    """Whether a pattern may mean several names."""
    return bool(_WILDCARDS.search(pattern))


def partners(ours: Collection[str], theirs: Collection[str]) -> dict[str, str]:
    """Which object of another scene each of a scene's objects is, by name.

    Returns:
        Their name by ours: the same one, else the only one on both sides that `plain_name` makes the same of.
        Objects without a partner are not in it.
    """
    same = {name: name for name in ours if name in theirs}
    left_ours = _by_plain_name(name for name in ours if name not in same)
    left_theirs = _by_plain_name(name for name in theirs if name not in same)
    alike = {
        names[0]: left_theirs[plain][0]
        for plain, names in left_ours.items()
        if len(names) == len(left_theirs.get(plain, ())) == 1
    }
    return {name: found for name in ours if (found := {**same, **alike}.get(name)) is not None}


def _by_plain_name(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        # A backdrop's name, which begins with a null character, is no object's.
        found.setdefault(name if name.startswith("\0") else plain_name(name), []).append(name)
    return found
