"""Cryptomatte: which object each pixel shows, as a hash of its name.

Source: Cryptomatte specification 1.2 (Psyop): a channel pair NAME00.R, NAME00.G holds the id of the object
that covers most of a pixel, and how much; the id's bits are a hash of the object's name, and the manifest in
the header tells them in hexadecimal.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt32

from genrender.errors import MediaError
from genrender.storage.untrusted import parse_json

# Some thousand objects take a few hundred kB.
MAX_MANIFEST_BYTES = 2**26
ATTRIBUTE = re.compile(r"(exr/)?cryptomatte/(?P<key>[^/]+)/(?P<what>name|manifest|manif_file)")


def crypto_names(header: Mapping[str, Any]) -> list[str]:
    """The names of the cryptomattes that a header tells of."""
    return [str(entry["name"]) for entry in _entries(header) if "name" in entry]


def manifest(header: Mapping[str, Any], name: str, file: Path) -> Mapping[int, str]:
    """Object names by the bits of their ids; empty where the file has no manifest.

    Args:
        header: of the part that holds the cryptomatte.
        name: of the cryptomatte, with or without layers before it.
        file: where a manifest in a file of its own lies beside.

    Raises:
        MediaError: the manifest cannot be understood.
    """
    for entry in _entries(header):
        told = str(entry.get("name", ""))
        if not told or (name != told and not name.endswith("." + told)):
            continue
        text = entry.get("manifest")
        if text is None and (beside := entry.get("manif_file")):
            # Only a bare name: a file must not make us read elsewhere.
            sidecar = file.with_name(Path(str(beside)).name)
            text = _sidecar(sidecar, name) if sidecar.is_file() else None
        if text is None:
            return {}
        try:
            return _parsed(text)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise MediaError(
                f"{file}: the manifest of cryptomatte {name} is damaged ({error}); render it again"
            ) from error
    return {}


@lru_cache(maxsize=4)  # that of a clip's frames is mostly the same
def _parsed(text: str | bytes) -> Mapping[int, str]:
    return {int(bits, 16): str(object_) for object_, bits in parse_json(text).items()}


def _sidecar(file: Path, name: str) -> bytes:
    n_bytes = file.stat().st_size
    if n_bytes > MAX_MANIFEST_BYTES:
        raise MediaError(
            f"{file}: the manifest of cryptomatte {name} has {n_bytes / 1e6:,.0f} MB, expected at most "
            f"{MAX_MANIFEST_BYTES / 1e6:,.0f} MB; render it again"
        )
    return file.read_bytes()


def _entries(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the header says of each cryptomatte."""
    entries: dict[str, dict[str, Any]] = {}
    for attribute, value in header.items():
        if match := ATTRIBUTE.fullmatch(attribute):
            entries.setdefault(match["key"], {})[match["what"]] = value
    return list(entries.values())


def id_bits(where: str, rank_0: Shaped[np.ndarray, "H W"]) -> UInt32[np.ndarray, "H W"]:
    """The ids of a rank's first channel; 0 is no object.

    Raises:
        MediaError: they were rounded when they were written.
    """
    if rank_0.dtype.itemsize != 4:
        raise MediaError(
            f"{where}: cryptomatte ids are stored as half float, which changes them; save 32-bit float"
        )
    return np.ascontiguousarray(rank_0).view(np.uint32)


def object_name(bits: int, names: Mapping[int, str]) -> str:
    """An object's name, or the id in hexadecimal where no manifest tells."""
    return names.get(bits, f"{bits:08x}")
